"""Planted bugs still fit the code, and one that a seed must catch is caught."""

import ast
from pathlib import Path

import pytest

from planted.bug import Bug, DoesNotFit
from planted.bugs import BUGS
from planted.trial import ROOT, tried

SOURCES = ROOT / "src" / "interlock"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_fits_exactly_one_place_and_leaves_a_program(bug: Bug) -> None:
    source = (SOURCES / bug.file).read_text("utf-8")
    assert ast.dump(ast.parse(bug.planted_in(source))) != ast.dump(ast.parse(source))
    assert bug.expected


def test_names_are_unique_and_there_are_enough() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 24


def test_a_bug_that_does_not_fit_any_more_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "interlock" / "some.py"
    file.parent.mkdir()
    file.write_text("one\none\n", "utf-8")
    bug = Bug("late", "It is too late.", "some.py", "one", "two", (1,))
    with pytest.raises(DoesNotFit, match=r"is 2 times in some\.py"):
        bug.plant(tmp_path)
    assert file.read_text("utf-8") == "one\none\n"


@pytest.mark.long
def test_a_planted_bug_is_caught_and_told_by_its_invariant() -> None:
    [bug] = [bug for bug in BUGS if bug.name == "end_one_part_early"]
    trial = tried(bug, seeds=20)
    assert (trial.is_caught, trial.number) == (True, 4), trial
