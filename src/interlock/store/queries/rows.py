"""Records by a list of ids or refs, whatever their table.

Statements are built once: to build one costs as much as to execute it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, bindparam, select

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
    found: list[R] = []
    for piece in pieces(ids):
        query = _by_ids(MAPPED[record].table, column, order, len(piece) > 1)
        found += with_refs(connection, record, query, {"ids": piece if len(piece) > 1 else piece[0]})
    return found


@lru_cache(maxsize=512)
def _by_ids(table: Table, column: Column[Any], order: tuple[ColumnElement[Any], ...], are_many: bool) -> Select[Any]:
    return select(table).where(_is_one_of(column, "ids", are_many)).order_by(*order)


def _is_one_of(column: Column[Any], name: str, are_many: bool) -> ColumnElement[bool]:
    """One value is compared, since the text of a list is made anew for each query."""
    return column.in_(bindparam(name, expanding=True)) if are_many else column == bindparam(name)


def with_refs(
    connection: Connection, record: type[R], query: Select[Any], values: Mapping[str, Any] | None = None
) -> list[R]:
    """The records that a query of their whole table finds, with the refs of their association table."""
    mapped = MAPPED[record]
    rows = connection.execute(query, values).mappings().all()
    if mapped.refs_table is None:
        return [read(record, row) for row in rows]  # type: ignore[arg-type]  # its keys are str
    refs = _refs(connection, mapped.refs_table, [row["id"] for row in rows])
    return [read(record, row, refs.get(row["id"], ())) for row in rows]  # type: ignore[arg-type]


def _refs(connection: Connection, table: Table, owners: Sequence[UUID]) -> dict[UUID, tuple[Ref[Any], ...]]:
    found: dict[UUID, tuple[Ref[Any], ...]] = {}
    for piece in pieces(owners):
        wanted = {"owners": piece if len(piece) > 1 else piece[0]}
        for id, kind, entity_id in connection.execute(_refs_of(table, len(piece) > 1), wanted):
            found[id] = (*found.get(id, ()), Ref(kind, entity_id))
    return found


@lru_cache(maxsize=32)
def _refs_of(table: Table, are_many: bool) -> Select[Any]:
    owner = next(iter(table.c))
    query = select(owner, table.c.entity_type, table.c.entity_id)
    return query.where(_is_one_of(owner, "owners", are_many)).order_by(owner, table.c.position)
