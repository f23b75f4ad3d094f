"""The words by which a host tells of its tasks, and its answer to `Task.getStatus`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class TaskState(StrEnum):
    """The outer state of a host task."""

    UNKNOWN = "unknown"
    #: Recorded, not begun.
    INIT = "init"
    #: Waiting for its turn or its locks, or at work.
    RUNNING = "running"
    #: Ended; `TaskResult` says how.
    FINISHED = "finished"
    #: Stopping after a failure or a stop.
    ABORTING = "aborting"
    #: Undoing what it did.
    CLEANING = "cleaning"


class TaskResult(StrEnum):
    """How a host task ended. Decide by this, never by the code: a failure may have code 0."""

    #: Not over yet.
    NONE = ""
    SUCCESS = "success"
    #: Failed, and everything it did was undone.
    CLEAN_SUCCESS = "cleanSuccess"
    #: Failed, and something of it may remain.
    CLEAN_FAILURE = "cleanFailure"


class TaskStatus(BaseModel):
    """A host's answer to `Task.getStatus`. The last two fields come only from hosts with the extension."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    taskID: str
    taskState: TaskState
    taskResult: TaskResult
    code: int
    message: str
    #: Percent of the work done; None where that is not known.
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    #: Which journal says so: "unknown" means never-run only within one incarnation.
    incarnation: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether the task has ended for good."""
        return self.taskState is TaskState.FINISHED

    def to_wire(self) -> dict[str, Any]:  # Any: JSON values
        """The answer as JSON; without an incarnation it has exactly VDSM's keys."""
        ours = set() if self.incarnation is not None else {"progress", "incarnation"}
        return self.model_dump(mode="json", exclude=ours)
