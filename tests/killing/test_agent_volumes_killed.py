"""The agent is killed at every journal write and every effect of the verbs that make, extend and delete volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.killing.agent_case import Case
from tests.killing.agent_cases_volumes import MADE
from tests.killing.agent_loop import killed_everywhere

#: the one that every run of the tests has time for; the kill matrix has all of them, too
QUICK = "Volume.create"
CASES = [pytest.param(case, marks=() if case.name == QUICK else pytest.mark.long, id=case.name) for case in MADE]


@pytest.mark.hard_case(7)
@pytest.mark.parametrize("case", CASES)
async def test_wherever_the_agent_is_killed_the_end_of_the_task_is_true(case: Case, tmp_path: Path) -> None:
    await killed_everywhere(case, tmp_path)
