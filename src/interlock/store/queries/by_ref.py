"""Rows by ref, for what phases and the writer read all the time: SQL compiled once per number of refs."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Connection, Dialect, Select, bindparam

from interlock.model.refs import Ref
from interlock.store.statements import compiled, fetch

#: how many ids a statement has room for; what is not needed repeats the last id
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 500)

RefColumns = tuple[Column[Any], Column[Any]]


def rows_by_ref(
    connection: Connection, query: Select[Any], named: RefColumns, refs: Iterable[Ref[Any]]
) -> Iterator[Any]:
    """The rows of a query whose two columns, type and id, name one of the refs; as the driver has them.

    `query` must be the same object at every call: its SQL is kept by it. Ordered as it says within a piece.
    """
    ids: dict[str, list[Any]] = {}
    sqlite = connection.dialect.name == "sqlite"
    for ref in dict.fromkeys(refs):
        ids.setdefault(ref.type, []).append(ref.id.bytes if sqlite else ref.id)
    for kind in sorted(ids):
        found = ids[kind]
        for start in range(0, len(found), SIZES[-1]):
            piece = found[start : start + SIZES[-1]]
            size = next(size for size in SIZES if size >= len(piece))
            values = (kind, *piece, *[piece[-1]] * (size - len(piece)))
            yield from fetch(connection, _sql(query, named, size, connection.dialect), values)


def as_id(value: Any) -> UUID:
    """An id as the driver has it: bytes on SQLite."""
    return value if isinstance(value, UUID) else UUID(bytes=value)


@lru_cache(maxsize=512)
def _sql(query: Select[Any], named: RefColumns, size: int, dialect: Dialect) -> str:
    kind, id = named
    places = [bindparam(f"id_{n}", type_=id.type) for n in range(size)]
    statement = query.where(kind == bindparam("kind"), id.in_(places))
    return compiled(statement, ("kind", *(f"id_{n}" for n in range(size))), dialect)
