"""Compensation: what a failed command had completed is undone, one by one, latest end first."""

from dataclasses import replace
from uuid import UUID

from interlock.core.ending import count_open, failure_of, undo_queue
from interlock.core.facts import Compensated, CompensateFailed
from interlock.core.flow import Flow
from interlock.core.leaving import leave_unclean
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, Role, Undo


def next_to_undo(flow: Flow, command: CommandRecord) -> UUID | None:
    """The completed command to undo now; None when all is undone."""
    queue = flow.undo_queues.get(command.id)
    if queue is None:
        queue = [row.id for row in undo_queue(flow, command) if row.undo is None]
        flow.undo_queues[command.id] = queue
    while queue:
        if flow.commands[queue[-1]].undo is None:
            return queue[-1]  # stays until its undo is written: what is due may be put off to another run
        queue.pop()
    return None


def ran(flow: Flow, fact: Compensated | CompensateFailed, now: int) -> list[UUID]:
    """compensate of a completed command ran, or could not."""
    command, undone = flow.commands[fact.command_id], flow.commands[fact.undone]
    if isinstance(fact, CompensateFailed):
        _fail(flow, undone, Failure(fact.reason), now)
        return [command.id]
    flow.put_command(replace(undone, undo=Undo.UNDERWAY))
    flow.put_command(replace(command, open=count_open(flow, command)))
    return [command.id]


def settle(flow: Flow, command: CommandRecord, now: int) -> CommandRecord:
    """The undo that was under way, if any, has ended: says how."""
    for undone in undo_queue(flow, command):
        if undone.undo is Undo.UNDERWAY:
            failure = failure_of(flow, command, Role.UNDO, undone.id)
            if failure is None:
                flow.put_command(replace(undone, undo=Undo.DONE))
            else:
                _fail(flow, undone, failure, now)
    return flow.commands[command.id]


def _fail(flow: Flow, undone: CommandRecord, failure: Failure, now: int) -> None:
    flow.put_command(replace(undone, undo=Undo.FAILED))
    leave_unclean(flow, flow.commands[undone.id], failure, now)
