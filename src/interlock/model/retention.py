"""Retention: how long ended jobs are kept, and why one is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from interlock.model.states import Result

DAY_S = 86_400.0
#: the longest time that may be set
DAYS_MAX = 36_500


@dataclass(frozen=True, slots=True)
class Retention:
    """How many seconds after their ends jobs are kept."""

    succeeded_s: float = 7 * DAY_S
    #: that failed, were cancelled, or ended with leftovers or warnings
    failed_s: float = 30 * DAY_S
    #: those of a command, however they ended
    by_command: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for seconds in (self.succeeded_s, self.failed_s, *self.by_command.values()):
            if not 0 <= seconds <= DAYS_MAX * DAY_S:
                raise ValueError(f"jobs cannot be kept for {seconds:g} s; it must be 0 to {DAYS_MAX} days")

    @property
    def shortest_s(self) -> float:
        """No job goes before this."""
        return min(self.succeeded_s, self.failed_s, *self.by_command.values())


class Kept(StrEnum):
    """Why an ended job is kept."""

    #: its time has not come
    YOUNG = "its time has not come"
    #: nobody has cleared what it left
    LEFTOVER = "a leftover of it is open"
    #: a task of it is not cleared on its host
    UNCLEARED = "a host may still remember a task of it"
    #: its locks refuse others
    LOCKS = "locks of it still refuse"
    #: a job that has not ended comes after it, or waits for its end
    REFERRED = "a job that has not ended refers to it"


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What is to be known of an ended job. `changed_at` is when anything of it was written last."""

    id: UUID
    action: str
    result: Result
    ended_at: int
    changed_at: int
    is_clean: bool
    has_open_leftovers: bool
    has_uncleared_tasks: bool
    has_locks: bool
