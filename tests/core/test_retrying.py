"""Waiting before another try: no longer than was meant, and over once and for all, whatever a clock says."""

import pytest

from interlock.core import retrying
from interlock.core.facts import Compensate, RetryDue
from interlock.core.lifecycle import decide
from interlock.model.replacing import replace
from interlock.model.states import State
from tests.core.test_ends import children, staged

HOUR_US = 3_600_000_000


def test_what_had_waited_as_long_as_it_was_to_waited_on_where_the_clock_went_back() -> None:
    play = staged(completed=1)
    play.do(0, "raise")
    retry_at = play.flow.root.retry_at
    assert retry_at is not None
    early = play.now - HOUR_US
    assert decide(play.flow, RetryDue(play.flow.id, retry_at - 1), early) == []  # that of another try
    undo = Compensate(play.flow.id, children(play)[0].id)
    assert decide(play.flow, RetryDue(play.flow.id, retry_at), early) == [undo]
    assert retrying.is_time(play.flow.root, early)


@pytest.mark.parametrize(
    ("now", "left_us"),
    [(7, 4_000_000), (2_000_000, 2_500_000), (4_500_000, 0), (9_000_000, 0), (-HOUR_US, 4_000_000)],
)
def test_nothing_waits_longer_than_was_meant(now: int, left_us: int) -> None:
    command = retrying.later(staged().flow.root, 3, 500_000)
    assert command.retry_at == 4_500_000
    assert retrying.left_us(command, now) == left_us
    anew = replace(command, state=State.PENDING, attempts=0, created_at=500_000)
    assert retrying.left_us(anew, now) == left_us
    assert retrying.left_us(replace(command, retry_at=None), now) == 0
