"""Facts: what happened, as `core.decide` is told; and what is due: what it answers."""

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from interlock.model.failure import Failure
from interlock.model.states import Outcome, Phase, Result


@dataclass(frozen=True, slots=True)
class Examine:
    """Look at this command's rows afresh; it is safe at any time."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class Look:
    """What a wait waits for may have become true; it is safe at any time."""

    task_id: UUID


@dataclass(frozen=True, slots=True)
class RetryDue:
    """A command that is to be tried again at `retry_at`, a wall time, has waited as long as it was to."""

    command_id: UUID
    retry_at: int


@dataclass(frozen=True, slots=True)
class Executed:
    """execute committed its writes, and its plan stands in the rows."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class StartRefused:
    """Its locks or its validation were refused; nothing happened."""

    command_id: UUID
    failure: Failure


@dataclass(frozen=True, slots=True)
class ExecuteFailed:
    """execute raised, or its plan could not begin; its writes are forgotten."""

    command_id: UUID
    failure: Failure


@dataclass(frozen=True, slots=True)
class EndPhaseRan:
    """end_successfully or end_with_failure ran; `value_json` is the typed result of the former."""

    command_id: UUID
    value_json: str | None = None


@dataclass(frozen=True, slots=True)
class EndPhaseFailed:
    """An end phase raised."""

    command_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Compensated:
    """compensate of a completed command ran for `command_id`; its plan stands in the rows."""

    command_id: UUID
    undone: UUID


@dataclass(frozen=True, slots=True)
class CompensateFailed:
    """compensate raised, or its plan could not begin."""

    command_id: UUID
    undone: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class TaskBound:
    """A start is about to be addressed to this incarnation of the host's journal."""

    task_id: UUID
    incarnation: str


@dataclass(frozen=True, slots=True)
class TaskAnswered:
    """The host has accepted the start."""

    task_id: UUID
    host_task_id: str


@dataclass(frozen=True, slots=True)
class TaskProgressed:
    """The host reports an unfinished task; `progress` in percent."""

    task_id: UUID
    host_state: str
    progress: int | None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class TaskStalled:
    """The host has reported neither another state nor progress for too long; with what it last said."""

    task_id: UUID
    host_state: str
    message: str | None
    quiet_s: float


@dataclass(frozen=True, slots=True)
class TaskHeldBack:
    """A limit of its host keeps the task from being sent, and which."""

    task_id: UUID
    why: str


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """The task is over, or nobody can say more of it."""

    task_id: UUID
    outcome: Outcome
    host_state: str | None = None
    host_result: str | None = None
    code: int | None = None
    message: str | None = None
    answer_json: str | None = None


@dataclass(frozen=True, slots=True)
class FormersEnded:
    """Jobs that this flow comes after have ended, and how; None: that one is gone."""

    command_id: UUID
    results: tuple[tuple[UUID, Result | None], ...]


@dataclass(frozen=True, slots=True)
class NeverStarts:
    """A flow that has not begun never will, and why."""

    command_id: UUID
    failure: Failure


@dataclass(frozen=True, slots=True)
class TaskCleared:
    """The host has forgotten the task, or (not `ok`) would not."""

    task_id: UUID
    ok: bool


@dataclass(frozen=True, slots=True)
class CommandOverdue:
    """The time that a command was given is over."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class TaskOverdue:
    """The time that a task was given is over."""

    task_id: UUID


#: facts that change rows
News: TypeAlias = (
    Examine
    | RetryDue
    | FormersEnded
    | NeverStarts
    | Executed
    | StartRefused
    | ExecuteFailed
    | EndPhaseRan
    | EndPhaseFailed
    | Compensated
    | CompensateFailed
    | TaskBound
    | TaskAnswered
    | TaskProgressed
    | TaskStalled
    | TaskHeldBack
    | TaskEnded
    | TaskCleared
    | CommandOverdue
    | TaskOverdue
)
Fact: TypeAlias = News | Look


@dataclass(frozen=True, slots=True)
class Start:
    """Lock, validate and execute this command."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class EndPhase:
    """Run this command's end phase."""

    command_id: UUID
    phase: Phase


@dataclass(frozen=True, slots=True)
class Compensate:
    """Run compensate of `undone` on behalf of `command_id`."""

    command_id: UUID
    undone: UUID


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask whether what a wait of this command waits for is true."""

    command_id: UUID
    task_id: UUID


@dataclass(frozen=True, slots=True)
class AskEntities:
    """Ask whether other flows still work on this command's refs: its end phase waits for them."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class AskFormers:
    """Ask whether the jobs that this flow comes after have ended."""

    command_id: UUID


Due: TypeAlias = Start | EndPhase | Compensate | AskEntities | Judge | AskFormers


def cause_of(due: Due) -> Examine | Look:
    """The fact because of which the same is due another time."""
    return Look(due.task_id) if isinstance(due, Judge) else Examine(due.command_id)
