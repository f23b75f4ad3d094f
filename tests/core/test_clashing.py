"""Which parts of a plan may be at work at once: against every order in which they could truly run."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.clashing import clash
from interlock.model.layout import NO_OPTIONS, Options
from interlock.model.locks import LockMode, conflict
from interlock.model.records import CommandRecord, Role
from interlock.model.refs import Ref

X, S = LockMode.EXCLUSIVE, LockMode.SHARED
DISKS: list[Ref[Any]] = [Ref("disk", UUID(int=n + 1)) for n in range(3)]


def row(position: int, after: Sequence[int] = (), options: Options = NO_OPTIONS) -> CommandRecord:
    return CommandRecord(
        id=UUID(int=0x100 + position),
        flow_id=UUID(int=0xF),
        parent_id=UUID(int=0xF),
        correlation_id="c",
        name="part",
        version=1,
        parameters_json="{}",
        refs=(),
        title=f"part {position}",
        depth=1,
        role=Role.FORWARD,
        key=f"part#{position}",
        position=position,
        after=tuple(after),
        step=None,
        weight=1,
        best_effort=False,
        created_at=0,
        undoes=None,
        options_json=options.to_json(),
    )


ONE, OTHER = Options(choice=1), Options(choice=1)
CASES: dict[str, tuple[list[CommandRecord], dict[int, LockMode], tuple[int, int] | None]] = {
    "both alone": ([row(0), row(1)], {0: X, 1: X}, (0, 1)),
    "one alone": ([row(0), row(1)], {0: S, 1: X}, (0, 1)),
    "both share": ([row(0), row(1)], {0: S, 1: S}, None),
    "in turn": ([row(0), row(1, [0])], {0: X, 1: X}, None),
    "in turn, through one that needs nothing": ([row(0), row(1, [0]), row(2, [1])], {0: X, 2: X}, None),
    "beside one that needs nothing": ([row(0), row(1)], {0: X}, None),
    "later in other branches": (
        [row(0), row(1, [0]), row(2), row(3, [2])],
        {1: X, 3: X},
        (1, 3),
    ),
    "alternatives": ([row(0, (), ONE), row(1, (), OTHER)], {0: X, 1: X}, None),
    "after alternatives": ([row(0, (), ONE), row(1, (), OTHER), row(2, [1])], {0: X, 2: X}, None),
    "one at a time": ([row(n, (), Options(pool=1, at_most=1)) for n in range(2)], {0: X, 1: X}, None),
    "two at a time": ([row(n, (), Options(pool=1, at_most=2)) for n in range(2)], {0: X, 1: X}, (0, 1)),
    "of two groups": ([row(n, (), Options(pool=n, at_most=1)) for n in range(2)], {0: X, 1: X}, (0, 1)),
    "ordered after a later one": ([row(0, [1]), row(1)], {0: X, 1: X}, None),
}


@pytest.mark.hard_case(24)
@pytest.mark.parametrize(("parts", "modes", "expected"), CASES.values(), ids=CASES)
def test_who_may_meet(parts: list[CommandRecord], modes: dict[int, LockMode], expected: tuple[int, int] | None) -> None:
    found = clash(parts, {position: {DISKS[0]: mode} for position, mode in modes.items()})
    assert (None if found is None else (found[0].position, found[1].position, found[2])) == (
        None if expected is None else (*expected, DISKS[0])
    )


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[CommandRecord], dict[int, dict[Ref[Any], LockMode]]]:
    many = draw(st.integers(2, 7))
    after = [draw(st.sets(st.integers(0, n - 1))) if n else set() for n in range(many)]
    modes = st.dictionaries(st.sampled_from(DISKS), st.sampled_from([X, S]), max_size=2)
    return [row(n, sorted(after[n])) for n in range(many)], {n: draw(modes) for n in range(many)}


@pytest.mark.hard_case(24)
@given(plans())
def test_it_is_found_exactly_where_two_without_order_want_the_same(
    plan: tuple[list[CommandRecord], dict[int, dict[Ref[Any], LockMode]]],
) -> None:
    parts, wants = plan
    before: dict[int, set[int]] = {}
    for part in parts:
        before[part.position] = {*part.after, *(far for near in part.after for far in before[near])}
    meeting = {
        (one, other)
        for one, other in combinations(range(len(parts)), 2)
        if one not in before[other]
        and any(conflict(mode, wants[other][ref]) for ref, mode in wants[one].items() if ref in wants[other])
    }
    found = clash(parts, wants)
    assert (found is not None) is bool(meeting)
    if found is not None:
        assert tuple(sorted((found[0].position, found[1].position))) in meeting
