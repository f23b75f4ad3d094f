"""The kill matrix: an operation is run once for each side of each failpoint that it hits, killed there, and judged.

It is recorded twice first; what both runs hit is killed: coordinator and agent, whichever hits it. What is dead is
started again, and what was begun must then end truly. With further kills the next lives are killed as well.
"""

import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import httpx

from interlock.testing.site import NotReady, Site, wait_for
from tests.killing import loop

#: further problems of one operation are not looked for
PROBLEMS_MAX = 5
#: how often these are hit depends on what happens to be written together, and on how often progress is seen
VARYING = frozenset({"commit", "agent_journal"})
#: calls whose number depends on timing: how often a host is asked how its tasks stand
POLLING = loop.READING - {"host:Host.getCapabilities"}
#: an order that was not reached is tried again so often
TRIES = 3

Hits = Sequence[tuple[str, int]]
Opened = Callable[[Path], AbstractContextManager[tuple[Site, loop.Operation]]]


@dataclass
class Tally:
    """What came of the kills of one operation."""

    killed: int = 0
    problems: list[str] = field(default_factory=list)
    #: orders that no run came to, though another has
    unreached: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """Which of the kills."""

    #: what must be found in an order, patterns
    only: tuple[str, ...] = ()
    #: how many runs more there are of each kill, in which the next life is killed too, at a place that the seed chooses
    again: int = 0
    seed: int = 1

    def has(self, order: str) -> bool:
        """Whether an order is among those wanted."""
        return all(re.search(pattern, order) for pattern in self.only)

    def within(self, pattern: str) -> "Wanted":
        """Those of them in which the pattern is found too."""
        return replace(self, only=(*self.only, pattern))


class Matrix:
    """The kills of one operation, which `opened` gives with a site of its own in a new folder, as often as asked."""

    def __init__(self, folder: Path, opened: Opened, wanted: Wanted) -> None:
        self._folder, self._opened, self._wanted = folder, opened, wanted
        self._runs = 0
        self.tally = Tally()

    def run(self, *, result: str) -> Tally:
        """Records and kills."""
        orders: list[str] | None = None
        for number in range(PROBLEMS_MAX):
            with self._opened(self._folder / f"site{number}") as (site, operation):
                if orders is None:
                    hits = _common([_recorded(site, operation, f"recorded{each}", result) for each in range(2)])
                    orders = [order for order in loop.both_sides(hits) if self._wanted.has(order)]
                orders = self._kill(site, operation, orders)
            if not orders:
                break
        return self.tally

    def _kill(self, site: Site, operation: loop.Operation, orders: list[str]) -> list[str]:
        """Works off orders up to a problem; after that the site may be in any state. Returns those that are left."""
        for index, order in enumerate(orders):
            try:
                self._tried(site, operation, order)
            except (AssertionError, NotReady, httpx.HTTPError, KeyError, ValueError) as problem:
                where = traceback.extract_tb(problem.__traceback__)[-1]
                self.tally.problems.append(f"{order}: {problem} ({Path(where.filename).name}:{where.lineno})")
                return orders[index + 1 :]
        return []

    def _tried(self, site: Site, operation: loop.Operation, order: str) -> None:
        for _ in range(TRIES):
            is_killed, later = self._played(site, operation, [order])
            if is_killed:
                self.tally.killed += 1
                break
        else:
            self.tally.unreached.append(order)
            assert order.partition(":")[0] in VARYING, "was not reached"
            return
        choice = Random(f"{self._wanted.seed} {order}")
        for _ in range(self._wanted.again if later else 0):
            name, number = choice.choice(later)
            again = f"{name}:{number}:{choice.choice(['before', 'after'])}"
            is_killed, _ = self._played(site, operation, [order, again])
            if is_killed:
                self.tally.killed += 1
            else:
                self.tally.unreached.append(f"{order}, then {again}")

    def _played(self, site: Site, operation: loop.Operation, orders: Sequence[str]) -> tuple[bool, Hits]:
        """One run: whether it was killed at all orders, and what the last life hit. Asserts that its end is true."""
        self._runs += 1
        name, is_killed = f"run{self._runs}", True
        operation.prepare(name)
        answered = loop.run(site, operation, name, orders[0])
        for index, order in enumerate(orders):
            is_killed = _has_died(site, operation, name, order) and is_killed
            site.arm(orders[index + 1] if index + 1 < len(orders) else "record:0:before")
            with suppress(*([NotReady] if index + 1 < len(orders) else [])):
                revive(site)
        loop.judge(site, operation, name, answered, " then ".join(orders))
        hits = _of_one(site.hits())
        site.disarm()
        return is_killed, hits


def _common(runs: Sequence[Hits]) -> Hits:
    """What all runs have hit, in the order of the first."""
    return [hit for hit in runs[0] if all(hit in run for run in runs)]


def _of_one(hits: Hits) -> Hits:
    """Of calls that ask how tasks stand, the first: one is like another."""
    return [hit for hit in hits if hit[0] not in POLLING or hit[1] == 1]


def _recorded(site: Site, operation: loop.Operation, name: str, result: str) -> Hits:
    operation.prepare(name)
    job = site.ended(loop.run(site, operation, name, "record:0:before"))
    assert job["result"] == result, job["failure"]
    loop.settled(site)
    hits = _of_one(site.hits())
    operation.judge(name, job, "no kill")
    loop.nothing_open(site, "no kill")
    return hits


def dead(site: Site) -> list[str]:
    """Which of the coordinator and the agent have ended."""
    processes = {"server": site.server, "agent": site.agent}
    return [name for name, process in processes.items() if process is not None and process.poll() is not None]


def revive(site: Site) -> None:
    """Starts what is dead."""
    for name in dead(site):
        if name == "server":
            loop.start_server(site)
        else:
            site.start_agent(site.failpoints())


def _has_died(site: Site, operation: loop.Operation, name: str, order: str) -> bool:
    """Waits until something is dead, or all is over; whether it is dead. Nothing dies but by the order."""
    failpoint, number, _ = order.rsplit(":", 2)

    def fact() -> bool:
        is_over = loop.is_settled(site) and operation.job(name) is not None
        return bool(dead(site)) or (is_over and (failpoint, int(number)) not in site.hits())

    wait_for(f"{order} is reached, or all is over", fact, within_s=60)
    died = [process.returncode for process in (site.server, site.agent) if process is not None and process.poll()]
    assert set(died) <= {-9}, (
        f"a process ended by itself: {died}; {site.log('server')[-500:]}{site.log('agent')[-500:]}"
    )
    return bool(died)
