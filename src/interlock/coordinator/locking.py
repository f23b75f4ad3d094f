"""Takes entity locks for a command: no wait, all or none; a refusal names the holder's job."""

from typing import Any

from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.locks import LockMode, Locks
from interlock.model.records import CommandRecord, LockRecord
from interlock.model.refs import Ref
from interlock.store.queries.locks import HeldLock


def acquire(flow: Flow, command: CommandRecord, wanted: Locks, snapshot: Snapshot, now: int) -> list[str]:
    """Puts the missing locks into the flow's change set; returns why not, a line per conflict."""
    missing = {ref: mode for ref, mode in wanted.modes().items() if not _holds(flow, ref, mode)}
    if not missing:
        return []
    others = [held for held in snapshot.held(list(missing)) if held.lock.flow_id != flow.id]
    refusals = [describe(snapshot, held) for held in others if conflict(held.lock.mode, missing[held.lock.ref])]
    if not refusals:
        for ref, mode in missing.items():
            snapshot.lock_wants[ref] = mode
            flow.put_lock(LockRecord(ref, flow.id, mode, command.id, now))
    return refusals


def conflict(one: LockMode, other: LockMode) -> bool:
    """Only shared goes with shared."""
    return LockMode.EXCLUSIVE in (one, other)


def _holds(flow: Flow, ref: Ref[Any], mode: LockMode) -> bool:
    held = flow.locks.get(ref)
    return (held is not None and LockMode.EXCLUSIVE in (held.mode,)) or (held is not None and held.mode is mode)


def describe(snapshot: Snapshot, held: HeldLock) -> str:
    """Who holds it, in words, with the remedy."""
    record = snapshot.entity(held.lock.ref)
    name = f"{held.lock.ref.type} {record.name}" if record and record.name else str(held.lock.ref)
    if held.lock.leftover_id is not None:
        return (
            f"{name} is blocked by leftover {held.lock.leftover_id} of job {held.lock.flow_id}: "
            f"{held.leftover_reason}; clear it with `interlock leftover clear {held.lock.leftover_id}`"
        )
    return f"{name} is locked by job {held.lock.flow_id} ({held.job_title}); wait for it to end"
