"""A task in a host's care, and how long a host that says nothing of it is waited for: pure."""

from dataclasses import dataclass

from interlock.core.facts import TaskCleared, TaskEnded, TaskStalled
from interlock.hosts.backend import HostLink, Report
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
    #: how long a host that answers may take to end a task that it was asked to stop; then its fate is unknown
    stop_s: float = 120.0
    #: after so long without news of a task that runs, people are told
    stalled_s: float = 600.0


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
    #: its place among those that wait to be sent
    rank: int = 0
    #: calls for it that ended in an error that nobody expected
    errors: int = 0
    clears: int = 0
    #: between two tries of a call for it
    is_paused: bool = False
    #: what the host had said for as long as this is unchanged, by the time in which the host was observed
    quiet_since_s: float = 0.0
    is_stalled: bool = False
    #: a report has shown it unfinished since it came into this care
    is_seen: bool = False
    #: the connection by which the host was asked to stop it; since when, by the time in which it was observed
    asked_by: HostLink | None = None
    asked_since_s: float | None = None
    #: why the host would not
    stop_refused: str | None = None

    @property
    def harmless(self) -> bool:
        """Whether nothing of it can be on the host: it was never sent, or changes nothing."""
        return self.fresh or not self.task.is_mutating


def never_begun(watched: Watched) -> TaskEnded | None:
    """The end of a task that is to stop and of which nothing can be on its host; None where something may be."""
    task = watched.task
    if task.stopping is None or task.state is not TaskState.INITIALIZING or not watched.harmless:
        return None
    return TaskEnded(task.id, Outcome.STOPPED, message="it was stopped before it began")


def is_to_be_asked(watched: Watched, link: HostLink) -> bool:
    """Whether the host is to be asked to stop it: only after a fresh report, since it may have ended meanwhile."""
    return watched.task.stopping is not None and watched.is_seen and watched.asked_by is not link


def out_of_patience(
    watched: Watched, report: Report, observed_s: float, patience: Patience
) -> TaskEnded | TaskStalled | None:
    """What follows from the report of a task that has not ended; None while patience lasts."""
    task = watched.task
    if watched.asked_since_s is not None:
        if observed_s - watched.asked_since_s <= patience.stop_s:
            return None
        words = f"{task.host} was asked to stop it and has not ended it within {patience.stop_s:g} s"
        why = f" ({watched.stop_refused})" if watched.stop_refused else ""
        return TaskEnded(task.id, Outcome.UNKNOWN, report.host_state, message=words + why)
    quiet_s = observed_s - watched.quiet_since_s
    if watched.is_stalled or quiet_s <= patience.stalled_s:
        return None
    return TaskStalled(task.id, report.host_state, report.message, quiet_s)


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
