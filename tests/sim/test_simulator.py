"""The simulator: the same seed gives the same bytes, faults truly happen, and what is broken is noticed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.coordinator import writer
from interlock.model.records import JobRecord
from interlock.sim import running
from interlock.sim.faults import PLANNED, Fault, Kind
from interlock.sim.seeds import prepared
from interlock.sim.shrinking import shrunken, story
from interlock.sim.universe import run
from interlock.sim.workload import People

#: a seed with several jobs, used where a test needs any
SEED = 99


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with prepared() as folder:
        yield folder


def digests(hash_seed: str) -> str:
    """Of some seeds, in a process of its own whose sets and dictionaries are in another order."""
    program = (
        "from interlock.sim.seeds import prepared; from interlock.sim.universe import run\n"
        "with prepared() as scratch:\n"
        "    for seed in (5, 348): print(run(seed, scratch, is_told=True).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_same_seed_gives_the_same_trace_byte_for_byte() -> None:
    """Also 348, in which one commit frees two refs: who waits for which was woken in the order of a set."""
    first, second = digests("1"), digests("4")
    assert first == second
    assert len(set(first.split())) == 2


@pytest.mark.parametrize("kind", PLANNED)
def test_each_fault_can_happen_and_all_ends_well(kind: Kind, scratch: Path) -> None:
    fault = Fault(kind, nth=2) if kind.is_at_a_hit else Fault(kind, at_s=30.0, for_s=8.0)
    others = [Fault(Kind.KILLED, at_s=10.0)] if kind is Kind.KILLED_IN_RECOVERY else []
    ran = run(SEED, scratch, [fault, *others])
    assert ran.problems == []
    assert ran.fired[kind] >= 1


def test_while_the_database_is_down_nothing_is_stored_and_then_all_goes_on(scratch: Path) -> None:
    ran = run(SEED, scratch, [Fault(Kind.DATABASE_DOWN, at_s=50.0, for_s=20.0)])
    commits_s = [float(line.split()[0]) for line in ran.trace if "commit of" in line]
    assert ran.problems == []
    assert min(commits_s) < 50.0
    assert max(commits_s) > 70.0
    assert not [at_s for at_s in commits_s if 50.0 < at_s < 70.0]


def test_what_is_broken_is_noticed_made_small_and_told(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that forgets what jobs have come to: progress goes back, and a reader sees it."""
    numbered = writer._numbered

    def forgetful(change, number):  # type: ignore[no-untyped-def]
        if isinstance(change.new, JobRecord) and change.new.progress > 50:
            return replace(change, new=replace(change.new, progress=0))
        return numbered(change, number)

    monkeypatch.setattr(writer, "_numbered", forgetful)
    failed = shrunken(run(SEED, scratch), scratch)
    assert "invariant 20" in failed.problems[0]
    assert failed.faults == []
    assert story(failed)


def test_a_simulator_that_raised_itself_did_not_say_of_which_seed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(people: People) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr(People, "look_after", broken)
    failed = shrunken(run(SEED, scratch, [Fault(Kind.KILLED, at_s=10.0)]), scratch)
    assert failed.problems[0].startswith("the simulator itself raised KeyError('of ours')")
    assert "in broken" in failed.problems[0]
    assert (failed.seed, failed.faults) == (SEED, [])
    monkeypatch.undo()
    assert run(SEED, scratch).problems == []


@pytest.mark.long
def test_more_seeds_than_one_process_may_run_waited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PIECE", 1)
    monkeypatch.setattr(running, "PIECES_MAX", 2)
    *_, total = running.all_of(range(5), 1, 1)
    assert (total.runs, total.failed) == (5, [])
