"""What the coordinator asks of a host, whatever its protocol; and what a host may answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from interlock.model.entities import Endpoint
from interlock.model.records import TaskRecord
from interlock.model.states import Outcome


class Unreachable(Exception):
    """There is no connection, and none can be made now; the message says why. Nothing was sent."""


class NotSent(Exception):
    """Certain: nothing of this call left the process."""


class Unanswered(Exception):
    """The call may have been sent and has no answer that makes sense: its effect is unknown."""


class NotNow(Exception):
    """The host cannot take the call at present (it recovers, or is full); it did nothing. Ask again."""


class HostRefused(Exception):
    """The host's answer is an error. `outcome` is what it means for a task that was to be started."""

    def __init__(self, code: int, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Started:
    """The host has begun a task of that id."""

    host_task_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A synchronous verb is done; its answer as JSON."""

    answer_json: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a host says of one task, in its own words; with an `outcome` the task is over."""

    outcome: Outcome | None
    host_state: str
    host_result: str
    code: int
    message: str
    progress: int | None


class HostLink(Protocol):
    """A connection to a host. Every call may raise NotSent, Unanswered, NotNow or HostRefused."""

    @property
    def incarnation(self) -> str:
        """The identity of the host's journal; STOCK where it has none."""

    @property
    def dedupes(self) -> bool:
        """The same task id is never run twice, and older terms are refused."""

    def known_as(self, task: TaskRecord) -> str:
        """The host's id of a task that it was told to know by an id of ours."""

    async def start(self, task: TaskRecord, term: int) -> Started | Answered:
        """Sends the task's frozen arguments."""

    async def reports(self) -> dict[str, Report]:
        """All tasks by the host's id, in one call."""

    async def report(self, host_task_id: str) -> Report | None:
        """The targeted question; None = the host does not know it."""

    async def forbid_or_get(self, task: TaskRecord, term: int, *, for_good: bool = False) -> Report | None:
        """The task, or None after the host has closed its id to older terms (hard case 1), `for_good` to all: then
        None means that it never ran and never will. Only where it dedupes."""

    async def stop(self, task: TaskRecord, term: int) -> None:
        """Asks the host to stop a task that it knows; how it ends is read from later reports."""

    async def clear(self, task: TaskRecord, term: int) -> None:
        """Makes the host forget a finished task."""

    async def wait_closed(self) -> None:
        """Returns when the connection is lost."""

    async def close(self) -> None:
        """Ends the connection."""


#: connects to an endpoint, or raises Unreachable; the function is called whenever a task changed on the host
Connect = Callable[[Endpoint, Callable[[], None]], Awaitable[HostLink]]
