"""Virtual time: what is to happen, in one order that follows from the seed alone."""

import heapq
import random
from collections.abc import Callable
from typing import NamedTuple, Protocol

#: wall time at the beginning of every run: 2027-01-15, 08:00 UTC
EPOCH_US = 1_800_000_000_000_000


class Killed(BaseException):
    """A process ends in the middle of what it does; nothing that it does from then on has an effect."""


class Owner(Protocol):
    """On whose behalf something happens."""

    def may_act(self, happen: Callable[[], None]) -> bool:
        """Whether it may happen now; one that is dead never may, one that stands still keeps it for later."""

    def act(self, happen: Callable[[], None]) -> None:
        """Lets it happen."""


class _Due(NamedTuple):
    at_s: float
    number: int
    owner: Owner | None
    happen: Callable[[], None]


class Timeline:
    """One universe's time. Whatever happens is put here first; nothing happens beside it."""

    def __init__(self, seed: int) -> None:
        self.now_s = 0.0
        #: how many things have happened
        self.events = 0
        #: on whose behalf something happens just now
        self.acting: Owner | None = None
        self._seed = seed
        self._due: list[_Due] = []
        self._number = 0

    def chance(self, name: str) -> random.Random:
        """Randomness of its own for each purpose, so that one more question here moves nothing there."""
        return random.Random(f"{self._seed} {name}")

    def at(self, at_s: float, owner: Owner | None, happen: Callable[[], None]) -> None:
        """Lets something happen at a time, after all that was put there for the same time before."""
        self._number += 1
        heapq.heappush(self._due, _Due(max(at_s, self.now_s), self._number, owner, happen))

    def after(self, delay_s: float, owner: Owner | None, happen: Callable[[], None]) -> None:
        """Lets something happen so much later."""
        self.at(self.now_s + delay_s, owner, happen)

    def step(self, until_s: float) -> bool:
        """Lets the next thing happen; False: nothing is due until then, and it is then now."""
        if not self._due or self._due[0].at_s > until_s:
            self.now_s = max(self.now_s, until_s)
            return False
        due = heapq.heappop(self._due)
        self.now_s = due.at_s
        if due.owner is None:
            self.events += 1
            due.happen()
        elif due.owner.may_act(due.happen):
            self.events += 1
            self.acting = due.owner
            due.owner.act(due.happen)
            self.acting = None
        return True
