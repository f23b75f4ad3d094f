"""Limits: how much of one kind may go on, what counts against it, and who waits for room."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """How much of one kind may go on (table limits): so many at once, so many starts within a window, or both."""

    key: str
    at_most: int | None
    starts_max: int | None
    window_us: int | None
    set_by: str
    set_at: int


@dataclass(frozen=True, slots=True)
class LimitUseRecord:
    """A command has started under a limit (table limit_uses): it counts until it has ended, and its start for the
    length of the window. The row is never changed; who takes the next removes what counts no more."""

    command_id: UUID
    key: str
    flow_id: UUID
    taken_at: int


@dataclass(frozen=True, slots=True)
class LimitTicketRecord:
    """A limit's room that a pending command waits for (table limit_tickets); `rank` as a lock's ticket.

    `look_at`: when the window may have room again, where that is what it waits for.
    """

    command_id: UUID
    key: str
    flow_id: UUID
    rank: int
    since: int
    look_at: int | None = None
