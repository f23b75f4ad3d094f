"""Records by a list of ids or refs, whatever their table."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, select

from interlock.model.refs import Ref
from interlock.store.codec import MAPPED, read

T = TypeVar("T")
R = TypeVar("R")
#: how many values one statement binds in a list
PIECE = 500


def pieces(values: Iterable[T]) -> Iterator[list[T]]:
    """The values, without repetition, in lists of at most PIECE."""
    rest = iter(dict.fromkeys(values))
    while piece := list(islice(rest, PIECE)):
        yield piece


def records(
    connection: Connection,
    record: type[R],
    column: Column[Any],
    ids: Iterable[UUID],
    *order: ColumnElement[Any],
) -> list[R]:
    """All records of a class whose column is among the ids; ordered within each piece."""
    table = MAPPED[record].table
    found: list[R] = []
    for piece in pieces(ids):
        query = select(table).where(column.in_(piece)).order_by(*order)
        found += with_refs(connection, record, query)
    return found


def with_refs(connection: Connection, record: type[R], query: Select[Any]) -> list[R]:
    """The records that a query of their whole table finds, with the refs of their association table."""
    mapped = MAPPED[record]
    rows = connection.execute(query).mappings().all()
    if mapped.refs_table is None:
        return [read(record, row) for row in rows]  # type: ignore[arg-type]  # its keys are str
    refs = _refs(connection, mapped.refs_table, [row["id"] for row in rows])
    return [read(record, row, refs.get(row["id"], ())) for row in rows]  # type: ignore[arg-type]


def _refs(connection: Connection, table: Table, owners: Sequence[UUID]) -> dict[UUID, tuple[Ref[Any], ...]]:
    owner = next(iter(table.c))
    found: dict[UUID, tuple[Ref[Any], ...]] = {}
    for piece in pieces(owners):
        query = select(owner, table.c.entity_type, table.c.entity_id).where(owner.in_(piece))
        for id, kind, entity_id in connection.execute(query.order_by(owner, table.c.position)):
            found[id] = (*found.get(id, ()), Ref(kind, entity_id))
    return found
