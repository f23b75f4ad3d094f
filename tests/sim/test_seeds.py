"""A bounded number of seeds, all of which must pass; `make sim` runs as many as one likes.

`INTERLOCK_SEEDS` says how many. They are split in pieces so that a failure says soon which it is.
"""

import os

import pytest

from interlock.sim.running import PIECE, piece

SEEDS = int(os.environ.get("INTERLOCK_SEEDS", "50"))


@pytest.mark.parametrize("first", range(0, SEEDS, PIECE))
def test_seeds_pass(first: int) -> None:
    failed = [ran for ran in piece(range(first, min(first + PIECE, SEEDS)), failures_max=1) if ran.problems]
    assert [(ran.seed, ran.problems, list(map(str, ran.faults))) for ran in failed] == []
