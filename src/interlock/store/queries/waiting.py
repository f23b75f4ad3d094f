"""Waiting: which flows wait for which, however long that takes; what has a time-out ends by that."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, and_, or_, select

from interlock.model.locks import LockMode
from interlock.model.states import State
from interlock.model.waits import wait_of
from interlock.store import tables
from interlock.store.queries.rows import pieces

_tasks, _formers, _commands = tables.async_tasks, tables.job_formers, tables.command_entities
_tickets, _locks = tables.lock_tickets, tables.entity_locks

_OF_JOBS = select(_tasks.c.flow_id, _tasks.c.command_id, _tasks.c.wait_json).where(
    _tasks.c.outcome.is_(None), _tasks.c.wait_json.is_not(None), _tasks.c.deadline_at.is_(None)
)
_OF_FORMERS = select(_formers.c.flow_id, _formers.c.former_id).where(_formers.c.result.is_(None))
_OF_LOCKS = (
    select(_tickets.c.flow_id, _tickets.c.command_id, _locks.c.flow_id)
    .join(
        _tickets,
        and_(
            _locks.c.ref_type == _tickets.c.ref_type,
            _locks.c.ref_id == _tickets.c.ref_id,
            _locks.c.flow_id != _tickets.c.flow_id,
            _locks.c.leftover_id.is_(None),
            or_(_locks.c.mode == LockMode.EXCLUSIVE, _tickets.c.mode == LockMode.EXCLUSIVE),
        ),
    )
    .where(_tickets.c.deadline_at.is_(None))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class Awaits:
    """A command of one flow waits for another flow; `how` stands between the two for people."""

    flow_id: UUID
    command_id: UUID
    how: str
    target: UUID


def of_flows(connection: Connection, flow_ids: Collection[UUID]) -> list[Awaits]:
    """For which flows those wait: for their ends, for locks that they hold, to come after them."""
    return [each for piece in pieces(flow_ids) for each in _of_piece(connection, piece)]


def _of_piece(connection: Connection, flow_ids: list[UUID]) -> Iterator[Awaits]:
    for flow_id, command_id, text in connection.execute(_OF_JOBS.where(_tasks.c.flow_id.in_(flow_ids))):
        job = wait_of(text).job
        if job is not None:
            yield Awaits(flow_id, command_id, "waits for the end of", job)
    for flow_id, former_id in connection.execute(_OF_FORMERS.where(_formers.c.flow_id.in_(flow_ids))):
        yield Awaits(flow_id, flow_id, "comes after", former_id)
    for flow_id, command_id, holder in connection.execute(_OF_LOCKS.where(_tickets.c.flow_id.in_(flow_ids))):
        yield Awaits(flow_id, command_id, "waits for a lock of", holder)


def parents(connection: Connection, flow_ids: Collection[UUID]) -> dict[UUID, UUID | None]:
    """Of the commands of those flows that have not ended, each with the one above it."""
    columns = select(_commands.c.id, _commands.c.parent_id).where(_commands.c.state != State.ENDED)
    found: dict[UUID, UUID | None] = {}
    for piece in pieces(flow_ids):
        for id, parent_id in connection.execute(columns.where(_commands.c.flow_id.in_(piece))):
            found[id] = parent_id
    return found
