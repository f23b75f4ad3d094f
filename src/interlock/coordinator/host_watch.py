"""Watches one host: sends what is to be started, asks for all its tasks in one call, clears what has ended.

The cost is per host, not per task. Nothing here decides how a task ended: it turns answers into facts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import structlog

from interlock.clock import Clock
from interlock.coordinator import starting
from interlock.coordinator.host_room import HostRoom
from interlock.coordinator.watched import (
    TO_CLEAR,
    Patience,
    Watched,
    is_to_be_asked,
    never_begun,
    out_of_patience,
    overdue,
)
from interlock.core.facts import Fact, TaskCleared, TaskEnded, TaskProgressed
from interlock.core.polling import Backoff
from interlock.hosts.backend import HostLink, HostRefused, NotNow, NotSent, Report, Unanswered, Unreachable
from interlock.model.records import TaskRecord
from interlock.model.refs import Ref
from interlock.model.states import Outcome, TaskState

#: how many calls to one host are under way at once
CALLS_MAX = 64
#: how often clearing a task is tried, and a call for it that ends in an error that nobody expected
CLEARS_MAX = ERRORS_MAX = 5
#: the longest pause of a session that has something to watch: then patience is looked at
PAUSE_S_MAX = 5.0

#: connects to the host of a ref; calls the function whenever a task changed there; may raise Unreachable
ConnectTo = Callable[[Ref[Any], Callable[[], None]], Awaitable[HostLink]]
Tell = Callable[[UUID, Fact], None]

_log = structlog.get_logger(__name__)


class HostWatch:
    """One per host; `run` for ever."""

    def __init__(
        self, host: Ref[Any], connect: ConnectTo, tell: Tell, clock: Clock, patience: Patience, room: HostRoom
    ) -> None:
        self.host = host
        self._connect = connect
        self._tell = tell
        self._clock = clock
        self._patience = patience
        self._room = room
        self._to_do: dict[UUID, Watched] = {}
        self._running: dict[UUID, Watched] = {}
        #: those for which a call is under way, or which pause before the next
        self._at_work: dict[UUID, Watched] = {}
        #: tasks to be left as soon as the call for them that is under way is over
        self._left: set[UUID] = set()
        self._wake = asyncio.Event()
        self._poke = False
        self._link: HostLink | None = None
        self._backoff = Backoff(patience.poll_s_min, patience.poll_s_max)
        self._retry = Backoff(0.2, patience.poll_s_max)
        self._look_at_s = 0.0
        #: for how long this host was observed: time passes only from one of its answers to the next
        self._observed_s = self._looked_s = 0.0
        self.last_error: str | None = None

    # what others see --------------------------------------------------------------------------------

    @property
    def incarnation(self) -> str | None:
        """The journal that answers now; None while there is no connection. Safe from any thread."""
        link = self._link
        return link.incarnation if link is not None else None

    def describe(self) -> dict[str, Any]:
        """The connection and the tasks, for people."""
        return {
            "host": str(self.host),
            "connected": self._link is not None,
            "incarnation": self.incarnation,
            "running_tasks": len(self._running),
            "waiting_tasks": len(self._to_do),
            "held_back_tasks": self._room.held_back,
            "last_error": self.last_error,
        }

    def take(self, task: TaskRecord, term: int, *, fresh: bool, rank: int = 0) -> None:
        """A stored task: to be started, watched, stopped, or cleared."""
        at_work = self._at_work.get(task.id)
        if at_work is not None:  # it is to be stopped: seen to when the call is over
            at_work.task = task
            return
        known = self._to_do.pop(task.id, None) or self._running.pop(task.id, None)
        fresh = task.incarnation is None or (known.fresh if known is not None else fresh)
        now_s = self._clock.monotonic_s()
        watched = Watched(task, term, fresh and task.state is TaskState.INITIALIZING, now_s, now_s, rank)
        self._room.note(watched)
        watched.quiet_since_s, watched.is_stalled = self._observed_s, task.stalled_at is not None
        self._take(watched)

    def _take(self, watched: Watched) -> None:
        task, fact = watched.task, never_begun(watched)
        if fact is not None:
            self._drop(task, fact)
        elif task.state is TaskState.POLLING:
            self._running[task.id] = watched
            self._poke = True
        else:
            self._to_do[task.id] = watched
        self._wake.set()

    def move(self, task_id: UUID, rank: int) -> None:
        """The task has another place among those that wait to be sent, if it does."""
        if task_id in self._to_do:
            self._to_do[task_id].rank = rank

    def leave(self, task_id: UUID) -> None:
        """The task is neither sent nor watched any more; a call that is under way is the last."""
        if self._to_do.pop(task_id, None) is None and self._running.pop(task_id, None) is None:
            self._left.add(task_id)
        self._backoff.forget(task_id)
        self._room.forget(task_id)

    # the connection ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connects, serves the connection, and connects again."""
        while True:
            try:
                self._link = await self._connect(self.host, self._pushed)
            except Exception as error:
                self._not_connected(error)
            else:
                _log.info("host_connected", host=str(self.host), incarnation=self._link.incarnation)
                await self._served(self._link)
            await asyncio.sleep(self._retry.next())

    async def _served(self, link: HostLink) -> None:
        """One connection's life; an error in it ends the connection, never the watch."""
        try:
            await self._session(link)
            self.last_error = "the connection was lost"
        except* Exception as errors:
            self.last_error = f"the connection was given up: {errors.exceptions[0]}"
            _log.error("host_session_failed", host=str(self.host), exc_info=errors)
        finally:
            self._link = None
            await link.close()
        _log.warning("host_disconnected", host=str(self.host))

    def _not_connected(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, Unreachable) else f"{type(error).__name__}: {error}"
        if reason != self.last_error:
            _log.warning("host_unreachable", host=str(self.host), reason=reason)
        self.last_error = reason
        self._expire()

    def _expire(self) -> None:
        """Ends the waiting for what the host has said nothing of for too long."""
        now_s = self._clock.monotonic_s()
        for watched in [*self._to_do.values(), *self._running.values()]:
            fact = overdue(watched, now_s, self._patience, self.last_error or "it does not answer")
            if fact is not None:
                self._drop(watched.task, fact)

    def _heard(self, watched: Watched | None = None) -> None:
        """The host has answered."""
        self._retry.reset()
        self.last_error = None
        if watched is not None:
            watched.heard_s = self._clock.monotonic_s()
            watched.errors = 0

    def _pushed(self) -> None:
        """Something changed on the host: look at once. What it says is read by asking (hard case 26)."""
        self._poke = True
        self._wake.set()

    async def _session(self, link: HostLink) -> None:
        self._poke, self._looked_s = True, self._clock.monotonic_s()
        closed = asyncio.ensure_future(link.wait_closed())
        slots = asyncio.Semaphore(CALLS_MAX)
        try:
            async with asyncio.TaskGroup() as group:
                while not closed.done():
                    self._wake.clear()
                    self._expire()
                    for watched in self._room.admit(self._to_do.values()):
                        await slots.acquire()
                        if self._to_do.pop(watched.task.id, None) is not None:
                            self._at_work[watched.task.id] = watched
                            group.create_task(self._do(link, watched, slots))
                        else:
                            slots.release()
                    if self._running and (self._poke or self._clock.monotonic_s() >= self._look_at_s):
                        await self._look(link)
                        self._look_at_s = self._clock.monotonic_s() + self._backoff.next()
                    for watched in [each for each in self._running.values() if is_to_be_asked(each, link)]:
                        await slots.acquire()
                        watched.asked_by = link
                        group.create_task(self._stop(link, watched, slots))
                    await self._pause(closed)
        finally:
            closed.cancel()

    async def _pause(self, closed: "asyncio.Future[None]") -> None:
        """Until something is to be done, the connection is lost, or it is time to look again."""
        woken: asyncio.Future[Any] = asyncio.ensure_future(self._wake.wait())
        timeout = None
        if self._running:
            timeout = min(max(0.0, self._look_at_s - self._clock.monotonic_s()), PAUSE_S_MAX)
        if self._room.held_back:
            timeout = min(PAUSE_S_MAX if timeout is None else timeout, self._patience.poll_s_min)
        await asyncio.wait((woken, closed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()

    # starting and clearing --------------------------------------------------------------------------

    async def _do(self, link: HostLink, watched: Watched, slots: asyncio.Semaphore) -> None:
        """What is due for one task. Whatever goes wrong, the task is not forgotten."""
        task = watched.task
        try:
            if task.state in TO_CLEAR:
                await self._clear(link, watched)
            else:
                self._say(task, await starting.start(link, watched))
            self._heard()
        except NotNow as error:
            self._heard(watched)
            self._again(watched, error)
        except (NotSent, Unanswered) as error:
            self._again(watched, error)
        except HostRefused as refused:
            self._heard()
            self._say(task, starting.refused(watched, refused))
        except asyncio.CancelledError:
            self._to_do.setdefault(task.id, watched)
            raise
        except Exception as error:
            self._unexpected(watched, error)
        finally:
            slots.release()
            if not watched.is_paused:
                del self._at_work[task.id]
                self._call_over(task, watched)

    def _call_over(self, called_for: TaskRecord, watched: Watched) -> None:
        """What was handed over while the call was under way is taken now: what the call has told may be no news, and
        then nothing else brings the task back."""
        id = called_for.id
        if id in self._left:
            self._left.remove(id)
            self._to_do.pop(id, None)
        elif watched.task.state is not called_for.state:
            self._to_do.pop(id, None)
            self._take(watched)

    def _again(self, watched: Watched, error: Exception) -> None:
        """To be tried once more, after a pause, in this connection or the next. The pause takes no call's place."""
        _log.info("host_call_unanswered", host=str(self.host), task=str(watched.task.id), reason=str(error))
        self.last_error = str(error)
        watched.is_paused = True
        asyncio.get_running_loop().call_later(self._patience.poll_s_min, self._back, watched)

    def _back(self, watched: Watched) -> None:
        watched.is_paused = False
        del self._at_work[watched.task.id]
        if watched.task.id in self._left:
            self._left.remove(watched.task.id)
            return
        self._take(watched)

    def _unexpected(self, watched: Watched, error: Exception) -> None:
        """An error that nobody expected, of the host's answer or of ours: bounded, and the task gets an end."""
        _log.error("host_call_failed", host=str(self.host), task=str(watched.task.id), exc_info=error)
        watched.errors += 1
        if watched.errors < ERRORS_MAX:
            self._again(watched, error)
            return
        words = f"{type(error).__name__}: {error}"
        self._say(watched.task, starting.refused(watched, HostRefused(0, words, Outcome.REFUSED)))

    def _say(self, task: TaskRecord, fact: Fact) -> None:
        """What came of a call. A task that has ended with it may never come back: there is nothing to clear."""
        if isinstance(fact, TaskEnded):
            self._room.forget(task.id)
        self._tell(task.flow_id, fact)

    async def _clear(self, link: HostLink, watched: Watched) -> None:
        task = watched.task
        try:
            await link.clear(task, watched.term)
        except HostRefused as error:
            watched.clears += 1
            if watched.clears < CLEARS_MAX:
                self._again(watched, error)
            else:
                _log.warning("clear_failed", host=str(self.host), task=str(task.id), reason=str(error))
                self._tell(task.flow_id, TaskCleared(task.id, ok=False))
        else:
            self._tell(task.flow_id, TaskCleared(task.id, ok=True))

    # watching ---------------------------------------------------------------------------------------

    async def _look(self, link: HostLink) -> None:
        """One call for all tasks. It judges only those that were watched before it, and are still (hard case 4)."""
        self._poke = False
        before = list(self._running.values())
        try:
            reports = await link.reports()
        except (NotSent, Unanswered, NotNow, HostRefused) as error:
            _log.info("host_call_unanswered", host=str(self.host), reason=str(error))
            self.last_error = str(error)
            return
        self._heard()
        self._observe()
        for watched in before:
            report = reports.get(watched.task.host_task_id or "")
            if report is None and self._is_watched(watched):
                report = await self._ask(link, watched)
            if report is not None and self._is_watched(watched):
                self._judge(watched, report)

    def _is_watched(self, watched: Watched) -> bool:
        """Whether nothing newer was handed over for the task: what has ended is to be cleared by now."""
        return self._running.get(watched.task.id) is watched

    def _observe(self) -> None:
        """Time passes for this host. A long gap was none of its making: this process slept, or nothing was watched."""
        now_s = self._clock.monotonic_s()
        self._observed_s += min(now_s - self._looked_s, 2 * self._patience.poll_s_max)
        self._looked_s = now_s

    async def _ask(self, link: HostLink, watched: Watched) -> Report | None:
        """The targeted question about a task that the list did not show; one that fails concerns no other."""
        task = watched.task
        assert task.host_task_id is not None
        try:
            report = await link.report(task.host_task_id)
        except (NotSent, Unanswered, NotNow, HostRefused) as error:
            _log.info("host_call_unanswered", host=str(self.host), task=str(task.id), reason=str(error))
            self.last_error = str(error)
            return None
        if report is None and self._is_watched(watched):
            words = f"{self.host} no longer knows host task {task.host_task_id}"
            self._drop(task, TaskEnded(task.id, Outcome.LOST, message=words))
        return report

    def _judge(self, watched: Watched, report: Report) -> None:
        task = watched.task
        self._heard(watched)
        if report.outcome is not None:
            said = (report.host_state, report.host_result, report.code, report.message)
            self._drop(task, TaskEnded(task.id, report.outcome, *said))
            return
        watched.is_seen = True
        if self._backoff.note(task.id, (report.host_state, report.progress, report.message)):
            watched.quiet_since_s, watched.is_stalled = self._observed_s, False
            self._tell(task.flow_id, TaskProgressed(task.id, report.host_state, report.progress, report.message))
        fact = out_of_patience(watched, report, self._observed_s, self._patience)
        if isinstance(fact, TaskEnded):
            self._drop(task, fact)
        elif fact is not None:
            watched.is_stalled = True
            self._tell(task.flow_id, fact)

    async def _stop(self, link: HostLink, watched: Watched, slots: asyncio.Semaphore) -> None:
        """Asks the host to stop a task. Where the answer does not come it is asked again after the next look."""
        task = watched.task
        if watched.asked_since_s is None:
            watched.asked_since_s = self._observed_s
        try:
            await link.stop(task, watched.term)
            self._pushed()
        except (NotSent, Unanswered, NotNow) as error:
            watched.asked_by, watched.is_seen = None, False
            _log.info("host_call_unanswered", host=str(self.host), task=str(task.id), reason=str(error))
        except HostRefused as refused:
            watched.stop_refused = refused.message
            _log.info("stop_refused", host=str(self.host), task=str(task.id), reason=refused.message)
        except Exception as error:
            watched.stop_refused = f"{type(error).__name__}: {error}"
            _log.error("host_call_failed", host=str(self.host), task=str(task.id), exc_info=error)
        finally:
            slots.release()

    def _drop(self, task: TaskRecord, fact: Fact) -> None:
        """The task needs no more watching; it comes back through `take` if there is more to do."""
        self._to_do.pop(task.id, None)
        self._running.pop(task.id, None)
        self._backoff.forget(task.id)
        self._room.forget(task.id)
        self._tell(task.flow_id, fact)
