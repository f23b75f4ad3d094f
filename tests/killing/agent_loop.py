"""A verb run again and again, its agent killed at another journal write or effect each time, then judged.

First it runs without a kill, which shows every failpoint that is hit and what the files are afterwards. Then, for each
hit and each side of it: fresh files, the call, SIGKILL of the agent there, a new agent, and the judgement.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from interlock.wire.client import RpcError
from tests.killing.agent_case import Case
from tests.killing.agent_lane import Died, Lane
from tests.killing.agent_storage import Storage
from tests.killing.agent_trial import Trial

#: How many agents share the work of a case; much of it is waiting for disks and processes.
LANES = 3
#: Further problems of one case are not looked for.
PROBLEMS_MAX = 5
#: How often it is hit depends on what happens to be written together.
JOURNAL = "agent_journal"


@dataclass
class Tally:
    """What is known of a case, and what came of its kills."""

    #: Every order that is tried: both sides of each hit.
    orders: list[str]
    #: The fewest times that a whole run wrote the journal.
    flushes_min: int
    killed: int = 0
    not_reached: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def amiss(self) -> list[str]:
        """The problems, and the orders that were not reached though every run does what they name."""
        missed = [order.split(":") for order in self.not_reached]
        unexcused = [each for each in missed if each[0] != JOURNAL or int(each[1]) <= self.flushes_min]
        return [*self.problems, *(f"{':'.join(each)} was not reached" for each in unexcused)]


async def killed_everywhere(case: Case, folder: Path) -> None:
    """Asserts that a case ends as it should wherever its agent is killed; prints how many kills there were."""
    tally = await tried_everywhere(case, folder)
    ends = ", ".join(f"{count} {end}" for end, count in sorted(tally.ends.items()))
    reached = len(tally.orders) - len(tally.not_reached)
    print(f"\n{case.name}: reached {reached}, killed {tally.killed} of {len(tally.orders)}; ended {ends}")
    amiss = tally.amiss()
    assert not amiss, "\n".join(amiss)


async def tried_everywhere(case: Case, folder: Path) -> Tally:
    """What came of a case whose agent was killed everywhere."""
    before, after = Storage.at(folder / "before"), Storage.at(folder / "after")
    case.build(before)
    lanes = [Lane(folder / f"lane{number}", fail=case.fail, slow=case.slow) for number in range(LANES)]
    try:
        await asyncio.gather(*(lane.start() for lane in lanes))
        trials = [Trial(case, lane, before, after) for lane in lanes]
        tally = await _recorded(trials[0])
        orders = iter(tally.orders)
        await asyncio.gather(*(_work_off(trial, orders, tally) for trial in trials))
    finally:
        await asyncio.gather(*(lane.end() for lane in lanes))
    return tally


async def _recorded(trial: Trial) -> Tally:
    """Two runs that nobody kills: what they hit, and (kept in `after`) what the files then are."""
    case, lane, runs = trial.case, trial.lane, []
    for number in range(2):
        await trial.prepare("record:0:before")
        await trial.act()
        runs.append(lane.hits())
        lane.disarm()
        if number == 0 and case.after is not None:
            case.after(lane.storage)
            lane.storage.check()
            trial.after.lay(lane.storage)
        await trial.judge()
        assert trial.end == case.end, trial.end
    first, second = (sorted(hit for hit in run if hit[0] != JOURNAL) for run in runs)
    assert first == second, "two runs did not have the same effects"
    flushes = [sum(name == JOURNAL for name, _ in run) for run in runs]
    hits = max(runs, key=len)
    orders = [f"{name}:{number}:{side}" for name, number in hits for side in ("before", "after")]
    return Tally([order for order in orders if order != f"{case.raises}:after"], min(flushes))


async def _work_off(trial: Trial, orders: Iterator[str], tally: Tally) -> None:
    for order in orders:
        try:
            await _try(trial, order, tally)
        except (AssertionError, RpcError, TimeoutError, Died) as problem:
            tally.problems.append(f"{order}: {type(problem).__name__}: {problem}")
            await trial.lane.end()
            await trial.lane.start()
        if len(tally.problems) >= PROBLEMS_MAX:
            return


async def _try(trial: Trial, order: str, tally: Tally) -> None:
    lane = trial.lane
    await trial.prepare(order)
    try:
        await trial.act()
    except Died:
        assert await lane.gone() == -signal.SIGKILL, f"the agent ended by itself: {lane.log()}"
        lane.disarm()
        await lane.start()
        tally.killed += 1
        await trial.carry_on(order)
    else:
        tally.not_reached.append(order)
        tally.flushes_min = min(tally.flushes_min, sum(name == JOURNAL for name, _ in lane.hits()))
        lane.disarm()
    await trial.judge()
    tally.ends[trial.end] += 1
