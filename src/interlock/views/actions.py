"""Actions: what people did, the newest first."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from interlock.model.records import ActionRecord
from interlock.model.refs import Ref
from interlock.store.codec import read
from interlock.store.tables import actions, leftovers
from interlock.views.words import Json, moment, value

#: actions in one answer, and with a job
PAGE_MAX = 200
LAST = 50


def page(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    subject: Ref[Any] | None = None,
    by: str | None = None,
) -> Json:
    """`{"actions": […], "next": number}`: the newest first, `before` a number; with `next` more follow before it."""
    where: list[ColumnElement[bool]] = []
    if before is not None:
        where.append(actions.c.number < before)
    if subject is not None:
        where.append(_about(subject))
    if by is not None:
        where.append(actions.c.by == by)
    found = _listed(connection, *where, limit=limit + 1)
    return {"actions": found[:limit], "next": found[limit - 1]["number"] if len(found) > limit else None}


def of_job(connection: Connection, job_id: UUID) -> list[Json]:
    """The last of what people did to a job and to its leftovers, in order."""
    left = select(leftovers.c.id).where(leftovers.c.flow_id == job_id)
    is_of_leftover = and_(actions.c.subject_type == "leftover", actions.c.subject_id.in_(left))
    return _listed(connection, or_(_about(Ref("job", job_id)), is_of_leftover), limit=LAST)[::-1]


def last(connection: Connection) -> Json | None:
    """The number and the digest of the last action: who notes them elsewhere can tell later that nothing up to it was
    changed. None where nobody has done anything."""
    found = _listed(connection, limit=1)
    return {key: found[0][key] for key in ("number", "digest")} if found else None


def _about(subject: Ref[Any]) -> ColumnElement[bool]:
    return and_(actions.c.subject_type == subject.type, actions.c.subject_id == subject.id)


def _listed(connection: Connection, *where: ColumnElement[bool], limit: int) -> list[Json]:
    query = select(actions).where(*where).order_by(actions.c.number.desc()).limit(limit)
    return [
        _action(row["number"], read(ActionRecord, dict(row)), row["digest"])
        for row in connection.execute(query).mappings()
    ]


def _action(number: int, record: ActionRecord, digest: str) -> Json:
    return {
        "number": number,
        "id": str(record.id),
        "at": moment(record.at),
        "by": record.by,
        "what": record.what,
        "subject": str(record.subject),
        "correlation_id": record.correlation_id,
        "reason": record.reason,
        "before": value(record.before_json),
        "after": value(record.after_json),
        "digest": digest,
    }
