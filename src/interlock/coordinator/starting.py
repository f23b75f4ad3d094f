"""Starting one task on its host: what was certainly not sent is sent, what may have been is asked about first."""

from interlock.coordinator.watched import TO_CLEAR, Watched, never_begun
from interlock.core.facts import Fact, TaskAnswered, TaskBound, TaskCleared, TaskEnded
from interlock.hosts.backend import Answered, HostLink, HostRefused, NotNow, NotSent
from interlock.model.states import Outcome


async def start(link: HostLink, watched: Watched) -> Fact:
    """Sends a start; what may have been sent before is first asked about (see design.md §4)."""
    task, over = watched.task, never_begun(watched)
    if over is not None:
        return over
    if task.incarnation is None:
        return TaskBound(task.id, link.incarnation)
    if task.incarnation != link.incarnation:
        return _other_journal(watched)
    if not watched.harmless:
        if not link.dedupes:
            words = "it may have been started before the connection was lost, and a stock host cannot tell"
            return TaskEnded(task.id, Outcome.UNKNOWN, message=words)
        known = await link.forbid_or_get(task, watched.term, for_good=task.stopping is not None)
        if known is None and task.stopping is not None:
            return TaskEnded(task.id, Outcome.STOPPED, message="it was stopped before it began, and never will")
        if known is not None and task.is_async:
            return TaskAnswered(task.id, link.known_as(task))
    was_fresh, watched.fresh = watched.fresh, False
    try:
        answer = await link.start(task, watched.term)
    except (NotSent, NotNow):
        watched.fresh = was_fresh
        raise
    except HostRefused as refused:
        return TaskEnded(task.id, refused.outcome, code=refused.code, message=refused.message)
    if isinstance(answer, Answered):
        return TaskEnded(task.id, Outcome.SUCCEEDED, message="answered", answer_json=answer.answer_json)
    return TaskAnswered(task.id, answer.host_task_id)


def _other_journal(watched: Watched) -> TaskEnded:
    task = watched.task
    words = f"{task.host} has another journal now than when the task was named"
    if watched.harmless:
        return TaskEnded(task.id, Outcome.REFUSED, message=f"{words}; it did nothing, submit again")
    return TaskEnded(task.id, Outcome.LOST, message=f"{words}; it may have run")


def refused(watched: Watched, answer: HostRefused) -> Fact:
    """The end of what the host will not do: without effect only where that is certain."""
    task = watched.task
    if task.state in TO_CLEAR:
        return TaskCleared(task.id, ok=False)
    outcome = answer.outcome if watched.harmless else Outcome.UNKNOWN
    return TaskEnded(task.id, outcome, code=answer.code, message=answer.message)
