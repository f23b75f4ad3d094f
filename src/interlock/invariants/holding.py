"""Invariants 10 and 11: who holds what."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from interlock.model.locks import LockMode
from interlock.store import tables

_lock, _job, _leftover = tables.entity_locks, tables.job, tables.leftovers
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
    """11. After its flow's end a lock is there only for a leftover that is not cleared."""
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
