"""Pauses before another try: measured once, over once, whatever a clock says."""

import pytest

from interlock.core import pauses
from interlock.core.facts import Compensate, PauseOver
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
    assert decide(play.flow, PauseOver(play.flow.id, retry_at - 1), early) == []  # another pause
    undo = Compensate(play.flow.id, children(play)[0].id)
    assert decide(play.flow, PauseOver(play.flow.id, retry_at), early) == [undo]
    assert pauses.is_over(play.flow.root, early)


@pytest.mark.parametrize(
    ("now", "left_us"),
    [(7, 4_000_000), (2_000_000, 2_500_000), (4_500_000, 0), (9_000_000, 0), (-HOUR_US, 4_000_000)],
)
def test_a_pause_is_never_longer_than_it_was_meant_to_be(now: int, left_us: int) -> None:
    command = pauses.later(staged().flow.root, 3, 500_000)
    assert command.retry_at == 4_500_000
    assert pauses.left_us(command, now) == left_us
    anew = replace(command, state=State.PENDING, attempts=0, created_at=500_000)
    assert pauses.left_us(anew, now) == left_us
    assert pauses.left_us(replace(command, retry_at=None), now) == 0
