"""Scheduling: whether a run of a schedule begins, and when the next one is due; decided from its row alone."""

from interlock.model.calendar import runs_after
from interlock.model.replacing import replace
from interlock.model.schedules import PUNCTUAL_S, Missed, ScheduleRecord

_SECOND_US = 1_000_000


def is_due(schedule: ScheduleRecord, now: int) -> bool:
    """Whether its time has come."""
    return schedule.paused_by is None and schedule.next_at is not None and schedule.next_at <= now


def why_not(schedule: ScheduleRecord, now: int, *, is_running: bool) -> str | None:
    """Why a run that is due is skipped; None: it begins."""
    assert schedule.next_at is not None
    late_s = (now - schedule.next_at) // _SECOND_US
    bound_s = schedule.late_s_max if schedule.missed is Missed.RUN else min(schedule.late_s_max, PUNCTUAL_S)
    if late_s > bound_s:
        return f"nobody was there to begin it in time: it was {late_s} s late, and {bound_s} s are allowed"
    if is_running:
        return f"its former job, {schedule.last_job_id}, has not ended"
    return None


def advanced(schedule: ScheduleRecord, now: int) -> ScheduleRecord:
    """With its next time, later than what was due and than now: what was missed is not made up for one by one."""
    assert schedule.next_at is not None
    following = None
    if schedule.cron is not None:
        following = next(runs_after(schedule.cron, schedule.zone, max(now, schedule.next_at)), None)
    return replace(schedule, next_at=following)


def skipped(schedule: ScheduleRecord, now: int, reason: str) -> ScheduleRecord:
    """Without this run."""
    passed = advanced(schedule, now)
    return replace(passed, skipped=schedule.skipped + 1, skipped_at=now, skipped_reason=reason)


def resumed(schedule: ScheduleRecord, now: int) -> ScheduleRecord:
    """Not paused any more. What would have run meanwhile is not made up for; a single run that was due is, if that is
    not too late."""
    going = replace(schedule, paused_by=None, updated_at=now)
    return advanced(going, now) if going.cron is not None and is_due(going, now) else going
