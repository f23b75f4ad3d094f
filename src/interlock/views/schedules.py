"""Schedules: when they are due, what they began and what they skipped."""

from itertools import islice, takewhile
from uuid import UUID

from sqlalchemy import Connection, select

from interlock.model.calendar import runs_after
from interlock.model.schedules import ScheduleRecord
from interlock.model.states import Result
from interlock.store.queries import schedules as stored
from interlock.store.tables import job
from interlock.store.tables import schedules as table
from interlock.views.loading import records
from interlock.views.words import Json, moment, text, value

#: schedules in one answer
PAGE_MAX = 200
#: how many runs to come, and jobs that it began, are shown with one
SHOWN_RUNS, SHOWN_JOBS = 5, 20


def page(connection: Connection, *, limit: int, after: str | None = None) -> Json:
    """`{"schedules": […], "next": name}`: by name, those after a name; with `next` more follow after it."""
    where = [] if after is None else [table.c.name > after]
    found = records(connection, ScheduleRecord, *where, order_by=[table.c.name], limit=limit + 1)
    more = found[limit - 1].name if len(found) > limit else None
    return {"schedules": [_schedule(connection, each) for each in found[:limit]], "next": more}


def one(connection: Connection, which: str) -> Json | None:
    """A schedule by its name or id, with its next runs and the jobs that it began last; None where there is none."""
    record = stored.by_name(connection, which)
    if record is None:
        try:
            record = stored.by_id(connection, UUID(which))
        except ValueError:
            return None
    if record is None:
        return None
    return {**_schedule(connection, record), "next_runs": _next_runs(record), "jobs": _jobs(connection, record.id)}


def _schedule(connection: Connection, record: ScheduleRecord) -> Json:
    ended = [each["result"] for each in _jobs(connection, record.id) if each["result"] is not None]
    return {
        "id": str(record.id),
        "name": record.name,
        "command": record.command,
        "version": record.version,
        "parameters": value(record.shown_json),
        "user": record.user,
        "correlation_id": record.correlation_id,
        "priority": record.priority,
        "cron": record.cron,
        "zone": record.zone,
        "missed": record.missed,
        "late_s_max": record.late_s_max,
        "next_at": moment(record.next_at),
        "paused_by": record.paused_by,
        "last_job_id": text(record.last_job_id),
        "runs": record.runs,
        #: how many of its last jobs failed in a row
        "failures": len(list(takewhile(lambda result: result == Result.FAILED, ended))),
        "skipped": record.skipped,
        "skipped_at": moment(record.skipped_at),
        "skipped_reason": record.skipped_reason,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
    }


def _next_runs(record: ScheduleRecord) -> list[str | None]:
    if record.next_at is None or record.paused_by is not None:
        return []
    later = [] if record.cron is None else islice(runs_after(record.cron, record.zone, record.next_at), SHOWN_RUNS - 1)
    return [moment(each) for each in (record.next_at, *later)]


def _jobs(connection: Connection, id: UUID) -> list[Json]:
    """The jobs that it began last, the newest first."""
    query = (
        select(job.c.id, job.c.status, job.c.result, job.c.started_at)
        .where(job.c.schedule_id == id)
        .order_by(job.c.started_at.desc())
        .limit(SHOWN_JOBS)
    )
    return [
        {"id": str(row.id), "status": row.status, "result": row.result, "started_at": moment(row.started_at)}
        for row in connection.execute(query)
    ]
