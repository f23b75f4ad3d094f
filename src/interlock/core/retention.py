"""Retention: which ended jobs may go, and when. Nothing goes that is under way, refused for, or referred to."""

from interlock.model.retention import EndedJob, Kept, Retention
from interlock.model.states import Result


def kept(job: EndedJob, retention: Retention, now: int, *, is_referred_to: bool) -> Kept | None:
    """Why the job is kept; None: it may go."""
    if now - job.ended_at < _age_s(job, retention) * 1e6:
        return Kept.YOUNG
    if job.has_open_leftovers:
        return Kept.LEFTOVER
    if job.has_uncleared_tasks:
        return Kept.UNCLEARED
    if job.has_locks:
        return Kept.LOCKS
    return Kept.REFERRED if is_referred_to else None


def _age_s(job: EndedJob, retention: Retention) -> float:
    own = retention.by_command.get(job.action)
    if own is not None:
        return own
    return retention.succeeded_s if job.result is Result.SUCCEEDED and job.is_clean else retention.failed_s
