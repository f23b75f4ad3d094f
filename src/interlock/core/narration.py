"""What people see: job and step rows and events, derived from each move of a command or a task.

They are written in the same transaction as the move, so that they cannot disagree with it.
"""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from interlock.core.flow import Flow
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, Role, Severity, StepRecord, TaskRecord
from interlock.model.replacing import replace
from interlock.model.states import Outcome, Result, State, StepStatus, TaskState
from interlock.model.text import legible

#: how many parts one event names
_NAMED_MAX = 10
VALIDATING, EXECUTING, FINALIZING = "VALIDATING", "EXECUTING", "FINALIZING"
GENERIC = (VALIDATING, EXECUTING, FINALIZING)

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
    """A named part shows as soon as it is planned."""
    if command.step is not None and command.parent_id is not None:
        _plan_step(flow, command, _parent_step(flow, command.parent_id, command.role))


def task_planned(flow: Flow, task: TaskRecord) -> None:
    """As `command_planned`, for an async task."""
    if task.step is not None:
        _plan_step(flow, task, _parent_step(flow, task.command_id, task.role))


def _plan_step(flow: Flow, row: CommandRecord | TaskRecord, parent: UUID | None) -> None:
    assert row.step is not None
    title = (row if isinstance(row, CommandRecord) else flow.commands[row.command_id]).title
    flow.put_step(
        StepRecord(
            row.id, flow.id, parent, row.step, title, row.position, StepStatus.PENDING,
            row.correlation_id, weight=row.weight, refs=row.refs,
        )
    )  # fmt: skip


def _parent_step(flow: Flow, command_id: UUID, role: Role) -> UUID | None:
    """The nearest step above a part of that command."""
    while True:
        command = flow.commands[command_id]
        if command.parent_id is None:
            return _generic(flow, EXECUTING if role is Role.FORWARD else FINALIZING).id
        if command_id in flow.steps:
            return command_id
        command_id, role = command.parent_id, command.role


def _generic(flow: Flow, name: str) -> StepRecord:
    return next(step for step in flow.steps.values() if step.parent_step_id is None and step.name == name)


def command_moved(flow: Flow, command: CommandRecord, now: int) -> None:
    """Brings the steps and the job in line with a command's new state."""
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
            _start(flow, _generic(flow, VALIDATING), now)
        case State.EXECUTING:
            _close(flow, _generic(flow, VALIDATING), StepStatus.FINISHED, now)
            _start(flow, _generic(flow, EXECUTING), now)
        case State.COMPENSATING | State.FINALIZING:
            failed = root.failure_json is not None
            _close(flow, _generic(flow, EXECUTING), StepStatus.FAILED if failed else StepStatus.FINISHED, now)
            _start(flow, _generic(flow, FINALIZING), now)
        case State.ENDED:
            _root_ended(flow, root, now)
        case _:
            pass


def _root_ended(flow: Flow, root: CommandRecord, now: int) -> None:
    assert root.result is not None
    status = _OF_RESULT[root.result]
    for name in GENERIC:
        step = _generic(flow, name)
        if step.status is StepStatus.STARTED:
            # an end phase that told the truth about a failure has itself done its work
            told = name == FINALIZING and root.result is Result.FAILED
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
    step = flow.steps.get(task.id)
    if step is None or step.status in _CLOSED:
        return
    if task.state is TaskState.INITIALIZING:
        return
    if task.host_task_id and step.external_id is None:
        step = replace(step, external_system="VDSM", external_id=task.host_task_id)
    if task.state is TaskState.POLLING:
        if task.progress > step.progress:
            step = replace(step, progress=task.progress)
        _start(flow, step, now)
    else:
        ok = task.outcome is Outcome.SUCCEEDED
        _close(flow, step, StepStatus.FINISHED if ok else StepStatus.FAILED, now)


def lock_waited(flow: Flow, command: CommandRecord, reasons: Sequence[str], now: int) -> None:
    """A command waits for locks that others hold."""
    words = "; ".join(reason.partition("; ")[0] for reason in reasons[:_NAMED_MAX])
    flow.add_event(now, "lock_waited", f"{command.title} waits: {words}", command_id=command.id)


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
    above: CommandRecord | None = command
    while above is not None:
        flow.put_command(replace(above, has_warnings=True))
        above = flow.commands[above.parent_id] if above.parent_id is not None else None
    return flow.commands[command.id]


def raise_attention(flow: Flow, command: CommandRecord, reason: str, now: int) -> None:
    """A command needs a person: it stands first in every list, and an event says why."""
    reason = legible(reason)
    flow.put_command(replace(command, attention=reason))
    flow.put_job(replace(flow.job, attention=reason))
    flow.add_event(now, "attention_raised", reason, Severity.ERROR, command_id=command.id)


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
    """What was never reached, or is tried again, is no share of the progress."""
    command = flow.commands.get(step.id)
    return step.status is not StepStatus.NOT_STARTED and not (command is not None and command.superseded)


def _progress(flow: Flow, step: StepRecord, parts: Mapping[UUID | None, list[StepRecord]]) -> int:
    below = [part for part in parts.get(step.id, ()) if _counts(flow, part)]
    if not below or step.status in _CLOSED:
        return step.progress
    total = sum(part.weight for part in below)
    done = sum(part.weight * _progress(flow, part, parts) for part in below) // total
    if done > step.progress:
        flow.put_step(replace(step, progress=done))
    return max(done, step.progress)
