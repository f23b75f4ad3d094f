"""Watches one host: sends what is to be started, asks for all its tasks in one call, clears what has ended.

The cost is per host, not per task. Nothing here decides how a task ended: it turns answers into facts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from interlock.clock import Clock
from interlock.core.facts import Fact, TaskAnswered, TaskBound, TaskCleared, TaskEnded, TaskProgressed
from interlock.core.polling import Backoff
from interlock.hosts.backend import (
    Answered,
    HostLink,
    HostRefused,
    NotNow,
    NotSent,
    Report,
    Unanswered,
    Unreachable,
)
from interlock.model.records import TaskRecord
from interlock.model.refs import Ref
from interlock.model.states import Outcome, TaskState

#: how many calls to one host are under way at once
CALLS_MAX = 64
#: how often clearing a task is tried
CLEARS_MAX = 5

#: connects to the host of a ref; calls the function whenever a task changed there; may raise Unreachable
ConnectTo = Callable[[Ref[Any], Callable[[], None]], Awaitable[HostLink]]
Tell = Callable[[UUID, Fact], None]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a host is waited for, in seconds of this process's own clock, while it cannot be reached."""

    #: then a start that was certainly never sent is refused
    unsent_s: float = 60.0
    #: then the fate of what may have been sent is unknown
    silent_s: float = 3600.0
    #: the first and the longest pause between two looks at a host's tasks
    poll_s_min: float = 1.0
    poll_s_max: float = 10.0


@dataclass
class Watched:
    """A task in this host's care."""

    task: TaskRecord
    term: int
    #: certainly never sent
    fresh: bool
    clears: int = 0


class HostWatch:
    """One per host; `run` for ever."""

    def __init__(self, host: Ref[Any], connect: ConnectTo, tell: Tell, clock: Clock, patience: Patience) -> None:
        self.host = host
        self._connect = connect
        self._tell = tell
        self._clock = clock
        self._patience = patience
        self._to_do: dict[UUID, Watched] = {}
        self._running: dict[UUID, Watched] = {}
        self._wake = asyncio.Event()
        self._poke = False
        self._link: HostLink | None = None
        self._backoff = Backoff(patience.poll_s_min, patience.poll_s_max)
        self._look_at_s = 0.0
        self.last_error: str | None = None

    # what others see --------------------------------------------------------------------------------

    @property
    def incarnation(self) -> str | None:
        """The journal that answers now; None while there is no connection."""
        return self._link.incarnation if self._link is not None else None

    def describe(self) -> dict[str, Any]:
        return {
            "host": str(self.host),
            "connected": self._link is not None,
            "incarnation": self.incarnation,
            "running_tasks": len(self._running),
            "waiting_tasks": len(self._to_do),
            "last_error": self.last_error,
        }

    def take(self, task: TaskRecord, term: int, *, fresh: bool) -> None:
        """A stored task: to be started, watched, or cleared."""
        known = self._to_do.pop(task.id, None) or self._running.pop(task.id, None)
        fresh = task.incarnation is None or (known.fresh if known is not None else fresh)
        watched = Watched(task, term, fresh and task.state is TaskState.INITIALIZING)
        if task.state is TaskState.POLLING:
            self._running[task.id] = watched
            self._poke = True
        else:
            self._to_do[task.id] = watched
        self._wake.set()

    # the connection ---------------------------------------------------------------------------------

    async def run(self) -> None:
        retry = Backoff(0.2, self._patience.poll_s_max)
        lost_at = self._clock.monotonic_s()
        while True:
            try:
                self._link = await self._connect(self.host, self._pushed)
            except Unreachable as error:
                self._failed_to_connect(str(error), self._clock.monotonic_s() - lost_at)
                await asyncio.sleep(retry.next())
                continue
            _log.info("host_connected", host=str(self.host), incarnation=self._link.incarnation)
            self.last_error = None
            retry.reset()
            try:
                await self._session(self._link)
            finally:
                link, self._link = self._link, None
                await link.close()
            lost_at = self._clock.monotonic_s()
            _log.warning("host_disconnected", host=str(self.host))

    def _failed_to_connect(self, reason: str, for_s: float) -> None:
        if reason != self.last_error:
            _log.warning("host_unreachable", host=str(self.host), reason=reason)
        self.last_error = reason
        words = f"{self.host} could not be reached for {for_s:.0f} s: {reason}"
        for watched in [*self._to_do.values(), *self._running.values()]:
            task = watched.task
            if task.state is TaskState.ENDED:
                if for_s > self._patience.silent_s:
                    self._drop(task, TaskCleared(task.id, ok=False))
            elif watched.fresh or not task.is_mutating:
                if for_s > self._patience.unsent_s:
                    self._drop(task, TaskEnded(task.id, Outcome.REFUSED, message=words))
            elif for_s > self._patience.silent_s:
                self._drop(task, TaskEnded(task.id, Outcome.UNKNOWN, message=words))

    def _pushed(self) -> None:
        """Something changed on the host: look at once. What it says is read by asking (hard case 26)."""
        self._poke = True
        self._wake.set()

    async def _session(self, link: HostLink) -> None:
        """One connection's life."""
        self._poke = True
        closed = asyncio.ensure_future(link.wait_closed())
        slots = asyncio.Semaphore(CALLS_MAX)
        try:
            async with asyncio.TaskGroup() as group:
                while not closed.done():
                    self._wake.clear()
                    for watched in list(self._to_do.values()):
                        await slots.acquire()
                        if self._to_do.pop(watched.task.id, None) is not None:
                            group.create_task(self._do(link, watched, slots))
                        else:
                            slots.release()
                    if self._running and (self._poke or self._clock.monotonic_s() >= self._look_at_s):
                        await self._look(link)
                        self._look_at_s = self._clock.monotonic_s() + self._backoff.next()
                    await self._pause(closed)
        finally:
            closed.cancel()

    async def _pause(self, closed: "asyncio.Future[None]") -> None:
        """Until something is to be done, the connection is lost, or it is time to look again."""
        woken: asyncio.Future[Any] = asyncio.ensure_future(self._wake.wait())
        timeout = max(0.0, self._look_at_s - self._clock.monotonic_s()) if self._running else None
        await asyncio.wait((woken, closed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()

    # starting and clearing --------------------------------------------------------------------------

    async def _do(self, link: HostLink, watched: Watched, slots: asyncio.Semaphore) -> None:
        task = watched.task
        try:
            if task.state is TaskState.ENDED:
                await self._clear(link, watched)
            else:
                fact = await self._start(link, watched)
                if fact is not None:
                    self._tell(task.flow_id, fact)
        except (NotSent, Unanswered, NotNow) as error:
            _log.info("host_call_unanswered", host=str(self.host), task=str(task.id), reason=str(error))
            await self._again(watched)
        finally:
            slots.release()

    async def _start(self, link: HostLink, watched: Watched) -> Fact | None:
        """Sends a start; what may have been sent before is first asked about (see design.md §4)."""
        task = watched.task
        if task.incarnation is None:
            return TaskBound(task.id, link.incarnation)
        if task.incarnation != link.incarnation:
            return self._other_journal(watched)
        if not watched.fresh and task.is_mutating:
            if not link.dedupes:
                words = "it may have been started before the connection was lost, and a stock host cannot tell"
                return TaskEnded(task.id, Outcome.UNKNOWN, message=words)
            known = await link.forbid_or_get(task, watched.term)
            if known is not None and task.is_async:
                return TaskAnswered(task.id, str(task.id))
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

    async def _again(self, watched: Watched) -> None:
        """To be tried once more, after a pause, in this connection or the next."""
        await asyncio.sleep(self._patience.poll_s_min)
        self._to_do.setdefault(watched.task.id, watched)
        self._wake.set()

    def _other_journal(self, watched: Watched) -> TaskEnded:
        task = watched.task
        words = f"{self.host} has another journal now than when the task was named"
        if watched.fresh or not task.is_mutating:
            return TaskEnded(task.id, Outcome.REFUSED, message=f"{words}; it was never sent, submit again")
        return TaskEnded(task.id, Outcome.LOST, message=f"{words}; it may have run")

    async def _clear(self, link: HostLink, watched: Watched) -> None:
        task = watched.task
        watched.clears += 1
        try:
            await link.clear(task, watched.term)
        except HostRefused as error:
            if watched.clears < CLEARS_MAX:
                await self._again(watched)
            else:
                _log.warning("clear_failed", host=str(self.host), task=str(task.id), reason=str(error))
                self._tell(task.flow_id, TaskCleared(task.id, ok=False))
        else:
            self._tell(task.flow_id, TaskCleared(task.id, ok=True))

    # watching ---------------------------------------------------------------------------------------

    async def _look(self, link: HostLink) -> None:
        """One call for all tasks. Only tasks that were watched before it are judged by it (hard case 4)."""
        self._poke = False
        before = list(self._running.values())
        try:
            reports = await link.reports()
            for watched in before:
                assert watched.task.host_task_id is not None
                report = reports.get(watched.task.host_task_id)
                if report is None:
                    report = await link.report(watched.task.host_task_id)
                self._judge(watched.task, report)
        except (NotSent, Unanswered, NotNow, HostRefused) as error:
            _log.info("host_call_unanswered", host=str(self.host), reason=str(error))

    def _judge(self, task: TaskRecord, report: Report | None) -> None:
        if report is None:
            words = f"{self.host} no longer knows host task {task.host_task_id}"
            self._drop(task, TaskEnded(task.id, Outcome.LOST, message=words))
        elif report.outcome is not None:
            said = (report.host_state, report.host_result, report.code, report.message)
            self._drop(task, TaskEnded(task.id, report.outcome, *said))
        elif self._backoff.note(task.id, (report.host_state, report.progress)):
            self._tell(task.flow_id, TaskProgressed(task.id, report.host_state, report.progress, report.message))

    def _drop(self, task: TaskRecord, fact: Fact) -> None:
        """The task needs no more watching; it comes back through `take` if there is more to do."""
        self._to_do.pop(task.id, None)
        self._running.pop(task.id, None)
        self._backoff.forget(task.id)
        self._tell(task.flow_id, fact)
