"""Which ended jobs may go."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.retention import kept
from interlock.model.retention import DAY_S, EndedJob, Kept, Retention
from interlock.model.states import Result

DAY = int(DAY_S * 1e6)
JOB = EndedJob(UUID(int=1), "vm.remove", Result.SUCCEEDED, 0, 0, True, False, False, False)


@pytest.mark.parametrize(
    ("job", "days"),
    [(JOB, 7), (replace(JOB, is_clean=False), 30), (replace(JOB, result=Result.FAILED), 30),
     (replace(JOB, result=Result.CANCELLED), 30), (replace(JOB, action="host.scan"), 1),
     (replace(JOB, action="host.scan", result=Result.FAILED), 1)],
)  # fmt: skip
def test_each_kind_of_end_has_its_time(job: EndedJob, days: int) -> None:
    ages = Retention(by_command={"host.scan": DAY_S})
    assert kept(job, ages, days * DAY - 1, is_referred_to=False) is Kept.YOUNG
    assert kept(job, ages, days * DAY, is_referred_to=False) is None


@pytest.mark.hard_case(31)
@given(
    st.builds(
        EndedJob, st.uuids(), st.sampled_from(["a", "b"]), st.sampled_from(Result), st.integers(0, 99 * DAY),
        st.just(0), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
    ),
    st.booleans(),
    st.integers(0, 200 * DAY),
)  # fmt: skip
def test_nothing_goes_that_is_young_refused_for_or_referred_to(job: EndedJob, referred: bool, now: int) -> None:
    ages = Retention(2 * DAY_S, 5 * DAY_S, {"b": 9 * DAY_S})
    may_go = kept(job, ages, now, is_referred_to=referred) is None
    held = job.has_open_leftovers or job.has_uncleared_tasks or job.has_locks or referred
    age = 9 if job.action == "b" else 2 if job.result is Result.SUCCEEDED and job.is_clean else 5
    assert may_go == (not held and now - job.ended_at >= age * DAY)
    assert not may_go or now - job.ended_at >= ages.shortest_s * 1e6


@pytest.mark.parametrize("wrong", [-1.0, 1e12, float("nan")])
def test_a_time_that_cannot_be_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="jobs cannot be kept for"):
        Retention(succeeded_s=wrong)
    with pytest.raises(ValueError, match="jobs cannot be kept for"):
        Retention(by_command={"a": wrong})
