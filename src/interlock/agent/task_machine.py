"""The states of a host task, the legal moves between them, and the words that a caller sees."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from interlock.verbs import Code, TaskResult, TaskState


class Inner(StrEnum):
    """What a task is at, as the host itself knows it."""

    UNKNOWN = "unknown"
    #: Recorded; nothing has been done for it.
    INIT = "init"
    PREPARING = "preparing"
    #: Held back before it may ask for its resources.
    BLOCKED = "blocked"
    #: Waits for its resource locks.
    ACQUIRING = "acquiring"
    #: Has its locks, waits for a worker.
    QUEUED = "queued"
    #: Its steps are carried out.
    RUNNING = "running"
    FINISHED = "finished"
    #: Failed or stopped; what was done has yet to be undone.
    ABORTING = "aborting"
    #: The agent ended while the task was aborting.
    WAITRECOVER = "waitrecover"
    #: Takes its locks again before undoing.
    RACQUIRING = "racquiring"
    RECOVERING = "recovering"
    #: Undoing is itself being stopped.
    RABORTING = "raborting"
    #: Failed, and everything was undone.
    RECOVERED = "recovered"
    #: Failed, and something may remain.
    FAILED = "failed"

    @property
    def is_done(self) -> bool:
        """Whether nothing more will happen to the task."""
        return self in _DONE


_DONE = frozenset({Inner.FINISHED, Inner.RECOVERED, Inner.FAILED})

#: Every legal move (from, to), and why it is made.
MOVES: Mapping[tuple[Inner, Inner], str] = MappingProxyType(
    {
        (Inner.INIT, Inner.PREPARING): "its record is durable and its turn begins",
        (Inner.BLOCKED, Inner.PREPARING): "what held it back is gone",
        (Inner.PREPARING, Inner.BLOCKED): "something else must happen first",
        (Inner.PREPARING, Inner.ACQUIRING): "it asks for its resource locks",
        (Inner.ACQUIRING, Inner.ACQUIRING): "it asks for the next of its locks",
        (Inner.ACQUIRING, Inner.QUEUED): "it holds all its locks",
        (Inner.RUNNING, Inner.QUEUED): "it gives its worker back between two jobs",
        (Inner.QUEUED, Inner.RUNNING): "a worker is free",
        (Inner.RUNNING, Inner.FINISHED): "all its jobs are done",
        (Inner.PREPARING, Inner.FINISHED): "it has no jobs",
        (Inner.PREPARING, Inner.ABORTING): "stopped before it asked for locks",
        (Inner.BLOCKED, Inner.ABORTING): "stopped while held back",
        (Inner.ACQUIRING, Inner.ABORTING): "stopped, or its locks did not come free in time",
        (Inner.QUEUED, Inner.ABORTING): "stopped before a worker took it",
        (Inner.RUNNING, Inner.ABORTING): "a job failed or was stopped",
        (Inner.ABORTING, Inner.WAITRECOVER): "the agent was started anew while it was aborting",
        (Inner.ABORTING, Inner.RACQUIRING): "undoing needs the locks",
        (Inner.FINISHED, Inner.RACQUIRING): "a finished task is to be undone",
        (Inner.RACQUIRING, Inner.RACQUIRING): "it asks for the next of its locks",
        (Inner.WAITRECOVER, Inner.RACQUIRING): "the host is ready to undo",
        (Inner.RACQUIRING, Inner.RECOVERING): "it holds its locks and undoes",
        (Inner.RACQUIRING, Inner.RABORTING): "undoing is stopped before it began",
        (Inner.RECOVERING, Inner.RABORTING): "undoing is stopped",
        (Inner.WAITRECOVER, Inner.RABORTING): "undoing is stopped before the host was ready",
        (Inner.RECOVERING, Inner.RECOVERED): "everything is undone",
        (Inner.RECOVERING, Inner.FAILED): "something could not be undone",
        (Inner.ABORTING, Inner.FAILED): "there is no undoing what was done",
        (Inner.RABORTING, Inner.FAILED): "undoing was stopped",
    }
)

_OUTER: Mapping[Inner, tuple[TaskState, TaskResult]] = MappingProxyType(
    {
        Inner.UNKNOWN: (TaskState.UNKNOWN, TaskResult.NONE),
        Inner.INIT: (TaskState.INIT, TaskResult.NONE),
        Inner.PREPARING: (TaskState.RUNNING, TaskResult.NONE),
        Inner.BLOCKED: (TaskState.RUNNING, TaskResult.NONE),
        Inner.ACQUIRING: (TaskState.RUNNING, TaskResult.NONE),
        Inner.QUEUED: (TaskState.RUNNING, TaskResult.NONE),
        Inner.RUNNING: (TaskState.RUNNING, TaskResult.NONE),
        Inner.ABORTING: (TaskState.ABORTING, TaskResult.NONE),
        Inner.RABORTING: (TaskState.ABORTING, TaskResult.NONE),
        Inner.WAITRECOVER: (TaskState.CLEANING, TaskResult.NONE),
        Inner.RACQUIRING: (TaskState.CLEANING, TaskResult.NONE),
        Inner.RECOVERING: (TaskState.CLEANING, TaskResult.NONE),
        Inner.FINISHED: (TaskState.FINISHED, TaskResult.SUCCESS),
        Inner.RECOVERED: (TaskState.FINISHED, TaskResult.CLEAN_SUCCESS),
        Inner.FAILED: (TaskState.FINISHED, TaskResult.CLEAN_FAILURE),
    }
)

MESSAGE_INIT = "Task is initializing"


class IllegalMove(Exception):
    """The task machine does not know this move: a bug of the agent (error 441)."""

    code = Code.TRANSITION

    def __init__(self, task_id: str, source: Inner, target: Inner) -> None:
        super().__init__(f"task {task_id} cannot move from {source} to {target}")


def check_move(task_id: str, source: Inner, target: Inner) -> None:
    """Raises `IllegalMove` unless the move is in the table."""
    if (source, target) not in MOVES:
        raise IllegalMove(task_id, source, target)


def outer(state: Inner) -> tuple[TaskState, TaskResult]:
    """The two words that a caller sees for an inner state."""
    return _OUTER[state]


def running_message(job: int, jobs: int) -> str:
    """What a running task says: job counts from 1."""
    return f"running job {job} of {jobs}"


def success_message(jobs: int) -> str:
    """What a task that succeeded says."""
    return f"{jobs} jobs completed successfully"


def failure_message(error: str, code: int) -> str:
    """What a task that failed says."""
    return f"value={error} abortedcode={code}"
