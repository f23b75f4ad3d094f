"""SQL text from SQLAlchemy's statements, compiled once, for values that go to the driver as they are."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ClauseElement, Connection, Dialect

from interlock.model.errors import Bug

Values = Mapping[str, Any]


def compiled(statement: ClauseElement, order: tuple[str, ...], dialect: Dialect) -> str:
    """The statement's SQL, whose placeholders stand in that order; raises Bug where they do not."""
    sql, placeholders = _text(statement, dialect)
    if placeholders != order:
        raise Bug(f"the placeholders of {sql} are {placeholders}, not {order}")
    return sql


def execute(connection: Connection, statement: ClauseElement, values: Values) -> list[Any]:
    """The rows of a query by its compiled SQL. `statement` must be the same object at every call; ids in the
    rows are as the driver has them."""
    sql, placeholders = _kept(statement, connection.dialect)
    return fetch(connection, sql, tuple(_bound(connection, values[name]) for name in placeholders))


def fetch(connection: Connection, sql: str, values: tuple[Any, ...]) -> list[Any]:
    """The rows of a query, asked of the driver itself: a result of SQLAlchemy costs several times the query.
    Its errors are the driver's own."""
    if not connection.in_transaction():
        connection.begin()  # as SQLAlchemy does before the first statement
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def execute_many(connection: Connection, statement: ClauseElement, rows: Sequence[Values]) -> None:
    """As `execute`, for many rows at once and without an answer."""
    if rows:
        sql, placeholders = _kept(statement, connection.dialect)
        values = [tuple(_bound(connection, row[name]) for name in placeholders) for row in rows]
        connection.exec_driver_sql(sql, values)


def _bound(connection: Connection, value: Any) -> Any:
    return value.bytes if isinstance(value, UUID) and connection.dialect.name == "sqlite" else value


def _text(statement: ClauseElement, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The SQL and the names of its placeholders in order."""
    text = statement.compile(dialect=dialect)
    placeholders: Any = getattr(text, "positiontup", None)
    if placeholders is None:
        raise Bug(f"{dialect.name} has no positional placeholders; open it with paramstyle='format'")
    fixed = {name: value for name, value in text.params.items() if value is not None}
    if fixed:
        raise Bug(f"{text} has values of its own, {fixed}; bind them by name")
    return str(text), tuple(placeholders)


@lru_cache(maxsize=512)
def _kept(statement: ClauseElement, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    return _text(statement, dialect)
