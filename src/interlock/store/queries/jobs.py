"""Jobs: what the coordinator asks of them."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, select

from interlock.model.records import CommandRecord, JobRecord
from interlock.model.states import Result
from interlock.store.queries.rows import pieces, with_refs
from interlock.store.tables import command_entities, job


def by_key(connection: Connection, idempotency_key: str) -> JobRecord | None:
    """The job that was submitted under that key."""
    query = select(job).where(job.c.idempotency_key == idempotency_key)
    return next(iter(with_refs(connection, JobRecord, query)), None)


def by_id(connection: Connection, job_id: UUID) -> JobRecord | None:
    """The job of that id."""
    return next(iter(with_refs(connection, JobRecord, select(job).where(job.c.id == job_id))), None)


def results_of(connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, Result | None]:
    """How those jobs ended, None: not yet; one that does not exist is left out."""
    command = command_entities.c
    query = select(command.id, command.result).where(command.parent_id.is_(None))
    return {
        id: result for piece in pieces(job_ids) for id, result in connection.execute(query.where(command.id.in_(piece)))
    }


def root_of(connection: Connection, job_id: UUID) -> CommandRecord | None:
    """The flow command of a job; None for the id of a command below one."""
    query = select(command_entities).where(command_entities.c.id == job_id, command_entities.c.parent_id.is_(None))
    return next(iter(with_refs(connection, CommandRecord, query)), None)
