"""Jobs: what the coordinator asks of them."""

from uuid import UUID

from sqlalchemy import Connection, select

from interlock.model.records import CommandRecord, JobRecord
from interlock.store.queries.rows import with_refs
from interlock.store.tables import command_entities, job


def by_key(connection: Connection, idempotency_key: str) -> JobRecord | None:
    """The job that was submitted under that key."""
    query = select(job).where(job.c.idempotency_key == idempotency_key)
    return next(iter(with_refs(connection, JobRecord, query)), None)


def by_id(connection: Connection, job_id: UUID) -> JobRecord | None:
    """The job of that id."""
    return next(iter(with_refs(connection, JobRecord, select(job).where(job.c.id == job_id))), None)


def root_of(connection: Connection, job_id: UUID) -> CommandRecord | None:
    """The flow command of a job; None for the id of a command below one."""
    query = select(command_entities).where(command_entities.c.id == job_id, command_entities.c.parent_id.is_(None))
    return next(iter(with_refs(connection, CommandRecord, query)), None)
