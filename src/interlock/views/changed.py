"""What has changed since a client last asked: nothing is missed, and what changes again comes again."""

import re
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, literal, select, tuple_

from interlock.model.errors import InvalidInput
from interlock.model.records import JobRecord
from interlock.store.tables import audit_log, job
from interlock.views.events import numbered
from interlock.views.jobs import summaries
from interlock.views.loading import records
from interlock.views.words import Json

#: rows of one answer
PAGE_MAX = 500
#: asks for no change but for the cursor of the present
NOW = "now"

_FORM = re.compile(r"0|(0|[1-9][0-9]{0,18})\.([0-9a-f]{32})")
_EVENTS = (
    select(audit_log.c.id).where(audit_log.c.id > bindparam("after")).order_by(audit_log.c.id).limit(bindparam("most"))
)
_LAST_ID = UUID(int=(1 << 128) - 1)


def cursor_at(number: int, id: UUID = _LAST_ID) -> str:
    """The cursor after the job of that id, or all jobs, of a commit; 0 is before all of them."""
    return f"{number}.{id.hex}"


def jobs(connection: Connection, since: str, *, limit: int = 100) -> Json:
    """`{"jobs": […], "next": cursor}`: the jobs that changed after a cursor, hidden ones too, in the order of their
    commits; `next` is the cursor for the next question, also where nothing has changed.

    A job that changes between two pages comes once more. `since` is a former `next`, "0" for all jobs, or NOW. Raises
    InvalidInput for another text, and ValueError where `limit` is not 1 to PAGE_MAX.
    """
    _check(limit)
    if since == NOW:
        return {"jobs": [], "next": cursor_at(connection.scalar(select(func.max(job.c.change_no))) or 0)}
    number, id = _read(since)
    here = tuple_(job.c.change_no, job.c.id)
    after = tuple_(literal(number, job.c.change_no.type), literal(id, job.c.id.type))
    order = [job.c.change_no, job.c.id]
    found = records(connection, JobRecord, here > after, order_by=order, limit=limit)
    return {
        "jobs": summaries(connection, found),
        "next": cursor_at(found[-1].change_no, found[-1].id) if found else since,
    }


def events(connection: Connection, after: int, *, limit: int = 100) -> Json:
    """`{"events": […], "next": number}`: the events of all jobs after a number, in the order of their commits.

    Raises ValueError where `limit` is not 1 to PAGE_MAX.
    """
    _check(limit)
    ids = list(connection.scalars(_EVENTS, {"after": after, "most": limit}))
    return {"events": numbered(connection, ids), "next": ids[-1] if ids else after}


def newest_event(connection: Connection) -> int:
    """The number of the last event; 0: there is none."""
    return connection.scalar(select(func.max(audit_log.c.id))) or 0


def _check(limit: int) -> None:
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"limit {limit}; it must be 1 to {PAGE_MAX}")


def _read(cursor: str) -> tuple[int, UUID]:
    found = _FORM.fullmatch(cursor)
    if found is None or int(found[1] or 0) >= 1 << 63:
        raise InvalidInput(f"{cursor[:80]!r} is no cursor; take the former answer's `next`, 0 for all jobs, or {NOW}")
    return (int(found[1]), UUID(found[2])) if found[2] else (-1, _LAST_ID)
