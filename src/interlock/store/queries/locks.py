"""Locks: who holds a ref."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from interlock.model.locks import LockMode, LockScope
from interlock.model.records import LockRecord
from interlock.model.refs import Ref
from interlock.store import tables
from interlock.store.queries.by_ref import as_id, rows_by_ref

_locks, _job, _leftovers = tables.entity_locks, tables.job, tables.leftovers
_ON = (
    select(_locks, _job.c.title, _leftovers.c.reason)
    .join(_job, _job.c.id == _locks.c.flow_id)
    .outerjoin(_leftovers, _leftovers.c.id == _locks.c.leftover_id)
    .order_by(_locks.c.ref_type, _locks.c.ref_id, _locks.c.taken_at, _locks.c.flow_id)
)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock with what names its holder to a person; `leftover_reason` where only a leftover keeps it."""

    lock: LockRecord
    job_title: str
    leftover_reason: str | None


def on(connection: Connection, refs: Iterable[Ref[Any]]) -> list[HeldLock]:
    """All locks on those refs, the oldest first within a ref."""
    named = (_locks.c.ref_type, _locks.c.ref_id)
    return [_held(row) for row in rows_by_ref(connection, _ON, named, refs)]


def _held(row: Any) -> HeldLock:
    """From a row as the driver has it."""
    kind, id, flow_id, mode, command_id, taken_at, leftover_id, scope, title, reason = row
    leftover = None if leftover_id is None else as_id(leftover_id)
    ref: Ref[Any] = Ref(kind, as_id(id))
    lock = LockRecord(ref, as_id(flow_id), LockMode(mode), as_id(command_id), taken_at, leftover, LockScope(scope))
    return HeldLock(lock, title, reason)
