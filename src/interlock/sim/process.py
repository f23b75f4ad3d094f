"""A simulated process: a loop and threads of its own, that can be killed at any point, or stand still for a while."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from interlock.sim.loop import Loop
from interlock.sim.network import Network
from interlock.sim.threads import SimThreads
from interlock.sim.timeline import EPOCH_US, Killed, Timeline


class SimClock:
    """One machine's clock: its wall time may be off, and jump; its monotonic time may not."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        #: how far its wall time is off, how fast it goes, and since when: a frozen one does not go at all
        self._off_us = 0.0
        self._speed = 1.0
        self._since_s = 0.0

    def jump(self, by_us: int) -> None:
        """Its wall time is another one."""
        self._off_us += by_us

    def go(self, speed: float) -> None:
        """From now on its wall time goes so fast: 1 as it should, 0 not at all."""
        self._off_us += (self._timeline.now_s - self._since_s) * 1e6 * (self._speed - 1)
        self._speed, self._since_s = speed, self._timeline.now_s

    def now_us(self) -> int:
        passed_us = self._timeline.now_s * 1e6 + (self._timeline.now_s - self._since_s) * 1e6 * (self._speed - 1)
        return EPOCH_US + int(passed_us + self._off_us)

    def monotonic_s(self) -> float:
        return self._timeline.now_s


class Process:
    """Runs from `start` until it is killed, or its program ends. What it leaves in the network, on disks and in
    databases stays. `failed` is told of errors that the program did not expect."""

    def __init__(
        self,
        timeline: Timeline,
        network: Network,
        name: str,
        clock: SimClock,
        failed: Callable[[str], None],
    ) -> None:
        self.name = name
        self.clock = clock
        self.is_dead = False
        self._failed = failed
        self._stands_still = False
        self._held: list[Callable[[], None]] = []
        #: what the kernel does when the process dies, in this order
        self.at_death: list[Callable[[], None]] = [lambda: network.forget(self)]
        self._timeline = timeline
        self.threads = SimThreads(timeline, self, name, self.fail)
        self.loop = Loop(timeline, self, network, self.threads)

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begins to run."""
        self._timeline.after(0, self, lambda: self.loop.begin(main()))

    def begin(self, what: Callable[[], Coroutine[Any, Any, None]], words: str) -> None:
        """Runs something more in it; `words` are what an error of that is told with."""

        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.fail(f"{words} {error!r}", error)

        self._timeline.after(0, self, lambda: self.loop.create_task(what()).add_done_callback(over))

    def fail(self, words: str, error: BaseException | None) -> None:
        """The program has broken; the process ends."""
        if not self.is_dead:
            lines = "".join(traceback.format_exception(error)) if error is not None else ""
            self._failed(f"{self.name}: {words}\n{lines}")
            self.kill()

    def kill(self) -> None:
        """As by SIGKILL: nothing of it runs any more, and what it held is given up."""
        if not self.is_dead:
            self.is_dead = True
            for happen in self.at_death:
                happen()

    def die(self) -> None:
        """Kills the very process that is running."""
        self.kill()
        raise Killed

    def stand_still(self, for_s: float) -> None:
        """As by SIGSTOP, and SIGCONT so much later."""
        self._stands_still = True
        self._timeline.after(for_s, None, self._go_on)

    def _go_on(self) -> None:
        self._stands_still = False
        held, self._held = self._held, []
        for happen in held:
            self._timeline.after(0, self, happen)

    def may_act(self, happen: Callable[[], None]) -> bool:
        if self._stands_still and not self.is_dead:
            self._held.append(happen)
        return not (self.is_dead or self._stands_still)

    def act(self, happen: Callable[[], None]) -> None:
        try:  # `suppress` would be three more calls for each event
            self.loop.run(happen)
        except Killed:
            return
