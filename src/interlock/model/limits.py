"""Limits: how much of one kind may go on, what counts against it, and who waits for room."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.model.refs import Ref

#: bounds of one limit, and how long its window may be in seconds
AT_MOST_MAX = STARTS_MAX = 10_000
WINDOW_S_MAX = 7 * 86_400.0
#: letters of a key
KEY_MAX = 200
#: what a key begins with, by what it counts
OF_COMMAND, OF_HOST, OF_KEY = "command:", "host:", "key:"


def of_host(host: Ref[Any]) -> str:
    """The key of what goes on on a host."""
    return f"{OF_HOST}{host.id}"


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
