"""Invariants 10 and 11: who holds what, and how long."""

from collections.abc import Iterator

from sqlalchemy import Connection, and_, select

from interlock.model.locks import LockMode, LockScope
from interlock.model.states import Phase, State
from interlock.store import tables

_lock, _job, _leftover = tables.entity_locks, tables.job, tables.leftovers
_command = tables.command_entities
_other = _lock.alias("other")


def locks_overlap(connection: Connection) -> Iterator[str]:
    """10. Who holds a ref exclusively is the only flow that holds it."""
    query = (
        select(_lock.c.ref_type, _lock.c.ref_id, _lock.c.flow_id, _other.c.flow_id, _other.c.mode)
        .join(
            _other,
            (_other.c.ref_type == _lock.c.ref_type)
            & (_other.c.ref_id == _lock.c.ref_id)
            & (_other.c.flow_id != _lock.c.flow_id),
        )
        .where(_lock.c.mode == LockMode.EXCLUSIVE)
        .order_by(_lock.c.ref_type, _lock.c.ref_id)
    )
    for kind, id, flow, other, mode in connection.execute(query):
        yield f"{kind}:{id} is held exclusive by flow {flow} and {mode} by flow {other}"


def locks_outlive(connection: Connection) -> Iterator[str]:
    """11. After its flow's end a lock is there only for a leftover that is not cleared; one for an execution is gone
    when that has succeeded."""
    query = (
        select(_lock.c.ref_type, _lock.c.ref_id, _lock.c.flow_id)
        .join(_job, _job.c.id == _lock.c.flow_id)
        .where(_job.c.ended_at.is_not(None), _lock.c.leftover_id.is_(None))
    )
    for kind, id, flow in connection.execute(query):
        yield f"{kind}:{id} is held by flow {flow}, which has ended"
    query = (
        select(_lock.c.ref_type, _lock.c.ref_id, _leftover.c.id)
        .join(_leftover, _leftover.c.id == _lock.c.leftover_id)
        .where(_leftover.c.cleared_at.is_not(None))
    )
    for kind, id, leftover in connection.execute(query):
        yield f"{kind}:{id} is held for leftover {leftover}, which is cleared"
    has_executed = and_(
        _command.c.state.in_([State.FINALIZING, State.ENDED]), _command.c.phase == Phase.END_SUCCESSFULLY
    )
    query = (
        select(_lock.c.ref_type, _lock.c.ref_id, _command.c.id)
        .join(_command, _command.c.id == _lock.c.command_id)
        .where(_lock.c.scope == LockScope.EXECUTION, has_executed, _command.c.forced_by.is_(None))
    )
    for kind, id, command in connection.execute(query):
        yield f"{kind}:{id} is held for the execution of command {command}, which is over"
