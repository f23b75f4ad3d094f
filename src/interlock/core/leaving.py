"""Leaving: a command ends, frees what it held, and wakes those who waited for it."""

from uuid import UUID

from interlock.core import narration, retrying, turns
from interlock.core.ending import is_given_up, untouchable
from interlock.core.flow import Flow
from interlock.model.errors import Bug
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, LeftoverRecord, Role, Severity
from interlock.model.replacing import replace
from interlock.model.states import COMMAND_ENDS, Result, State
from interlock.model.text import legible


def end(flow: Flow, command: CommandRecord, result: Result, now: int) -> list[UUID]:
    """Ends a command; returns who is to be examined because of it."""
    if result not in COMMAND_ENDS.get(command.state, {}):
        raise Bug(f"command {command.id} cannot end {result} from {command.state}")
    flow.drop_tickets(command.id)
    flow.drop_limit_tickets(command.id)
    others = turns.note_ended(flow, command, result)
    command = replace(
        command, state=State.ENDED, result=result, ended_at=now, ended_seq=flow.next_ended(), retry_at=None
    )
    flow.put_command(command)
    narration.command_moved(flow, command, now)
    if command.parent_id is None:
        _close_flow(flow)
        return []
    parent = flow.commands[command.parent_id]
    again = retrying.next_attempt(command, now)
    if again is not None and not (command.role is Role.FORWARD and is_given_up(flow, parent)):
        return [begin_anew(flow, command, again), *others]
    waiters = flow.waiters.get((*command.plan, command.position), ())
    return [*one_less(flow, parent), *waiters, *others]


def begin_anew(flow: Flow, command: CommandRecord, again: CommandRecord) -> UUID:
    """Puts the next attempt in the place of the one that failed; for the parent the part has not ended."""
    flow.put_command(replace(flow.commands[command.id], superseded=True))
    turns.forget_pool(flow, command)
    flow.put_command(again)
    narration.command_planned_again(flow, command, again)
    if command.failure_json is not None:
        pause_s = ((again.retry_at or again.created_at) - again.created_at) / 1e6
        words = f"{again.title} is tried again in {pause_s:g} s (attempt {again.attempt})"
        flow.add_event(again.created_at, "part_retried", words, Severity.WARNING, command_id=again.id)
    return again.id


def one_less(flow: Flow, parent: CommandRecord) -> list[UUID]:
    """One part of the parent's plan has ended; returns the parent where it was the last."""
    flow.put_command(replace(parent, open=parent.open - 1))
    return [parent.id] if parent.open == 1 else []


def _close_flow(flow: Flow) -> None:
    """Nothing of a flow outlives it but its leftovers, which go on refusing the refs they may touch."""
    refusing = untouchable(flow)
    for lock in list(flow.locks.values()):
        leftover_id = refusing.get(lock.ref)
        if leftover_id is None:
            flow.drop_lock(lock.ref)
        else:
            flow.put_lock(replace(lock, leftover_id=leftover_id))
    for snapshot in list(flow.snapshots.values()):
        flow.drop_snapshot(snapshot)


def leave(flow: Flow, leftover: LeftoverRecord, now: int) -> None:
    """Something may remain on a host: it becomes a row, and an event says so."""
    if leftover.id in flow.leftovers:
        return
    flow.put_leftover(replace(leftover, reason=legible(leftover.reason)))
    command = flow.commands[leftover.command_id]
    while True:
        flow.put_command(replace(command, has_leftovers=True))
        if command.parent_id is None:
            break
        command = flow.commands[command.parent_id]
    flow.add_event(
        now, "leftover_made", f"{leftover.reason}; {leftover.remedy}", Severity.WARNING,
        command_id=leftover.command_id, task_id=leftover.task_id,
    )  # fmt: skip


def leave_unclean(flow: Flow, command: CommandRecord, failure: Failure, now: int) -> CommandRecord:
    """The plan of an end phase, or of an undo, failed: what it was to clean may remain."""
    leave(
        flow,
        LeftoverRecord(
            command.id, flow.id, command.id, None, command.correlation_id,
            next((cause.host for cause in failure.causes if cause.host), None), command.refs,
            f"{command.title} could not be cleaned up: {failure.message}",
            "clean up by hand, then clear the leftover", now,
        ),
        now,
    )  # fmt: skip
    return flow.commands[command.id]
