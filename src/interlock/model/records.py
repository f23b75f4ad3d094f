"""Records: one frozen dataclass per table's row, as the coordinator keeps them in memory.

Times are microseconds of wall time (see clock.py). `*_json` fields are JSON text.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from interlock.model.actions import Action
from interlock.model.calls import AfterPolicy
from interlock.model.layout import Options, options_of
from interlock.model.locks import LockMode, LockScope
from interlock.model.refs import Ref
from interlock.model.states import Outcome, Phase, Result, State, StepStatus, TaskState

#: what stands for the incarnation of a host's journal where the host has none
STOCK = "stock"


class Role(StrEnum):
    """Which phase of its parent planned a child or a task."""

    #: the plan that execute returned
    FORWARD = "forward"
    #: the plan that compensate of a completed command returned
    UNDO = "undo"
    #: the plan that end_with_failure returned
    END = "end"


class Undo(StrEnum):
    """How far the undoing of a completed command has come."""

    #: its compensate phase has run; what it planned is under way
    UNDERWAY = "underway"
    #: undone
    DONE = "done"
    #: it could not be undone: a leftover says what may remain
    FAILED = "failed"


def id_of_part(group_id: UUID, position: int) -> UUID:
    """The id of the command at a position of a group's plan; its step has it before there is a row of the command."""
    return uuid5(group_id, f"part {position}")


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A persisted command (table command_entities). The flow command has no parent; its id is the flow's."""

    id: UUID
    flow_id: UUID
    parent_id: UUID | None
    correlation_id: str
    name: str
    version: int
    parameters_json: str
    refs: tuple[Ref[Any], ...]  # table command_assoc_entities
    title: str
    depth: int
    role: Role
    key: str
    position: int
    after: tuple[int, ...]
    step: str | None
    weight: int
    best_effort: bool
    created_at: int
    undoes: UUID | None = None
    state: State = State.PENDING
    result: Result | None = None
    #: unfinished children and tasks of the role under way; recounted when an end is due
    open: int = 0
    #: this command's place in the order in which the flow's commands ended
    ended_seq: int | None = None
    undo: Undo | None = None
    failure_json: str | None = None
    value_json: str | None = None
    #: the end phase that is due or has run; with `phase_ran` its plan is under way
    phase: Phase | None = None
    phase_ran: bool = False
    attempts: int = 0
    retry_at: int | None = None
    attention: str | None = None
    has_leftovers: bool = False
    has_warnings: bool = False
    started_at: int | None = None
    ended_at: int | None = None
    #: what few parts have: see `options`
    options_json: str | None = None
    #: counts from 1; with `superseded` a later attempt is there, and this one counts no more
    attempt: int = 1
    superseded: bool = False
    #: who ended it without its phases; what it says of its end is that person's word
    forced_by: str | None = None
    #: when its time is over
    deadline_at: int | None = None
    #: why what is not over of it is being stopped
    stopping: str | None = None
    #: who wished that; None: its time was over
    stopped_by: str | None = None
    #: what a person is asked, since a part has failed and what succeeded may be kept
    asking: str | None = None
    #: who decided that its failure does not count
    skipped_by: str | None = None

    @property
    def options(self) -> Options:
        """How the part is treated beyond its place."""
        return options_of(self.options_json)

    @property
    def id_of_next_attempt(self) -> UUID:
        """It follows from this one's, so that deciding twice means the same attempt."""
        return uuid5(self.id, "next attempt")

    @property
    def plan(self) -> tuple[UUID, Role, UUID | None]:
        """Which plan a part belongs to: whose, which phase's, and for UNDO which command it undoes."""
        assert self.parent_id is not None
        return self.parent_id, self.role, self.undoes


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """An async task (table async_tasks): a placeholder until the host answers."""

    id: UUID
    flow_id: UUID
    command_id: UUID
    correlation_id: str
    role: Role
    undoes: UUID | None
    position: int
    host: Ref[Any] | None
    method: str
    arguments_json: str
    refs: tuple[Ref[Any], ...]  # table async_task_entities
    is_async: bool
    is_mutating: bool
    step: str | None
    weight: int
    best_effort: bool
    created_at: int
    state: TaskState = TaskState.INITIALIZING
    outcome: Outcome | None = None
    #: the host's journal to which the start is addressed, stored before the first send; STOCK for stock hosts
    incarnation: str | None = None
    host_task_id: str | None = None
    #: the host's own words: taskState, taskResult, code, message
    host_state: str | None = None
    host_result: str | None = None
    code: int | None = None
    message: str | None = None
    answer_json: str | None = None
    progress: int = 0
    sent_at: int | None = None
    ended_at: int | None = None
    #: what it waits for, where it is a wait: no work is sent for it
    wait_json: str | None = None
    #: when its time is over
    deadline_at: int | None = None
    #: why it is being stopped
    stopping: str | None = None
    #: who wished that; None: its time was over
    stopped_by: str | None = None
    #: since when its host has reported no progress, where that is too long
    stalled_at: int | None = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What a person sees of a flow (table job); its id is the flow's. Holds the flow's fencing term."""

    id: UUID
    action: str
    title: str
    status: StepStatus
    correlation_id: str
    user: str
    parameters_json: str  # redacted
    refs: tuple[Ref[Any], ...]  # table job_subject_entity
    started_at: int
    updated_at: int
    ended_at: int | None = None
    result: Result | None = None
    progress: int = 0
    idempotency_key: str | None = None
    digest: str | None = None
    term: int = 1
    claims: int = 0
    events: int = 0
    attention: str | None = None
    visible: bool = True
    #: what waits longer than AGEING_US comes before what has one more of it
    priority: int = 0
    #: who paused it: no part that has not begun begins
    paused_by: str | None = None
    #: the job that it does once more
    restart_of: UUID | None = None
    #: the schedule that began it
    schedule_id: UUID | None = None
    #: grows with every commit that writes the job; given by the writer
    change_no: int = 0


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A meaningful part of a job (table step). A command's or task's step has its id. Steps under one parent have
    the order of their positions."""

    id: UUID
    job_id: UUID
    parent_step_id: UUID | None
    name: str
    title: str
    position: int
    status: StepStatus
    correlation_id: str
    weight: int = 1
    progress: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    external_system: str | None = None
    external_id: str | None = None
    refs: tuple[Ref[Any], ...] = ()  # table step_subject_entity


@dataclass(frozen=True, slots=True)
class FormerRecord:
    """A job that another comes after (table job_formers); `result` is how it ended, once the other has been told:
    until then it is kept."""

    flow_id: UUID
    former_id: UUID
    policy: AfterPolicy
    result: Result | None = None


class Severity(StrEnum):
    """How loud an event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A line of the audit log (table audit_log); `seq` has no gap within its flow."""

    flow_id: UUID
    seq: int
    at: int
    severity: Severity
    kind: str
    message: str
    correlation_id: str
    user: str | None = None
    command_id: UUID | None = None
    task_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class LockRecord:
    """A lock held (table entity_locks). With `leftover_id` it only refuses, after its flow's end."""

    ref: Ref[Any]
    flow_id: UUID
    mode: LockMode
    command_id: UUID
    taken_at: int
    leftover_id: UUID | None = None
    scope: LockScope = LockScope.COMMAND


@dataclass(frozen=True, slots=True)
class TicketRecord:
    """A lock that a pending command waits for (table lock_tickets); lower ranks come first.

    `rank` is the time since when it waits, moved back by its priority, so that waiting makes up for any priority.
    """

    command_id: UUID
    ref: Ref[Any]
    flow_id: UUID
    mode: LockMode
    rank: int
    since: int
    deadline_at: int | None = None


@dataclass(frozen=True, slots=True)
class SignalRecord:
    """News from outside a flow (table signals); the store numbers them in the order of their commits.

    With a `job_id` it is addressed: it waits for the wait of that job, and is taken once.
    """

    id: UUID
    kind: str
    about: Ref[Any] | None
    job_id: UUID | None
    data_json: str
    by: str
    accepted_at: int
    taken_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """What a person did (table actions); the store numbers actions in the order of their commits.

    `before_json` and `after_json` say what it changed, as far as it changed something at once.
    """

    id: UUID
    at: int
    by: str
    what: Action
    subject: Ref[Any]
    correlation_id: str | None = None
    reason: str | None = None
    before_json: str | None = None
    after_json: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """What a command found before its first write of an entity, and what it wrote
    (table business_entity_snapshot). None: the entity did not, or does not, exist."""

    flow_id: UUID
    command_id: UUID
    ref: Ref[Any]
    position: int
    before_json: str | None
    after_json: str | None


@dataclass(frozen=True, slots=True)
class LeftoverRecord:
    """What a flow could not clean (table leftovers); stays until cleared."""

    id: UUID
    flow_id: UUID
    command_id: UUID
    task_id: UUID | None
    correlation_id: str
    host: str | None
    refs: tuple[Ref[Any], ...]  # JSON list
    reason: str
    remedy: str
    created_at: int
    cleared_at: int | None = None
    cleared_by: str | None = None
    cleared_reason: str | None = None


@dataclass(frozen=True, slots=True)
class EntityRecord:
    """An entity's row (table entities). `version` counts changes of the body, `links` those of what refers
    to it. `schema` is the class's version at the last write."""

    ref: Ref[Any]
    version: int
    links: int
    name: str | None
    status: str | None
    schema: int
    body_json: str


@dataclass(frozen=True, slots=True)
class EntityRefRecord:
    """A ref from one entity's field to another (table entity_refs)."""

    origin: Ref[Any]
    field: str
    target: Ref[Any]
