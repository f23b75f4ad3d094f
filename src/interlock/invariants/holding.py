"""Invariants 10 and 11: who holds what, and how long."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from interlock.invariants.picture import Picture
from interlock.model.locks import LockMode, LockScope
from interlock.model.states import Phase, State
from interlock.store import tables

_lock = tables.entity_locks
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


def locks_outlive(flow: Picture) -> Iterator[str]:
    """11. After its flow's end a lock is there only for a leftover that is not cleared; one for an execution is gone
    when that has succeeded."""
    cleared = {each.id for each in flow.leftovers if each.cleared_at is not None}
    for lock in flow.locks:
        if flow.job.ended_at is not None and lock.leftover_id is None:
            yield f"{lock.ref} is held by flow {flow.job.id}, which has ended"
        if lock.leftover_id in cleared:
            yield f"{lock.ref} is held for leftover {lock.leftover_id}, which is cleared"
        command = flow.by_id.get(lock.command_id)
        if lock.scope is not LockScope.EXECUTION or command is None or command.forced_by is not None:
            continue
        if command.state in (State.FINALIZING, State.ENDED) and command.phase is Phase.END_SUCCESSFULLY:
            yield f"{lock.ref} is held for the execution of command {command.id}, which is over"
