"""The cases of the kill loop are all there are to be."""

from __future__ import annotations

from interlock.agent.verbs import PROGRAMS
from tests.killing import agent_cases_images, agent_cases_merges, agent_cases_volumes
from tests.killing.agent_case import SUCCESS, Way

CASES = [
    *agent_cases_volumes.MADE,
    *agent_cases_volumes.COPIED,
    *agent_cases_images.DELETED,
    *agent_cases_images.MOVED,
    *agent_cases_images.SYNCED,
    *agent_cases_merges.MERGED,
    *agent_cases_merges.JOBS_AND_DOMAINS,
]


def test_every_verb_that_makes_a_task_is_killed_everywhere_on_its_way_to_success() -> None:
    assert {case.verb for case in CASES if case.way is Way.CALL and case.end == SUCCESS} == set(PROGRAMS)


def test_no_two_cases_have_one_name() -> None:
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)
