"""A task in a host's care, and how long a host that says nothing of it is waited for: pure."""

from dataclasses import dataclass

from interlock.core.facts import TaskCleared, TaskEnded
from interlock.model.records import TaskRecord
from interlock.model.states import Outcome, TaskState

#: states in which the host is to be made to forget the task
TO_CLEAR = frozenset({TaskState.ENDED, TaskState.CLEAR_FAILED})


@dataclass(frozen=True)
class Patience:
    """Bounds of waiting, in seconds of this process's own clock."""

    #: how long a host that cannot be reached keeps a start that was certainly never sent; then it is refused
    unsent_s: float = 60.0
    #: how long a host may say nothing of a task that it may have; then the task's fate is unknown
    silent_s: float = 3600.0
    #: the first and the longest pause between two looks at a host's tasks
    poll_s_min: float = 1.0
    poll_s_max: float = 10.0


@dataclass
class Watched:
    """A task to be started, watched or cleared. Times are of the monotonic clock."""

    task: TaskRecord
    term: int
    #: certainly never sent
    fresh: bool
    since_s: float
    #: when the host last said something of it
    heard_s: float
    #: calls for it that ended in an error that nobody expected
    errors: int = 0
    clears: int = 0

    @property
    def harmless(self) -> bool:
        """Whether nothing of it can be on the host: it was never sent, or changes nothing."""
        return self.fresh or not self.task.is_mutating


def overdue(watched: Watched, now_s: float, patience: Patience, why: str) -> TaskEnded | TaskCleared | None:
    """What becomes of a task whose host has said nothing of it for too long; None while patience lasts.

    A host that answers "not now" is heard, but not for ever. Nothing is judged before the bound has been
    observed by this very process (hard case 27).
    """
    task, silent_s, waited_s = watched.task, now_s - watched.heard_s, now_s - watched.since_s
    if task.state in TO_CLEAR:
        return TaskCleared(task.id, ok=False) if waited_s > patience.silent_s else None
    is_start = task.state is TaskState.INITIALIZING
    words = f"{task.host} has said nothing of it for {silent_s:.0f} s: {why}"
    if is_start and waited_s > silent_s + 1:
        words = f"{task.host} has put it off for {waited_s:.0f} s: {why}"
    if is_start and watched.harmless:
        if silent_s > patience.unsent_s or waited_s > patience.silent_s:
            remedy = "it did nothing; see that the host's agent runs and can be reached, then submit again"
            return TaskEnded(task.id, Outcome.REFUSED, message=f"{words}; {remedy}")
    elif (waited_s if is_start else silent_s) > patience.silent_s:
        return TaskEnded(task.id, Outcome.UNKNOWN, message=words)
    return None
