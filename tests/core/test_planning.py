"""Planning: a plan becomes rows, all of it or nothing."""

from typing import Any
from uuid import UUID

import pytest

from interlock.core import planning
from interlock.core.flow import Flow
from interlock.core.polling import Backoff
from interlock.model.errors import Refused
from interlock.model.plan import NOTHING, Part, Plan, TaskWork, first_of, parallel, part, sequence
from interlock.model.records import Role
from interlock.model.refs import Ref
from tests.core.shapes import REFS, START, Mint, Spec

EMPTY = Spec()


def copy(*, touches: tuple[Ref[Any], ...] = ()) -> TaskWork:
    return TaskWork(None, "copy", {}, True, True, touches)


def laid_out(plan: Plan, spec: Spec = EMPTY) -> tuple[Flow, list[UUID]]:
    """A new flow with that plan, and the children that are due at once."""
    mint = Mint()
    flow = mint.flow_of(spec)
    due = planning.lay_out(flow, flow.root, plan, Role.FORWARD, mint.author, START)
    return flow, due


def test_every_part_becomes_a_row_with_what_it_comes_after() -> None:
    plan = sequence(
        part(EMPTY, key="first"), parallel(part(EMPTY), part(EMPTY, weight=3, best_effort=True)), NOTHING, part(EMPTY)
    )
    flow, due = laid_out(plan)
    rows = flow.children_of(flow.id, Role.FORWARD)
    assert [(row.key, row.position, row.after, row.weight, row.best_effort, row.depth) for row in rows] == [
        ("first", 0, (), 1, False, 1),
        ("spec2#1", 1, (0,), 1, False, 1),
        ("spec3#2", 2, (0,), 3, True, 1),
        ("spec4#3", 3, (1, 2), 1, False, 1),
    ]
    assert due == [rows[0].id]


def test_a_task_touches_what_it_says_or_what_its_command_names() -> None:
    flow, due = laid_out(
        parallel(part(copy(touches=(REFS[2],))), part(TaskWork(None, "m", {}, True, True))), Spec(locks=(0, 1))
    )
    assert [task.refs for task in flow.tasks_for(flow.id, Role.FORWARD)] == [(REFS[2],), (REFS[0], REFS[1])]
    assert due == []


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (parallel(part(EMPTY, key="a"), part(EMPTY, key="a")), "two parts of the plan of Do spec0 have the same key"),
        (parallel(part(EMPTY, after="b")), "comes after 'b', but no part of its plan has that key"),
        (
            parallel(part(EMPTY, key="a", after="c"), part(EMPTY, key="b", after="a"), part(EMPTY, key="c", after="b")),
            "parts of a plan wait for each other: a after",
        ),
        (first_of(part(EMPTY, best_effort=True)), "an alternative of first_of is best_effort"),
        (parallel(*[part(EMPTY)] * 20_001), "has 20001 parts; at most 20000"),
        (sequence(parallel(*[part(EMPTY)] * 500), parallel(*[part(EMPTY)] * 500)), "orders too many parts"),
    ],
    ids=["keys", "unknown key", "cycle", "alternative", "parts", "edges"],
)
def test_plans_that_cannot_be_are_refused_with_the_remedy(plan: Plan, words: str) -> None:
    with pytest.raises(Refused, match=words):
        laid_out(plan)


def test_the_default_key_of_one_part_may_not_be_given_to_another() -> None:
    flow, _ = laid_out(parallel(part(EMPTY), part(EMPTY)))
    keys = [row.key for row in flow.children_of(flow.id, Role.FORWARD)]
    assert len(set(keys)) == len(keys)


def test_a_weight_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="weight 0"):
        part(EMPTY, weight=0)
    assert isinstance(part(EMPTY), Part)


def test_pauses_double_up_to_a_bound_and_news_resets_them() -> None:
    backoff = Backoff(1, 10)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    assert backoff.note("task", 10)
    assert [backoff.next(), backoff.next()] == [1, 2]
    assert not backoff.note("task", 10)
    assert backoff.next() == 4
    assert backoff.note("task", 20)
    assert backoff.next() == 1
    backoff.forget("task")
    assert backoff.note("task", 20)
