"""Records from their tables, with the refs of their association rows."""

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, select

from interlock.model.refs import Ref
from interlock.store import codec

T = TypeVar("T")
#: ids in one IN list
CHUNK = 500


def records(
    connection: Connection,
    record: type[T],
    *where: ColumnElement[bool],
    order_by: Iterable[Any] = (),  # columns and their directions
    limit: int | None = None,
) -> list[T]:
    """The records of a class that meet all conditions, with their refs."""
    mapped = codec.MAPPED[record]
    query = select(mapped.table).where(*where).order_by(*order_by).limit(limit)
    rows = connection.execute(query).mappings().all()
    if mapped.refs_table is None:
        return [codec.read(record, dict(row)) for row in rows]
    refs = _refs(connection, record, [row["id"] for row in rows])
    return [codec.read(record, dict(row), tuple(refs.get(row["id"], ()))) for row in rows]


def _refs(connection: Connection, record: type, ids: list[UUID]) -> dict[UUID, list[Ref[Any]]]:
    """Per owner the refs of its association rows, in their order."""
    table = codec.MAPPED[record].refs_table
    assert table is not None
    owner = table.columns.values()[0]
    found: dict[UUID, list[Ref[Any]]] = {}
    for start in range(0, len(ids), CHUNK):
        query = (
            select(owner, table.c.entity_type, table.c.entity_id)
            .where(owner.in_(ids[start : start + CHUNK]))
            .order_by(owner, table.c.position)
        )
        for id, entity_type, entity_id in connection.execute(query):
            found.setdefault(id, []).append(Ref(entity_type, entity_id))
    return found


def in_order(connection: Connection, record: type[T], column: ColumnElement[Any], ids: list[Any]) -> list[T]:
    """The records of those ids (values of a column that has the field's name), in the order of the ids."""
    found = {getattr(each, column.key or ""): each for each in records(connection, record, column.in_(ids))}
    return [found[id] for id in ids if id in found]
