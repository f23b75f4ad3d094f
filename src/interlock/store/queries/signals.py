"""Signals: what was accepted, in the order of the commits."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, func, select

from interlock.model.records import SignalRecord
from interlock.model.refs import Ref
from interlock.store.codec import read
from interlock.store.tables import signals

#: how many one look reads
PAGE_MAX = 1_000


def last_number(connection: Connection) -> int:
    """The number of the newest signal; 0 = there is none."""
    return connection.scalar(select(func.max(signals.c.number))) or 0


def about(
    connection: Connection, kind: str, ref: Ref[Any] | None, begun_after: int, passed: int, job_id: UUID
) -> list[tuple[int, SignalRecord]]:
    """Those of that kind (about that entity) that a wait of the job may take, with their numbers, the first first:
    newer than `passed`, and either addressed to nobody and newer than `begun_after`, or addressed to the job and
    not taken yet. At most PAGE_MAX: where there are so many, more may follow."""
    newer = _of(kind, ref).where(signals.c.number > passed)
    to_all = newer.where(signals.c.job_id.is_(None), signals.c.number > begun_after)
    to_job = newer.where(signals.c.job_id == job_id, signals.c.taken_by.is_(None))
    found = [row for query in (to_job, to_all) for row in connection.execute(query.limit(PAGE_MAX)).mappings()]
    first = sorted(found, key=lambda row: row["number"])[:PAGE_MAX]
    return [(row["number"], read(SignalRecord, dict(row))) for row in first]


def _of(kind: str, ref: Ref[Any] | None) -> Select[Any]:
    query = select(signals).where(signals.c.kind == kind).order_by(signals.c.number)
    if ref is None:
        return query.where(signals.c.about_type.is_(None), signals.c.about_id.is_(None))
    return query.where(signals.c.about_type == ref.type, signals.c.about_id == ref.id)


def by_id(connection: Connection, id: UUID) -> SignalRecord | None:
    """The signal of that id."""
    row = connection.execute(select(signals).where(signals.c.id == id)).mappings().one_or_none()
    return None if row is None else read(SignalRecord, dict(row))
