"""Runs many seeds, in several processes, and adds up what they showed."""

from __future__ import annotations

import atexit
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from interlock.sim.faults import Kind
from interlock.sim.seeds import prepared
from interlock.sim.shrinking import shrunken
from interlock.sim.universe import Run, run

#: how many seeds a process runs before it gives account, and how often it does before others take the place of all of
#: them: what threads hold that were left in the middle of something goes with the process only. All at once, since a
#: pool that replaces each by itself may stand still for ever (Python 3.11, cpython issue 115634)
PIECE, PIECES_MAX = 50, 20


@dataclass
class Sum:
    """What all runs have shown together."""

    runs: int = 0
    failed: list[Run] = field(default_factory=list)
    fired: Counter[Kind] = field(default_factory=Counter)
    checked: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, ran: Run) -> None:
        """One more run."""
        self.runs += 1
        self.fired += ran.fired
        self.checked += ran.checked
        self.counts += ran.counts
        if ran.problems:
            self.failed.append(ran)

    @property
    def never_fired(self) -> list[Kind]:
        """The faults that no run has met: then nothing was shown about them."""
        return [kind for kind in Kind if not self.fired[kind]]


def all_of(seeds: Sequence[int], processes: int, failures_max: int) -> Iterator[Sum]:
    """The sum so far, after each piece of the seeds; ends early after so many failures. Failed runs come with the
    fewest faults that still make them fail."""
    total, pieces = Sum(), [seeds[start : start + PIECE] for start in range(0, len(seeds), PIECE)]
    at_once = processes * PIECES_MAX
    for start in range(0, len(pieces), at_once):
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            waiting = [pool.submit(piece, each, failures_max) for each in pieces[start : start + at_once]]
            for done in as_completed(waiting):
                for ran in done.result():
                    total.add(ran)
                yield total
                if len(total.failed) >= failures_max:
                    pool.shutdown(cancel_futures=True)
                    return


def piece(seeds: Sequence[int], failures_max: int) -> list[Run]:
    """Runs some seeds in this process, until so many have failed; those come with the fewest faults."""
    done: list[Run] = []
    scratch = _scratch()
    for seed in seeds:
        ran = run(seed, scratch)
        done.append(shrunken(ran, scratch) if ran.problems else ran)
        ran.trace = []
        if sum(bool(each.problems) for each in done) >= failures_max:
            break
    return done


@cache
def _scratch() -> Path:
    """What this process has prepared for all its runs: databases, and the statements that were compiled for them."""
    kept = ExitStack()
    atexit.register(kept.close)
    return kept.enter_context(prepared())
