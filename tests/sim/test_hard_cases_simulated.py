"""Hard cases that take a coincidence: the faults are put where a first run shows that they hurt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from interlock.model.states import Outcome
from interlock.sim import seeds, sites
from interlock.sim.faults import Fault, Kind
from interlock.sim.universe import Universe
from interlock.verbs import Code

SEEDS, WRITES = 12, 8
_LINE = re.compile(r"\s*([0-9.]+).*\bafter host:([\w.]+)")


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with seeds.prepared() as folder:
        yield folder


def lived(seed: int, scratch: Path, *faults: Fault) -> Universe:
    """A universe that has come to its end, with nothing wrong in it."""
    universe = Universe(seed, scratch, faults)
    assert universe.live().problems == []
    return universe


def answered(universe: Universe, method: str) -> Iterator[tuple[int, float]]:
    """Which calls of all were answered calls of that method, and when."""
    found = [line for line in map(_LINE.match, universe.run.trace) if line is not None]
    return ((number, float(each[1])) for number, each in enumerate(found, start=1) if each[2] == method)


def outcomes(universe: Universe) -> Sequence[Outcome | None]:
    return [task.outcome for task in universe.witness.mirror.tasks.values()]


@pytest.mark.hard_case(3)
def test_what_a_host_had_accepted_before_it_was_installed_anew_is_lost_and_not_done_again(scratch: Path) -> None:
    """The coordinator dies with the host's answer in its hands; the next one asks a host that remembers nothing."""
    lost = 0
    for seed in range(1, SEEDS + 1):
        for number, at_s in islice(answered(lived(seed, scratch), "Volume.create"), 1):
            anew = [Fault(Kind.JOURNAL_LOST, at_s=at_s + 0.002, host=host) for host in range(sites.HOSTS)]
            universe = lived(seed, scratch, Fault(Kind.KILLED_AFTER_CALL, nth=number), *anew)
            # where threads are late, hosts are new before the coordinator has come to its end: that shows nothing
            lost += universe.run.fired[Kind.KILLED_AFTER_CALL] == 1 and Outcome.LOST in outcomes(universe)
        if lost == 2:
            return
    pytest.fail("nothing was lost in any of the seeds")


@pytest.mark.long
@pytest.mark.hard_case(7)
def test_a_step_that_may_happen_once_does_not_happen_again_before_any_write_of_a_journal(scratch: Path) -> None:
    """Making a domain is such a step here: an agent that died in it says that it does not know."""
    unknown = 0
    for seed in range(1, SEEDS + 1):
        if any(answered(lived(seed, scratch), "StorageDomain.create")):
            for number in range(1, WRITES + 1):
                universe = lived(seed, scratch, Fault(Kind.AGENT_KILLED_BEFORE_WRITE, nth=number))
                unknown += Outcome.UNKNOWN in outcomes(universe)
        if unknown:
            return
    pytest.fail("no agent died in such a step in any of the seeds")


def test_a_synchronous_call_that_failed_and_was_not_undone_leaves_no_leftover(scratch: Path) -> None:
    """Its answer was its code only, so that its flow ended as if nothing were there. A simulated format fails so."""
    for seed in range(SEEDS * 6):
        for task in lived(seed, scratch).witness.mirror.tasks.values():
            if task.method == "StorageDomain.create" and "has a fault in format" in (task.message or ""):
                assert (task.outcome, task.code) == (Outcome.UNKNOWN, Code.OUTCOME_UNKNOWN)
                return
    pytest.fail("no domain could be half made in any of the seeds")
