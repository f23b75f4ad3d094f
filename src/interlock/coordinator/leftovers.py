"""Clearing a leftover: a person attests that nothing remains on the host."""

from uuid import UUID

from interlock.clock import Clock
from interlock.coordinator import auditing
from interlock.core.ending import untouchable
from interlock.core.flow import Flow
from interlock.model.actions import Action, leftover_ref
from interlock.model.errors import Refused
from interlock.model.replacing import replace
from interlock.model.text import require_storable


def clear(flow: Flow, leftover_id: UUID, by: str, reason: str, clock: Clock) -> None:
    """Marks it cleared, frees the refs that it refused, and notes who said so."""
    leftover = flow.leftovers[leftover_id]
    if leftover.cleared_at is not None:
        raise Refused(f"leftover {leftover_id} was cleared already, by {leftover.cleared_by}")
    if not reason.strip():
        raise Refused(f"say why leftover {leftover_id} may be cleared: what was found on {leftover.host}")
    require_storable("the reason", reason)
    require_storable("who clears it", by)
    now = clock.now_us()
    flow.put_leftover(replace(leftover, cleared_at=now, cleared_by=by, cleared_reason=reason))
    refusing = untouchable(flow)
    for lock in list(flow.locks.values()):
        if lock.leftover_id != leftover_id:
            continue
        if lock.ref in refusing:  # another task of unknown fate may touch it as well
            flow.put_lock(replace(lock, leftover_id=refusing[lock.ref]))
        else:
            flow.drop_lock(lock.ref)
    flow.add_event(
        now, "leftover_cleared", f"{leftover.reason}: cleared by {by}: {reason}", user=by,
        command_id=leftover.command_id, task_id=leftover.task_id,
    )  # fmt: skip
    before = {"job": str(flow.id), "reason": leftover.reason, "refs": [str(ref) for ref in leftover.refs]}
    wish, subject = auditing.wish_of(by, reason), leftover_ref(leftover_id)
    auditing.note(flow, wish, Action.LEFTOVER_CLEAR, now, subject=subject, before=before)
