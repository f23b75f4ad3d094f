"""Room under a limit and circles of who waits for whom, for whatever is asked."""

from itertools import pairwise, permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core import circles, limiting
from interlock.core.circles import Wait
from interlock.core.limiting import Standing
from interlock.model.limits import LimitRecord

WINDOW_US = 100
counts = st.integers(0, 6)
limits = st.builds(
    lambda at_most, starts: LimitRecord("key:k", at_most, starts, WINDOW_US if starts else None, "ada", 0),
    st.none() | counts,
    st.none() | st.integers(1, 6),
).filter(lambda limit: limit.at_most is not None or limit.starts_max is not None)
asks = st.tuples(st.integers(0, 300), st.booleans())


@pytest.mark.hard_case(25)
@given(limits, st.lists(asks, max_size=40))
def test_whoever_comes_and_goes_no_more_run_or_start_than_allowed_and_nobody_overtakes(
    limit: LimitRecord, play: list[tuple[int, bool]]
) -> None:
    """A play of coming (each with a rank), of ends, and of time that passes by the rank's number."""
    now, running, starts = 0, 0, list[int]()
    waiting: list[tuple[int, int]] = []
    for number, (rank, ends) in enumerate(play):
        now += rank // 10
        running -= ends and running > 0
        waiting = sorted([*waiting, (rank, number)])
        started: list[tuple[int, int]] = []
        for ahead, place in enumerate(waiting):
            recent = limiting.in_window(limit, starts, now)
            if limiting.room(Standing(limit, running, recent, ahead - len(started))):
                running, starts = running + 1, [*starts, now]
                started.append(place)
        assert started == waiting[: len(started)], "only the first in line"
        waiting = waiting[len(started) :]
        assert limit.at_most is None or running <= limit.at_most
        for start in starts:
            within = [other for other in starts if start <= other < start + WINDOW_US]
            assert limit.starts_max is None or len(within) <= limit.starts_max


@given(limits, counts, st.lists(st.integers(0, 99), max_size=6).map(sorted), counts)
def test_at_the_time_that_is_told_the_window_has_room_and_not_before(
    limit: LimitRecord, running: int, recent: list[int], ahead: int
) -> None:
    rate = LimitRecord("key:k", None, limit.starts_max or 1, WINDOW_US, "ada", 0)
    at = limiting.look_at(Standing(rate, running, recent, ahead))
    if at is None:
        assert limiting.room(Standing(rate, running, recent, ahead)) or not recent
    elif (rate.starts_max or 0) > ahead:
        assert limiting.room(Standing(rate, running, limiting.in_window(rate, recent, at), ahead))
        assert not limiting.room(Standing(rate, running, limiting.in_window(rate, recent, at - 1), ahead))


nodes = st.integers(0, 5).map(lambda number: UUID(int=number))
waits = st.builds(
    lambda targets, need: Wait(tuple(targets), min(need, len(targets)), "waits for"),
    st.sets(nodes, min_size=1, max_size=3),
    st.integers(1, 3),
)
graphs = st.dictionaries(nodes, st.lists(waits, min_size=1, max_size=2), max_size=6)


@given(graphs)
def test_what_is_stuck_can_in_no_order_end(graph: dict[UUID, list[Wait]]) -> None:
    everybody = {UUID(int=number) for number in range(6)}
    stuck = circles.stuck(graph)
    ended: set[UUID] = set()
    for order in list(permutations(sorted(everybody)))[:: 720 // 6]:
        ended = set()
        for _ in order:
            for node in order:
                theirs = graph.get(node, [])
                if all(sum(target in ended for target in wait.targets) >= wait.need for wait in theirs):
                    ended.add(node)
        assert ended == everybody - stuck


@given(graphs, nodes)
def test_a_circle_leads_from_one_that_is_stuck_back_to_it(graph: dict[UUID, list[Wait]], start: UUID) -> None:
    links = circles.circle(start, graph)
    if links:
        assert start in circles.stuck(graph)
        assert (links[0].origin, links[-1].target) == (start, start)
        assert all(one.target == next.origin for one, next in pairwise(links))
