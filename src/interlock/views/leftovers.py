"""Leftovers: what flows could not clean."""

from uuid import UUID

from sqlalchemy import Connection

from interlock.model.records import LeftoverRecord
from interlock.store.tables import leftovers
from interlock.views.loading import records
from interlock.views.words import Json, moment, refs, text

#: leftovers in one answer
PAGE_MAX = 1000


def still_open(connection: Connection) -> Json:
    """`{"leftovers": […], "more": bool}`: those that nobody has cleared, oldest first."""
    found = records(
        connection,
        LeftoverRecord,
        leftovers.c.cleared_at.is_(None),
        order_by=[leftovers.c.created_at, leftovers.c.id],
        limit=PAGE_MAX + 1,
    )
    return {"leftovers": [_leftover(each) for each in found[:PAGE_MAX]], "more": len(found) > PAGE_MAX}


def of_job(connection: Connection, job_id: UUID) -> list[Json]:
    """All leftovers of a job, cleared ones too."""
    order = [leftovers.c.created_at, leftovers.c.id]
    found = records(connection, LeftoverRecord, leftovers.c.flow_id == job_id, order_by=order)
    return [_leftover(each) for each in found]


def one(connection: Connection, leftover_id: UUID) -> Json | None:
    """A leftover; None where there is none."""
    found = records(connection, LeftoverRecord, leftovers.c.id == leftover_id)
    return _leftover(found[0]) if found else None


def _leftover(record: LeftoverRecord) -> Json:
    return {
        "id": str(record.id),
        "job_id": str(record.flow_id),
        "command_id": str(record.command_id),
        "task_id": text(record.task_id),
        "host": record.host,
        "refs": refs(record.refs),
        "reason": record.reason,
        "remedy": record.remedy,
        "created_at": moment(record.created_at),
        "cleared_at": moment(record.cleared_at),
        "cleared_by": record.cleared_by,
        "cleared_reason": record.cleared_reason,
    }
