"""Events: lines of the audit log, of a job or of all."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, select

from interlock.model.records import EventRecord, JobRecord
from interlock.store import codec
from interlock.store.tables import audit_log, job
from interlock.views.loading import records
from interlock.views.words import Json, moment, text

#: events in one answer
PAGE_MAX = 500
#: events shown with a job
LAST = 100
_BY_NUMBER = select(audit_log).where(audit_log.c.id.in_(bindparam("numbers", expanding=True)))


def after(connection: Connection, job_id: UUID, seq: int, *, limit: int = PAGE_MAX) -> Json | None:
    """`{"events": […], "total": n, "ended": bool}`: those with a greater number, in order; None: no such job.

    ValueError where `limit` is not 1 to PAGE_MAX.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"limit {limit}; it must be 1 to {PAGE_MAX}")
    found = records(connection, JobRecord, job.c.id == job_id)
    if not found:
        return None
    listed = _listed(connection, job_id, audit_log.c.seq > seq, limit=limit)
    return {
        "events": [event(each) for each in listed],
        "total": found[0].events,
        "ended": found[0].ended_at is not None,
    }


def last(connection: Connection, job_id: UUID) -> list[Json]:
    """The last events of a job, in order."""
    listed = _listed(connection, job_id, limit=LAST, newest_first=True)
    return [event(each) for each in reversed(listed)]


def _listed(
    connection: Connection,
    job_id: UUID,
    *where: ColumnElement[bool],
    limit: int,
    newest_first: bool = False,
) -> list[EventRecord]:
    order = audit_log.c.seq.desc() if newest_first else audit_log.c.seq
    return records(connection, EventRecord, audit_log.c.flow_id == job_id, *where, order_by=[order], limit=limit)


def numbered(connection: Connection, ids: list[int]) -> list[Json]:
    """Lines of the log of all jobs by their numbers, in that order, each with its job."""
    rows = connection.execute(_BY_NUMBER, {"numbers": ids}).mappings()
    found = {row["id"]: {"number": row["id"], "job_id": str(row["flow_id"]), **event(_read(row))} for row in rows}
    return [found[id] for id in ids if id in found]


def _read(row: Mapping[Any, Any]) -> EventRecord:
    record: EventRecord = codec.read(EventRecord, row)
    return record


def event(record: EventRecord) -> Json:
    """One line of the audit log."""
    return {
        "seq": record.seq,
        "at": moment(record.at),
        "severity": record.severity,
        "kind": record.kind,
        "message": record.message,
        "user": record.user,
        "command_id": text(record.command_id),
        "task_id": text(record.task_id),
    }
