"""Compensation: what a failed command had completed is undone, one by one, latest end first."""

from uuid import UUID

from interlock.core.ending import count_open, failure_of, to_undo
from interlock.core.facts import Compensated, CompensateFailed
from interlock.core.flow import Flow
from interlock.core.leaving import leave_unclean
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, Role, Undo
from interlock.model.replacing import replace


def next_to_undo(flow: Flow, command: CommandRecord) -> UUID | None:
    """The completed command to undo now; None when all is undone."""
    queue = flow.undo_queues.get(command.id)
    if queue is None:
        queue = [row.id for row in to_undo(flow, command) if row.undo is None]
        flow.undo_queues[command.id] = queue
    while queue:
        if flow.commands[queue[-1]].undo is None:
            return queue[-1]  # stays until its undo is written: what is due may be put off to another run
        queue.pop()
    return None


def under_way(flow: Flow, command: CommandRecord) -> UUID | None:
    """The completed command that is being undone."""
    if command.id not in flow.undoing:
        found = next((row.id for row in to_undo(flow, command) if row.undo is Undo.UNDERWAY), None)
        if found is None:
            return None
        flow.undoing[command.id] = found
    return flow.undoing[command.id]


def ran(flow: Flow, fact: Compensated) -> list[UUID]:
    """compensate of a completed command ran, and its plan stands in the rows."""
    command, undone = flow.commands[fact.command_id], flow.commands[fact.undone]
    flow.put_command(replace(undone, undo=Undo.UNDERWAY))
    flow.undoing[command.id] = undone.id
    flow.put_command(replace(command, open=count_open(flow, command, undone.id), attempts=0, retry_at=None))
    return [command.id]


def gave_up(flow: Flow, fact: CompensateFailed, now: int) -> list[UUID]:
    """compensate failed as often as allowed: what it was to undo becomes a leftover."""
    command, undone = flow.commands[fact.command_id], flow.commands[fact.undone]
    flow.put_command(replace(command, attempts=0, retry_at=None))
    _fail(flow, undone, Failure(fact.reason), now)
    return [command.id]


def settle(flow: Flow, command: CommandRecord, now: int) -> CommandRecord:
    """The undo that was under way, if any, has ended: says how."""
    undone = under_way(flow, command)
    if undone is not None:
        del flow.undoing[command.id]
        failure = failure_of(flow, command, Role.UNDO, undone)
        if failure is None:
            flow.put_command(replace(flow.commands[undone], undo=Undo.DONE))
        else:
            _fail(flow, flow.commands[undone], failure, now)
    return flow.commands[command.id]


def _fail(flow: Flow, undone: CommandRecord, failure: Failure, now: int) -> None:
    flow.put_command(replace(undone, undo=Undo.FAILED))
    leave_unclean(flow, flow.commands[undone.id], failure, now)
