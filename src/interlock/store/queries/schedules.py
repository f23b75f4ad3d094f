"""Schedules: those that are due, and one by its id or name."""

from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from interlock.model.schedules import ScheduleRecord
from interlock.store.queries.rows import with_refs
from interlock.store.tables import schedules

_is_awake = schedules.c.paused_by.is_(None) & schedules.c.next_at.is_not(None)

_DUE = (
    select(schedules.c.id)
    .where(_is_awake, schedules.c.next_at <= bindparam("now"))
    .order_by(schedules.c.next_at)
    .limit(bindparam("most"))
)
_FIRST_AFTER = select(func.min(schedules.c.next_at)).where(_is_awake, schedules.c.next_at > bindparam("now"))


def due(connection: Connection, now: int, limit: int) -> list[UUID]:
    """Those whose time has come, the longest due first."""
    return list(connection.scalars(_DUE, {"now": now, "most": limit}))


def first_after(connection: Connection, now: int) -> int | None:
    """When the next one is due that is not due yet."""
    found: int | None = connection.scalar(_FIRST_AFTER, {"now": now})
    return found


def by_id(connection: Connection, id: UUID) -> ScheduleRecord | None:
    """The schedule of that id."""
    return _one(connection, schedules.c.id == id)


def by_name(connection: Connection, name: str) -> ScheduleRecord | None:
    """The schedule of that name."""
    return _one(connection, schedules.c.name == name)


def count(connection: Connection) -> int:
    """How many there are."""
    return connection.scalar(select(func.count()).select_from(schedules)) or 0


def all_by_name(connection: Connection) -> list[ScheduleRecord]:
    """Every schedule."""
    return with_refs(connection, ScheduleRecord, select(schedules).order_by(schedules.c.name))


def _one(connection: Connection, which: ColumnElement[bool]) -> ScheduleRecord | None:
    return next(iter(with_refs(connection, ScheduleRecord, select(schedules).where(which))), None)
