"""Stopping: in what is stopped nothing new begins, and what is under way is asked to end.

How it has ended is read off the rows as ever: what succeeded all the same is a success. End phases and undoing that
are under way are never stopped from above.
"""

from collections.abc import Collection
from uuid import UUID

from interlock.core import leaving, narration
from interlock.core.ending import OVERDUE_REMEDY
from interlock.core.facts import CommandOverdue, Judge, TaskEnded, TaskOverdue
from interlock.core.flow import Flow
from interlock.model.failure import Cause, Failure
from interlock.model.records import CommandRecord, Role, TaskRecord
from interlock.model.replacing import replace
from interlock.model.states import Outcome, Result, State


def overdue(flow: Flow, fact: CommandOverdue | TaskOverdue, now: int) -> list[UUID]:
    """A deadline has passed: what it is about is stopped, unless it is over or already being stopped. Returns the
    commands to examine."""
    if isinstance(fact, TaskOverdue):
        task = flow.tasks[fact.task_id]
        if task.outcome is not None or task.stopping is not None:
            return []
        why = _words(task.method, task.deadline_at, task.created_at)
        narration.deadline_passed(flow, why, now, command_id=task.command_id, task_id=task.id)
        stop_task(flow, task, why)
        return []
    command = flow.commands[fact.command_id]
    if command.state is not State.EXECUTING or command.stopping is not None:
        return []
    why = _words(command.title, command.deadline_at, command.started_at)
    narration.deadline_passed(flow, why, now, command_id=command.id)
    return stop(flow, command, why, now)


def stop(
    flow: Flow,
    command: CommandRecord,
    why: str,
    now: int,
    by: str | None = None,
    spared: Collection[UUID] = (),
) -> list[UUID]:
    """Stops a command and all below it but what is spared; returns the commands to examine because of it. `by`: who
    wishes it.

    What is being stopped already keeps its reason; what is being undone or is in its end phase goes on.
    """
    under_way: list[UUID] = []
    pending: list[UUID] = []
    stack = [command]
    while stack:
        each = stack.pop()
        if each.state is State.PENDING:
            pending.append(each.id)
        elif each.state is State.EXECUTING and each.stopping is None and each.id not in spared:
            flow.put_command(replace(each, stopping=why, stopped_by=by, asking=None))
            under_way.append(each.id)
            stack += flow.children_of(each.id, Role.FORWARD)
    agenda = list(under_way)
    for id in under_way:
        for task in flow.tasks_for(id, Role.FORWARD):
            stop_task(flow, task, why, by)
    for id in pending:
        agenda += _never_begins(flow, flow.commands[id], why if id == command.id else None, now)
    narration.attention_settled(flow)
    return agenda


def _never_begins(flow: Flow, command: CommandRecord, why: str | None, now: int) -> list[UUID]:
    """Of what was to be stopped itself the reason is noted; for a part of it that says it."""
    command = replace(command, attention=None)
    if why is not None:
        command = replace(command, failure_json=Failure.of(why).to_json())
    flow.put_command(command)
    return leaving.end(flow, command, Result.CANCELLED, now)


def stop_task(flow: Flow, task: TaskRecord, why: str, by: str | None = None) -> None:
    """The wish is stored; who does the task is asked, and asked again after a crash. A wait is looked at once more."""
    if task.outcome is None and task.stopping is None:
        flow.put_task(replace(task, stopping=why, stopped_by=by))


def last_looks(flow: Flow) -> list[Judge]:
    """The waits that are to stop: what came in time counts, though nobody has looked at it yet."""
    return [
        Judge(task.command_id, task.id)
        for task in flow.tasks.values()
        if task.wait_json is not None and task.outcome is None and task.stopping is not None
    ]


def goes_on(flow: Flow, task_id: UUID) -> TaskEnded | None:
    """A wait was looked at and has not ended: where it is to stop, it is over now."""
    why = flow.tasks[task_id].stopping
    return None if why is None else TaskEnded(task_id, Outcome.STOPPED, message=why)


def succeeded(flow: Flow, command: CommandRecord, now: int) -> CommandRecord:
    """Every part has succeeded, whatever the deadline; who was to be stopped first says so."""
    if command.stopping is None or not _is_first(flow, command):
        return command
    return narration.succeeded_late(flow, command, command.title, command.stopping, now)


def explained(flow: Flow, command: CommandRecord, failure: Failure) -> Failure:
    """The failure of a command, saying first why it was stopped, where it was."""
    if command.stopping is None:
        return failure
    causes = failure.causes
    if _is_first(flow, command):
        refs = tuple(map(str, command.refs))
        remedy = OVERDUE_REMEDY if command.stopped_by is None else None
        own = Cause(command.stopping, (command.title,), refs, remedy=remedy, outcome=Outcome.STOPPED)
        causes = (own, *causes)
    return Failure.of(f"{command.stopping}; {failure.message}", causes)


def _is_first(flow: Flow, command: CommandRecord) -> bool:
    """Whether it is the one that was to be stopped, and not a part of that."""
    return command.parent_id is None or flow.commands[command.parent_id].stopping != command.stopping


def _words(what: str, deadline_at: int | None, since: int | None) -> str:
    after = "" if deadline_at is None or since is None else f", {(deadline_at - since) / 1e6:.9g} s after it began"
    return f"the time of {what} was over{after}"
