"""The tour, as `make run` runs it: every claim holds."""

import os
import subprocess
import sys

import pytest


@pytest.mark.long
def test_every_claim_of_the_tour_holds() -> None:
    tour = subprocess.run(
        [sys.executable, "-m", "interlock.tour"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
        env={name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")},
    )  # fmt: skip
    lines = tour.stdout.splitlines()
    passed = sum(line.startswith("   ok ") for line in lines)
    assert (tour.returncode, lines[-1]) == (0, f"tour: {passed} passed, 0 failed"), tour.stdout + tour.stderr
    assert passed >= 15
    assert "Traceback" not in tour.stdout + tour.stderr
