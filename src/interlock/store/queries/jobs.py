"""Jobs: what the coordinator asks of them."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from interlock.model.records import CommandRecord, JobRecord
from interlock.model.states import Result
from interlock.store.queries.rows import pieces, with_refs
from interlock.store.tables import command_entities, job

_command = command_entities.c
_BY_KEY = select(job).where(job.c.idempotency_key == bindparam("key"))
_BY_ID = select(job).where(job.c.id == bindparam("job"))
_RESULTS = select(_command.id, _command.result).where(
    _command.parent_id.is_(None), _command.id.in_(bindparam("ids", expanding=True))
)
_ROOT = select(command_entities).where(_command.id == bindparam("job"), _command.parent_id.is_(None))


def by_key(connection: Connection, idempotency_key: str) -> JobRecord | None:
    """The job that was submitted under that key."""
    return next(iter(with_refs(connection, JobRecord, _BY_KEY, {"key": idempotency_key})), None)


def by_id(connection: Connection, job_id: UUID) -> JobRecord | None:
    """The job of that id."""
    return next(iter(with_refs(connection, JobRecord, _BY_ID, {"job": job_id})), None)


def results_of(connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, Result | None]:
    """How those jobs ended, None: not yet; one that does not exist is left out."""
    return {id: result for piece in pieces(job_ids) for id, result in connection.execute(_RESULTS, {"ids": piece})}


def root_of(connection: Connection, job_id: UUID) -> CommandRecord | None:
    """The flow command of a job; None for the id of a command below one."""
    return next(iter(with_refs(connection, CommandRecord, _ROOT, {"job": job_id})), None)
