"""Threads of a simulated process: greenlets, each of which runs until it waits."""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from greenlet import getcurrent, greenlet

from interlock.sim.timeline import Killed, Owner, Timeline

T = TypeVar("T")

#: how long it takes until a thread goes on: mostly up to the first, now and then up to the second
SOON_S, LATE_S, LATE_SHARE = 0.001, 0.3, 0.02
#: how many processes live on a busy machine, where more of their threads are late
BUSY_SHARE, LATE_SHARE_BUSY = 0.3, 0.5


class SimThreads:
    """The threads of one process; `interlock.threads.Threads`. `fail` is told of what a thread ends with."""

    def __init__(
        self, timeline: Timeline, process: Owner, name: str, fail: Callable[[str, BaseException], None]
    ) -> None:
        self._timeline = timeline
        self._process = process
        self._chance = timeline.chance(f"threads of {name}")
        self._late_share = LATE_SHARE_BUSY if self._chance.random() < BUSY_SHARE else LATE_SHARE
        self._outside = getcurrent()
        self.fail = fail
        self.current: SimThread | None = None

    def queue(self) -> SimQueue[Any]:
        return SimQueue(self)

    def start(self, name: str, run: Callable[[], None]) -> SimThread:
        thread = SimThread(self, name, greenlet(parent=self._outside), run)
        self.wake(thread)
        return thread

    def wake(self, thread: SimThread) -> None:
        """Lets a thread go on, in a while."""
        is_late = self._chance.random() < self._late_share
        delay_s = self._chance.uniform(0, LATE_S if is_late else SOON_S)
        self._timeline.after(delay_s, self._process, thread.go_on)

    def wait(self) -> None:
        """Returns when the present thread has been woken."""
        self._outside.switch()


class SimThread:
    """One thread; `interlock.threads.Thread`."""

    def __init__(self, threads: SimThreads, name: str, stack: greenlet, run: Callable[[], None]) -> None:
        self.name = name
        self._threads = threads
        self._stack = stack
        self._work = run
        self._joining: list[SimThread] = []
        stack.run = self._run

    def _run(self) -> None:
        try:
            self._work()
        except Killed:
            return
        except Exception as error:
            self._threads.fail(f"thread {self.name} ended with {error!r}", error)
        for each in self._joining:
            self._threads.wake(each)

    def go_on(self) -> None:
        """Runs it until it waits, or is over. A thread has no event loop."""
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        self._threads.current = self
        try:
            self._stack.switch()
        finally:
            self._threads.current = None
            asyncio._set_running_loop(loop)

    def join(self, timeout: float | None = None) -> None:
        """Waits until it is over; `timeout` counts for nothing, since no thread is stuck for ever here."""
        while not self._stack.dead:
            self._joining.append(_me(self._threads))
            self._threads.wait()

    def is_alive(self) -> bool:
        return not self._stack.dead


class SimQueue(Generic[T]):
    """What threads hand each other; `interlock.threads.Queue`."""

    def __init__(self, threads: SimThreads) -> None:
        self._threads = threads
        self._items: deque[T] = deque()
        self._waiting: deque[SimThread] = deque()

    def put(self, item: T) -> None:
        self._items.append(item)
        if self._waiting:
            self._threads.wake(self._waiting.popleft())

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """`timeout` counts for nothing: who waits here has nothing else to do on SQLite."""
        while not self._items:
            if not block:
                raise queue.Empty
            self._waiting.append(_me(self._threads))
            self._threads.wait()
        return self._items.popleft()


def _me(threads: SimThreads) -> SimThread:
    assert threads.current is not None, "only threads may wait"
    return threads.current
