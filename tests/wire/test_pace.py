"""How fast a peer is read, on a clock that the test turns."""

import pytest

from interlock.wire.limits import Limits
from interlock.wire.pace import Pace


def taken(pace: Pace, now_s: float) -> int:
    """How many frames may be taken at that moment."""
    count = 0
    while pace.wait_s(now_s) == 0:
        pace.count()
        count += 1
    return count


def test_a_burst_is_taken_at_once_and_then_what_time_brings() -> None:
    pace = Pace(Limits(frames_burst_max=50, frames_per_s_max=100.0))
    assert [taken(pace, 7.0), taken(pace, 7.5), taken(pace, 7.625), taken(pace, 1000.0)] == [50, 50, 12, 50]


def test_a_budget_that_is_used_up_is_waited_for_until_it_is_worth_it() -> None:
    pace = Pace(Limits(frames_burst_max=50, frames_per_s_max=100.0))
    taken(pace, 0.0)
    assert pace.wait_s(0.0) == pytest.approx(0.1)
    assert pace.wait_s(0.005) == pytest.approx(0.095)
    assert taken(pace, 0.1) == 10


@pytest.mark.parametrize(("burst", "per_s"), [(1, 1000.0), (1, 0.5), (3, 4.0)])
def test_after_the_wait_there_is_always_a_frame_to_take(burst: int, per_s: float) -> None:
    pace, now_s, count = Pace(Limits(frames_burst_max=burst, frames_per_s_max=per_s)), 0.0, 0
    while count < 100:
        wait_s = pace.wait_s(now_s)
        if wait_s:
            now_s += wait_s
        else:
            pace.count()
            count += 1
    assert now_s == pytest.approx((100 - burst) / per_s, abs=1 / per_s)
