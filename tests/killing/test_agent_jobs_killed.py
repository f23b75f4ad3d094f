"""The agent is killed at every journal write and every effect of SDM.copy_data, domains and pools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.killing.agent_case import Case
from tests.killing.agent_cases_merges import JOBS_AND_DOMAINS
from tests.killing.agent_loop import killed_everywhere


@pytest.mark.long
@pytest.mark.parametrize("case", JOBS_AND_DOMAINS, ids=lambda case: case.name)
async def test_wherever_the_agent_is_killed_the_end_of_the_task_is_true(case: Case, tmp_path: Path) -> None:
    await killed_everywhere(case, tmp_path)
