"""What the agent remembers of one host task: a frozen record that goes into the journal whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from interlock.agent.task_machine import MESSAGE_INIT, Inner, failure_message, outer
from interlock.verbs import TaskState, TaskStatus, Verb, parse

#: A reason is never longer, however many undoings failed.
ERROR_CHARS_MAX = 2_000

#: One change of what the agent remembers, as the journal keeps it.
Entry = Mapping[str, Any]  # Any: JSON values


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed."""

    code: int
    error: str
    #: Undoing cannot be trusted to have undone everything: the task ends `cleanFailure`.
    is_unclean: bool = False


class StepFailed(Exception):
    """A step of a task cannot be done; the task is undone."""

    def __init__(self, code: int, error: str, *, is_unclean: bool = False) -> None:
        super().__init__(error)
        self.failure = Failure(int(code), error, is_unclean)


@dataclass(frozen=True, slots=True)
class HostTask:
    """A task: what was asked, by whom, and how far it is."""

    id: str
    method: str
    #: The verb's parameters with all defaults filled in, as they are compared and stored.
    params: Mapping[str, Any]  # Any: JSON values
    flow: str | None = None
    term: int | None = None
    correlation_id: str | None = None
    state: Inner = Inner.INIT
    code: int = 0
    message: str = MESSAGE_INIT
    #: How many steps are done; `is_begun` says whether the next one has begun.
    steps_done: int = 0
    is_begun: bool = False
    #: The steps whose undoing is still owed, in the order in which they began.
    recoveries: tuple[str, ...] = ()
    is_stopping: bool = False
    #: Undoing is to be given up, too.
    is_giving_up: bool = False
    #: Its id is a host job's: `Host.getJobs` tells of it.
    is_host_job: bool = False
    failure: Failure | None = None
    #: Shown in lists and kept until cleared; not so for a synchronous call without an id of the caller's.
    is_kept: bool = True

    @property
    def verb(self) -> Verb:
        """The typed call."""
        return parse(self.method, self.params)

    @property
    def has_begun(self) -> bool:
        """Whether a step of it has begun, so that there may be something to undo."""
        return self.is_begun or self.steps_done > 0

    def is_same(self, verb: Verb, flow: str | None) -> bool:
        """Whether a call asks for this very task."""
        return (self.method, self.params, self.flow) == (verb.method, verb.wire_params(), flow)

    def failed(self, failure: Failure) -> HostTask:
        """The same task with the reason of its failure, of bounded length."""
        failure = replace(failure, error=failure.error[:ERROR_CHARS_MAX])
        message = failure_message(failure.error, failure.code)
        return replace(self, failure=failure, code=failure.code, message=message)

    def status(self, *, progress: int | None, incarnation: str | None) -> TaskStatus:
        """The answer to `Task.getStatus`."""
        state, result = outer(self.state)
        return TaskStatus(
            taskID=self.id,
            taskState=state,
            taskResult=result,
            code=self.code,
            message=self.message,
            progress=progress,
            incarnation=incarnation,
        )

    @property
    def outer_state(self) -> TaskState:
        """The state as a caller sees it."""
        return outer(self.state)[0]

    def to_entry(self) -> Entry:
        """The record as a journal entry."""
        record = {name: getattr(self, name) for name in _FIELDS}
        if self.failure is not None:
            record["failure"] = asdict(self.failure)
        return {"kind": "task", "task": record}

    @classmethod
    def from_entry(cls, entry: Entry) -> HostTask:
        """The record that a journal entry holds."""
        found = dict(entry["task"])
        found["state"] = Inner(found["state"])
        found["recoveries"] = tuple(found["recoveries"])
        found["failure"] = Failure(**found["failure"]) if found["failure"] else None
        return cls(**found)


_FIELDS = tuple(field.name for field in fields(HostTask))
