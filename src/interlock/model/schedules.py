"""Schedules: commands that begin later, or again and again."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from interlock.model.refs import Ref


class Missed(StrEnum):
    """What becomes of a run whose time passed while nobody was there to begin it."""

    #: it begins as soon as that is seen, once for however many were missed, unless that is too late
    RUN = "run"
    #: it is skipped
    SKIP = "skip"


#: a run that is not later than this was not missed: schedules are looked at so often
PUNCTUAL_S = 120
#: how late a missed run may begin unless the schedule says otherwise, and at most
LATE_S, LATE_S_MAX = 86_400, 366 * 86_400


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule (table schedules). Its runs have its user, correlation id and priority."""

    id: UUID
    name: str
    command: str
    version: int
    parameters_json: str
    #: the parameters without secrets
    shown_json: str
    user: str
    correlation_id: str
    created_at: int
    updated_at: int
    #: when it is due again and again; None: once, at `next_at`
    cron: str | None
    zone: str
    missed: Missed
    #: how many seconds late a missed run may begin
    late_s_max: int
    priority: int = 0
    #: when it is due next; only ever grows. None: never again
    next_at: int | None = None
    last_job_id: UUID | None = None
    #: how many jobs it began, and how many runs it skipped
    runs: int = 0
    skipped: int = 0
    #: when it skipped a run the last time, and why
    skipped_at: int | None = None
    skipped_reason: str | None = None
    paused_by: str | None = None


def schedule_ref(id: UUID) -> Ref[Any]:
    """A schedule as the subject of an action."""
    return Ref("schedule", id)
