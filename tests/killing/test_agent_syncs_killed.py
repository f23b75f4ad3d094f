"""The agent is killed at every journal write and every effect of Image.syncData."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.killing.agent_case import Case
from tests.killing.agent_cases_images import SYNCED
from tests.killing.agent_loop import killed_everywhere


@pytest.mark.long
@pytest.mark.parametrize("case", SYNCED, ids=lambda case: case.name)
async def test_wherever_the_agent_is_killed_the_end_of_the_task_is_true(case: Case, tmp_path: Path) -> None:
    await killed_everywhere(case, tmp_path)
