"""What reports of a host mean for an async task, and for the command that waits for it."""

from uuid import UUID

from interlock.core import narration
from interlock.core.ending import FATE_UNKNOWN
from interlock.core.facts import (
    TaskAnswered,
    TaskBound,
    TaskCleared,
    TaskEnded,
    TaskHeldBack,
    TaskProgressed,
    TaskStalled,
)
from interlock.core.flow import Flow
from interlock.core.leaving import leave, one_less
from interlock.model.records import STOCK, LeftoverRecord, Severity, TaskRecord
from interlock.model.replacing import replace
from interlock.model.states import TASK_ENDS, Outcome, TaskState

#: the host's word for "failed, and something of it may remain"
CLEAN_FAILURE = "cleanFailure"
#: the host's word for "failed, and nothing of it remains"
CLEAN_SUCCESS = "cleanSuccess"
#: the host's word for a task that is at work
RUNNING = "running"

TaskFact = TaskBound | TaskAnswered | TaskProgressed | TaskStalled | TaskHeldBack | TaskEnded | TaskCleared


def reported(flow: Flow, fact: TaskFact, now: int) -> list[UUID]:
    """Writes the report down as far as it is news; late and repeated ones change nothing."""
    task = flow.tasks[fact.task_id]
    match fact:
        case TaskBound():
            if task.state is TaskState.INITIALIZING and task.incarnation is None:
                flow.put_task(replace(task, incarnation=fact.incarnation))
        case TaskAnswered():
            if task.state is TaskState.INITIALIZING:
                _put(
                    flow,
                    replace(task, state=TaskState.POLLING, host_task_id=fact.host_task_id, sent_at=now),
                    now,
                )
        case TaskProgressed():
            _progressed(flow, task, fact, now)
        case TaskStalled():
            _stalled(flow, task, fact, now)
        case TaskHeldBack():
            if task.state is TaskState.INITIALIZING:
                words = f"{task.method} on {task.host} waits: {fact.why}"
                flow.add_event(now, "task_held_back", words, command_id=task.command_id, task_id=task.id)
        case TaskEnded():
            if task.state in TASK_ENDS:
                return _ended(flow, task, fact, now)
        case TaskCleared():
            state = TaskState.CLEARED if fact.ok else TaskState.CLEAR_FAILED
            if task.state in (TaskState.ENDED, TaskState.CLEAR_FAILED) and task.state is not state:
                flow.put_task(replace(task, state=state))
    return []


def _progressed(flow: Flow, task: TaskRecord, fact: TaskProgressed, now: int) -> None:
    if task.state is not TaskState.POLLING:
        return
    progress = max(task.progress, fact.progress or 0)
    if task.stalled_at is not None and (fact.host_state, fact.message, progress) != _last_said(task):
        task = replace(task, stalled_at=None)
        flow.put_task(task)
        words = f"{task.method} on {task.host} goes on ({fact.host_state})"
        flow.add_event(now, "task_went_on", words, command_id=task.command_id, task_id=task.id)
    # that a watched task runs is no news; how far it is, or that it stops, is
    if progress > task.progress or fact.host_state not in (task.host_state, RUNNING):
        row = replace(task, progress=progress, host_state=fact.host_state, message=fact.message)
        _put(flow, row, now)


def _last_said(task: TaskRecord) -> tuple[str | None, str | None, int]:
    return task.host_state, task.message, task.progress


def _stalled(flow: Flow, task: TaskRecord, fact: TaskStalled, now: int) -> None:
    if task.state is not TaskState.POLLING or task.stalled_at is not None:
        return
    flow.put_task(replace(task, stalled_at=now, host_state=fact.host_state, message=fact.message))
    words = f"{task.method} on {task.host} has reported no progress for {fact.quiet_s:.0f} s ({fact.host_state})"
    flow.add_event(now, "task_stalled", words, Severity.WARNING, command_id=task.command_id, task_id=task.id)


def _ended(flow: Flow, task: TaskRecord, fact: TaskEnded, now: int) -> list[UUID]:
    if not task.is_async and task.is_mutating and task.incarnation not in (None, STOCK):
        task = replace(task, host_task_id=str(task.id))  # its answer is kept under our id until it is cleared
    to_clear = task.host_task_id is not None and fact.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)
    row = replace(
        task,
        state=TaskState.ENDED,
        outcome=_outcome(task, fact),
        host_state=fact.host_state,
        host_result=fact.host_result,
        code=fact.code,
        message=fact.message,
        answer_json=fact.answer_json,
        progress=100 if fact.outcome is Outcome.SUCCEEDED else task.progress,
        ended_at=now,
        stalled_at=None,
    )
    if not to_clear:
        row = replace(row, state=TaskState.CLEARED)
    if task.is_mutating and (fact.outcome in FATE_UNKNOWN or fact.host_result == CLEAN_FAILURE):
        leave(flow, _leftover(task, fact, now), now)
    _put(flow, row, now)
    command = flow.commands[task.command_id]
    if row.outcome is Outcome.SUCCEEDED and task.stopping is not None and command.stopping is None:
        command = narration.succeeded_late(flow, command, task.method, task.stopping, now, task_id=task.id)
    return one_less(flow, command)


def _outcome(task: TaskRecord, fact: TaskEnded) -> Outcome:
    """How it ended: one that was to be stopped, failed, and was rolled back, was stopped."""
    was_stopped = task.stopping is not None and fact.host_result == CLEAN_SUCCESS
    return Outcome.STOPPED if was_stopped and fact.outcome is Outcome.FAILED else fact.outcome


def _leftover(task: TaskRecord, fact: TaskEnded, now: int) -> LeftoverRecord:
    host = str(task.host) if task.host else "this process"
    what = "may have run or still run" if fact.outcome in FATE_UNKNOWN else "failed and was not rolled back"
    return LeftoverRecord(
        task.id, task.flow_id, task.command_id, task.id, task.correlation_id, host, task.refs,
        f"{task.method} on {host} {what}: {fact.message}",
        f"look at {host}, then clear leftover {task.id}", now,
    )  # fmt: skip


def _put(flow: Flow, task: TaskRecord, now: int) -> None:
    flow.put_task(task)
    narration.task_moved(flow, task, now)
