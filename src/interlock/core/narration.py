"""What people see: job and step rows and events, derived from each move of a command or a task.

They are written in the same transaction as the move, so that they cannot disagree with it.
"""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from interlock.core import step_tree
from interlock.core.flow import Flow
from interlock.core.step_tree import EXECUTING, FINALIZING, GENERIC, VALIDATING, generic, place_of
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, Role, Severity, StepRecord, TaskRecord
from interlock.model.replacing import replace
from interlock.model.states import Outcome, Result, State, StepStatus, TaskState
from interlock.model.text import legible

#: how many parts one event names
_NAMED_MAX = 10

_OF_RESULT = {
    Result.SUCCEEDED: StepStatus.FINISHED,
    Result.FAILED: StepStatus.FAILED,
    Result.CANCELLED: StepStatus.ABORTED,
}
#: steps that say how they ended
_CLOSED = frozenset({StepStatus.FINISHED, StepStatus.FAILED, StepStatus.ABORTED, StepStatus.NOT_STARTED})


def open_job(flow: Flow, ids: tuple[UUID, UUID, UUID], now: int) -> None:
    """The three generic steps of a new job, and its first event."""
    job = flow.job
    for position, (id, name) in enumerate(zip(ids, GENERIC, strict=True)):
        flow.put_step(
            StepRecord(id, flow.id, None, name, name.capitalize(), position, StepStatus.PENDING,
                       job.correlation_id)
        )  # fmt: skip
    flow.add_event(now, "job_accepted", job.title, user=job.user or None)


def command_planned(flow: Flow, command: CommandRecord) -> None:
    """A named part shows as soon as it is planned; one of a group has been shown since that was."""
    if command.step is None or command.parent_id is None:
        return
    known = flow.steps.get(command.id)
    if known is None:
        step_tree.plan_step(
            flow, command.id, place_of(flow, command), command.step, command.title, command.weight, command.refs
        )
    elif (known.title, known.refs) != (command.title, command.refs):
        flow.put_step(replace(known, title=command.title, refs=command.refs))


def command_planned_again(flow: Flow, former: CommandRecord, again: CommandRecord) -> None:
    """A part is tried again, and so is what shows within it."""
    command_planned(flow, again)
    step_tree.show_again(flow, former, again)


def task_planned(flow: Flow, task: TaskRecord) -> None:
    """As `command_planned`, for an async task."""
    if task.step is not None:
        title = flow.commands[task.command_id].title
        step_tree.plan_step(flow, task.id, place_of(flow, task), task.step, title, task.weight, task.refs)


def command_moved(flow: Flow, command: CommandRecord, now: int) -> None:
    """Brings the steps and the job in line with a command's new state."""
    if command.state is State.ENDED:
        for step in step_tree.never_reached(flow, command):
            _close(flow, step, StepStatus.NOT_STARTED, now)
    if command.parent_id is None:
        _root_moved(flow, command, now)
    elif command.id in flow.steps:
        if command.state is State.ENDED:
            assert command.result is not None
            status = _OF_RESULT[command.result]
            if status is StepStatus.ABORTED and command.started_at is None:
                status = StepStatus.NOT_STARTED
            _close(flow, flow.steps[command.id], status, now)
        else:
            _start(flow, flow.steps[command.id], now)


def _root_moved(flow: Flow, root: CommandRecord, now: int) -> None:
    match root.state:
        case State.VALIDATING:
            _start(flow, generic(flow, VALIDATING), now)
        case State.EXECUTING:
            _close(flow, generic(flow, VALIDATING), StepStatus.FINISHED, now)
            _start(flow, generic(flow, EXECUTING), now)
        case State.COMPENSATING | State.FINALIZING:
            failed = root.failure_json is not None
            _close(flow, generic(flow, EXECUTING), StepStatus.FAILED if failed else StepStatus.FINISHED, now)
            _start(flow, generic(flow, FINALIZING), now)
        case State.ENDED:
            _root_ended(flow, root, now)
        case _:
            pass


def _root_ended(flow: Flow, root: CommandRecord, now: int) -> None:
    assert root.result is not None
    status = _OF_RESULT[root.result]
    for name in GENERIC:
        step = generic(flow, name)
        if step.status is StepStatus.STARTED:
            # an end phase that told the truth about a failure has itself done its work
            told = name == FINALIZING and root.result is not Result.SUCCEEDED
            _close(flow, step, StepStatus.FINISHED if told else status, now)
        elif step.status is StepStatus.PENDING:
            _close(flow, step, StepStatus.NOT_STARTED, now)
    flow.put_job(
        replace(
            flow.job, status=status, result=root.result, ended_at=now, attention=None,
            progress=100 if root.result is Result.SUCCEEDED else flow.job.progress,
        )
    )  # fmt: skip
    if root.failure_json is None:
        flow.add_event(now, "job_ended", f"{root.title}: {root.result}", command_id=root.id)
    else:
        why = Failure.from_json(root.failure_json).message
        flow.add_event(now, "job_ended", f"{root.title}: {root.result}: {why}", Severity.ERROR, command_id=root.id)


def task_moved(flow: Flow, task: TaskRecord, now: int) -> None:
    """Brings a task's step in line with it."""
    step = _step_of(flow, task)
    if step is None or step.status in _CLOSED or task.state is TaskState.INITIALIZING:
        return
    if task.host_task_id and step.external_id is None:
        step = replace(step, external_system="VDSM", external_id=task.host_task_id)
    if task.progress > step.progress:
        step = replace(step, progress=task.progress)
    if task.state is TaskState.POLLING or step.id != task.id:
        _start(flow, step, now)
    else:
        ok = task.outcome is Outcome.SUCCEEDED
        _close(flow, step, StepStatus.FINISHED if ok else StepStatus.FAILED, now)


def _step_of(flow: Flow, task: TaskRecord) -> StepRecord | None:
    """The task's own; of one without a name that is all its command does, the command's."""
    if task.step is not None:
        return flow.steps[task.id]
    plan = (task.command_id, Role.FORWARD, None)
    is_all = flow.tasks_of.get(plan) == [task.id] and not flow.children.get(plan)
    return flow.steps.get(task.command_id) if is_all else None


def lock_waited(flow: Flow, command: CommandRecord, reasons: Sequence[str], now: int) -> None:
    """A command waits for locks that others hold."""
    words = "; ".join(reason.partition("; ")[0] for reason in reasons[:_NAMED_MAX])
    flow.add_event(now, "lock_waited", f"{command.title} waits: {words}", command_id=command.id)


def limit_waited(flow: Flow, command: CommandRecord, reasons: Sequence[str], now: int) -> None:
    """A command waits for room under limits."""
    words = "; ".join(reasons[:_NAMED_MAX])
    flow.add_event(now, "limit_waited", f"{command.title} waits: {words}", command_id=command.id)


def entities_awaited(flow: Flow, command: CommandRecord, busy: Sequence[str], now: int) -> None:
    """The end of a command waits for tasks of other flows."""
    more = f"; and {len(busy) - _NAMED_MAX} more" if len(busy) > _NAMED_MAX else ""
    words = f"the end of {command.title} waits: {'; '.join(busy[:_NAMED_MAX])}{more}"
    flow.add_event(now, "entities_awaited", words, command_id=command.id)


def past_return(flow: Flow, command: CommandRecord, kept: Collection[int], now: int) -> None:
    """What a failed command has completed and will not undo."""
    titles = [
        child.title
        for child in flow.children_of(command.id, Role.FORWARD)
        if child.position in kept and child.result is Result.SUCCEEDED
    ]
    if titles:
        words = f"not undone, since a point of no return was passed: {', '.join(titles[:_NAMED_MAX])}"
        more = f" and {len(titles) - _NAMED_MAX} more" if len(titles) > _NAMED_MAX else ""
        flow.add_event(now, "not_undone", words + more, Severity.WARNING, command_id=command.id)


def deadline_passed(flow: Flow, why: str, now: int, *, command_id: UUID, task_id: UUID | None = None) -> None:
    """The time of a command or a task is over."""
    words = f"{why}; what has not ended of it is stopped"
    flow.add_event(now, "deadline_passed", words, Severity.WARNING, command_id=command_id, task_id=task_id)


def succeeded_late(
    flow: Flow, command: CommandRecord, what: str, why: str, now: int, *, task_id: UUID | None = None
) -> CommandRecord:
    """What was to be stopped has succeeded all the same, and that counts; the job has ended with warnings."""
    words = f"{what} has succeeded all the same, and counts: {why}"
    flow.add_event(now, "succeeded_late", words, Severity.WARNING, command_id=command.id, task_id=task_id)
    warn(flow, command)
    return flow.commands[command.id]


def warn(flow: Flow, command: CommandRecord) -> None:
    """The command, and so its job, ends with warnings."""
    above: CommandRecord | None = flow.commands[command.id]
    while above is not None:
        flow.put_command(replace(above, has_warnings=True))
        above = flow.commands[above.parent_id] if above.parent_id is not None else None


def raise_attention(flow: Flow, command: CommandRecord, reason: str, now: int) -> None:
    """A command needs a person: it stands first in every list, and an event says why."""
    reason = legible(reason)
    flow.put_command(replace(command, attention=reason))
    flow.put_job(replace(flow.job, attention=reason))
    flow.add_event(now, "attention_raised", reason, Severity.ERROR, command_id=command.id)


def ask(flow: Flow, command: CommandRecord, reason: str, now: int) -> None:
    """A part has failed, and a person is asked what becomes of the command."""
    reason = legible(reason)
    flow.put_command(replace(command, asking=reason))
    flow.put_job(replace(flow.job, attention=reason))
    flow.add_event(now, "decision_asked", reason, Severity.ERROR, command_id=command.id)


def attention_settled(flow: Flow) -> None:
    """The job shows what still needs a person, or nothing."""
    reasons = (each.attention or each.asking for each in flow.commands.values())
    reason = next((words for words in reasons if words is not None), None)
    if flow.job.attention != reason:
        flow.put_job(replace(flow.job, attention=reason))


def _start(flow: Flow, step: StepRecord, now: int) -> None:
    if step.status is StepStatus.PENDING:
        step = replace(step, status=StepStatus.STARTED, started_at=now)
        if step.parent_step_id is not None:
            flow.add_event(now, "step_started", f"{step.name} started: {step.title}")
    if step is not flow.steps[step.id]:
        flow.put_step(step)


def _close(flow: Flow, step: StepRecord, status: StepStatus, now: int) -> None:
    if step.status in _CLOSED:
        return
    done = status is StepStatus.FINISHED
    started = step.started_at
    if started is None and status is not StepStatus.NOT_STARTED:
        started = now
    flow.put_step(
        replace(
            step, status=status, started_at=started, ended_at=now,
            progress=100 if done else step.progress,
        )
    )  # fmt: skip
    if step.parent_step_id is not None:
        severity = Severity.ERROR if status is StepStatus.FAILED else Severity.INFO
        flow.add_event(now, "step_ended", f"{step.name} {status.lower()}: {step.title}", severity)


def roll_up(flow: Flow) -> None:
    """Progress from the leaves to the job, in one pass; it never goes back."""
    parts: dict[UUID | None, list[StepRecord]] = {}
    for step in flow.steps.values():
        parts.setdefault(step.parent_step_id, []).append(step)
    for step in parts.get(None, ()):
        if step.name == EXECUTING:
            progress = _progress(flow, step, parts)
            if progress > flow.job.progress:
                flow.put_job(replace(flow.job, progress=progress))


def _counts(flow: Flow, step: StepRecord) -> bool:
    """What was never reached, or is part of what has begun anew, is no share of the progress."""
    if step.status is StepStatus.NOT_STARTED:
        return False
    task = flow.tasks.get(step.id)
    command = flow.commands.get(step.id if task is None else task.command_id)
    while command is not None and (command.id == step.id or command.id not in flow.steps):
        again = flow.at(command.plan, command.position) if command.superseded else None
        if again is not None and again.state is not State.PENDING:
            return False
        command = None if command.parent_id is None else flow.commands[command.parent_id]
    return True


def _progress(flow: Flow, step: StepRecord, parts: Mapping[UUID | None, list[StepRecord]]) -> int:
    below = [part for part in parts.get(step.id, ()) if _counts(flow, part)]
    if not below or step.status in _CLOSED:
        return step.progress
    total = sum(part.weight for part in below)
    done = sum(part.weight * _progress(flow, part, parts) for part in below) // total
    if done > step.progress:
        flow.put_step(replace(step, progress=done))
    return max(done, step.progress)
