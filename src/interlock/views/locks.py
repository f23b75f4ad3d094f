"""Locks: who holds what."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, select

from interlock.model.refs import Ref
from interlock.store.tables import entities, entity_locks, job, leftovers
from interlock.views.words import Json, moment, text

#: locks in one answer
PAGE_MAX = 1000


def held(connection: Connection) -> Json:
    """`{"locks": […], "more": bool}`: all locks, those held longest first."""
    found = _locks(connection, limit=PAGE_MAX + 1)
    return {"locks": found[:PAGE_MAX], "more": len(found) > PAGE_MAX}


def on(connection: Connection, ref: Ref[Any]) -> list[Json]:
    """The locks on one entity."""
    return _locks(connection, entity_locks.c.ref_type == ref.type, entity_locks.c.ref_id == ref.id)


def of_job(connection: Connection, job_id: UUID) -> list[Json]:
    """The locks that a job holds, or refuses after its end."""
    return _locks(connection, entity_locks.c.flow_id == job_id)


def _locks(connection: Connection, *where: ColumnElement[bool], limit: int = PAGE_MAX) -> list[Json]:
    lock = entity_locks.c
    named = and_(entities.c.type == lock.ref_type, entities.c.id == lock.ref_id)
    query = (
        select(
            entity_locks,
            job.c.title.label("job_title"),
            entities.c.name.label("entity_name"),
            leftovers.c.reason.label("leftover_reason"),
        )
        .join(job, job.c.id == lock.flow_id)
        .outerjoin(entities, named)
        .outerjoin(leftovers, leftovers.c.id == lock.leftover_id)
        .where(*where)
        .order_by(lock.taken_at, lock.ref_type, lock.ref_id, lock.flow_id)
        .limit(limit)
    )
    return [
        {
            "ref": str(Ref(row["ref_type"], row["ref_id"])),
            "name": row["entity_name"],
            "mode": row["mode"],
            "scope": row["scope"],
            "job_id": str(row["flow_id"]),
            "job_title": row["job_title"],
            "command_id": str(row["command_id"]),
            "taken_at": moment(row["taken_at"]),
            "leftover_id": text(row["leftover_id"]),
            "leftover_reason": row["leftover_reason"],
        }
        for row in connection.execute(query).mappings()
    ]
