"""Plans beyond side by side and in turn: alternatives, attempts, bounds, points of no return, orders by key."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    Command,
    CommandFailed,
    Coordinator,
    Local,
    Plan,
    Refused,
    Result,
    Retry,
    Tx,
    first_of,
    local,
    parallel,
    part,
    sequence,
)
from interlock.model.records import Undo
from interlock.model.states import StepStatus
from tests.coordinator.support import WAIT_S, Gate, commands, events, opened, steps, tasks, until_job
from tests.coordinator.test_deadlines import HOUR_US, Jumping
from tests.databases import Scratch

#: which functions ran, in order
ran: list[str] = []
#: how often each still fails
fails: Counter[str] = Counter()
running: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    for each in (ran, fails, running):
        each.clear()


async def act(name: str) -> str:
    """A function that may fail; several of it at once are counted."""
    running["now"] += 1
    running["most"] = max(running["most"], running["now"])
    await asyncio.sleep(0)
    running["now"] -= 1
    ran.append(name)
    if fails[name] > 0:
        fails[name] -= 1
        raise RuntimeError(f"{name} cannot")
    return name


class Act(Command[None], name="act"):
    """One function; undone by another."""

    name: str

    def execute(self, db: Tx) -> Plan:
        return part(local("act", name=self.name))

    def compensate(self, db: Tx) -> Plan:
        return part(local("act", name=f"undo {self.name}"))


class Choosy(Command[None], name="choosy"):
    """Refuses only when it is carried out."""

    def execute(self, db: Tx) -> Plan:
        raise Refused("not today; come tomorrow")


class Planned(Command[None], name="planned"):
    """Whatever plan the test has chosen."""

    which: str

    def execute(self, db: Tx) -> Plan:
        return PLANS[self.which]


def acts(*names: str, **options: Any) -> list[Plan]:
    return [part(Act(name=name), step=name.upper(), key=name, **options) for name in names]


PLANS: dict[str, Plan] = {
    "first of three": sequence(first_of(*acts("a", "b", "c")), *acts("z")),
    "first of groups": first_of(sequence(*acts("a", "b")), sequence(*acts("c", "d"))),
    "first of tasks": first_of(part(local("act", name="a")), part(local("act", name="b"))),
    "again": sequence(*acts("a", retry=Retry(3, 0.0)), *acts("z")),
    "a task again": part(local("act", name="a"), retry=Retry(3, 0.0), step="A"),
    "again much later": part(Act(name="a"), retry=Retry(2, 3600.0, 3600.0)),
    "again in one room": parallel(*acts("a", retry=Retry(2, 0.001)), part(local("gate")), at_most=1),
    "bounded": parallel(*acts(*(f"p{n}" for n in range(9))), at_most=2),
    "bounded tasks": parallel(*(part(local("act", name=f"p{n}")) for n in range(9)), at_most=2),
    "stopped": parallel(*acts("a", "b", "c"), at_most=1, stop_on_failure=True),
    "stopped at once": parallel(part(Choosy()), *acts("a", "b"), stop_on_failure=True),
    "no return": sequence(*acts("a"), *acts("b", no_return=True), *acts("c", "d")),
    "tasks in turn": sequence(*(part(local("act", name=name)) for name in "abc")),
    "by key": parallel(part(Act(name="c"), after=["a", "b"]), *acts("b", after="a"), *acts("a")),
    "a group, best effort": sequence(part(sequence(*acts("a", "b")), best_effort=True, step="BOTH"), *acts("z")),
    "shown": sequence(
        part(local("gate"), step="GATE"),
        part(sequence(*acts("a"), part(local("act", name="b"), step="B")), step="BOTH"),
        first_of(sequence(*acts("c")), *acts("d")),
    ),
    "gate": first_of(sequence(*acts("a"), part(local("gate")), parallel(*acts("b", "c"), at_most=1)), *acts("d")),
}
CATALOG = (Act, Choosy, Planned, Local("act", act, repeatable=True))


async def run(scratch: Scratch, which: str, *failing: str) -> tuple[Any, dict[str, Any]]:
    """Runs a plan to its end; the failure or None, and what people see."""
    fails.update(failing)
    async with opened(scratch, *CATALOG) as coordinator:
        job = await coordinator.submit(Planned(which=which))
        failure = None
        try:
            await job.result(timeout_s=WAIT_S)
        except CommandFailed as error:
            failure = error.failure
        seen = {
            "steps": [(step.name, step.status) for step in steps(coordinator, job.id) if step.parent_step_id],
            "commands": commands(coordinator, job.id),
            "tasks": tasks(coordinator, job.id),
            "events": [event.kind for event in events(coordinator, job.id)],
        }
    return failure, seen


async def test_the_first_that_succeeds_is_enough_and_what_follows_goes_on(scratch: Scratch) -> None:
    failure, seen = await run(scratch, "first of three", "a")
    assert failure is None
    assert ran == ["a", "b", "z"]
    assert seen["steps"] == [
        ("A", StepStatus.FAILED), ("B", StepStatus.FINISHED), ("C", StepStatus.NOT_STARTED), ("Z", StepStatus.FINISHED),
    ]  # fmt: skip


async def test_parts_that_a_refused_one_stopped_were_begun_all_the_same(scratch: Scratch) -> None:
    failure, seen = await run(scratch, "stopped at once")
    assert "not today; come tomorrow" in str(failure)
    assert ran == []
    assert [row.result for row in seen["commands"] if row.name == "act"] == [Result.CANCELLED] * 2


async def test_when_all_alternatives_fail_each_says_why(scratch: Scratch) -> None:
    failure, _ = await run(scratch, "first of three", "a", "b", "c")
    assert ran == ["a", "b", "c"]
    assert [name in str(failure) for name in ("a cannot", "b cannot", "c cannot")] == [True] * 3


@pytest.mark.hard_case(21)
async def test_an_alternative_that_is_a_group_is_undone_before_the_next_begins(scratch: Scratch) -> None:
    failure, _ = await run(scratch, "first of groups", "b")
    assert failure is None
    assert ran == ["a", "b", "undo a", "c", "d"]


async def test_alternatives_may_be_tasks(scratch: Scratch) -> None:
    failure, _ = await run(scratch, "first of tasks", "a")
    assert (failure, ran) == (None, ["a", "b"])


async def test_a_part_that_fails_is_tried_again_under_a_new_id(scratch: Scratch) -> None:
    failure, seen = await run(scratch, "again", "a", "a")
    assert (failure, ran) == (None, ["a", "a", "a", "z"])
    attempts = [row for row in seen["commands"] if row.key == "a"]
    assert [(row.attempt, row.result, row.superseded) for row in sorted(attempts, key=lambda row: row.attempt)] == [
        (1, Result.FAILED, True), (2, Result.FAILED, True), (3, Result.SUCCEEDED, False),
    ]  # fmt: skip
    assert len({row.id for row in seen["tasks"]}) == 4
    assert seen["events"].count("part_retried") == 2


async def test_a_task_alone_may_be_tried_again_and_shows_under_its_step(scratch: Scratch) -> None:
    failure, seen = await run(scratch, "a task again", "a")
    assert (failure, ran) == (None, ["a", "a"])
    assert seen["steps"] == [("A", StepStatus.FAILED), ("A", StepStatus.FINISHED)]


async def test_a_part_is_tried_no_more_often_than_it_says(scratch: Scratch) -> None:
    failure, _ = await run(scratch, "again", *["a"] * 9)
    assert ran == ["a"] * 3
    assert "a cannot" in str(failure)


async def test_a_pause_between_attempts_outlives_a_restart(scratch: Scratch) -> None:
    fails["a"] = 1
    async with opened(scratch, *CATALOG) as coordinator:
        job = await coordinator.submit(Planned(which="again much later"))
        await until_job(coordinator, job.id, lambda _: any(row.attempt == 2 for row in commands(coordinator, job.id)))
    async with opened(scratch, *CATALOG) as coordinator:
        [again] = [row for row in commands(coordinator, job.id) if row.attempt == 2]
        assert again.retry_at == again.created_at + 3600 * 1_000_000
        assert (again.state, ran) == ("PENDING", ["a"])


@pytest.mark.parametrize("which", ["bounded", "bounded tasks"])
async def test_no_more_than_at_most_run_at_a_time_and_all_do(scratch: Scratch, which: str) -> None:
    failure, _ = await run(scratch, which)
    assert failure is None
    assert sorted(ran) == [f"p{n}" for n in range(9)]
    assert running["most"] == 2


async def test_after_a_failure_nothing_more_of_the_group_begins(scratch: Scratch) -> None:
    failure, seen = await run(scratch, "stopped", "b")
    assert "b cannot" in str(failure)
    assert ran == ["a", "b", "undo a"]
    assert seen["steps"] == [("A", StepStatus.FINISHED), ("B", StepStatus.FAILED), ("C", StepStatus.NOT_STARTED)]


async def test_parts_that_never_began_are_not_counted_as_failed(scratch: Scratch) -> None:
    failure, _ = await run(scratch, "stopped", "a")
    assert failure is not None
    assert failure.message == "1 of 3 parts failed: act failed on this process: RuntimeError: a cannot"


async def test_past_a_part_of_no_return_what_came_before_stays(scratch: Scratch) -> None:
    failure, seen = await run(scratch, "no return", "d")
    assert "d cannot" in str(failure)
    assert ran == ["a", "b", "c", "d", "undo c"]
    assert {row.key: row.undo for row in seen["commands"] if row.key in "abc"} == {"a": None, "b": None, "c": Undo.DONE}
    assert "not_undone" in seen["events"]


async def test_before_a_part_of_no_return_has_succeeded_all_is_undone(scratch: Scratch) -> None:
    await run(scratch, "no return", "b")
    assert ran == ["a", "b", "undo a"]


async def test_tasks_may_follow_one_another(scratch: Scratch) -> None:
    failure, _ = await run(scratch, "tasks in turn")
    assert (failure, ran) == (None, ["a", "b", "c"])


async def test_parts_may_come_after_any_others_by_key(scratch: Scratch) -> None:
    failure, _ = await run(scratch, "by key")
    assert (failure, ran) == (None, ["a", "b", "c"])


async def test_a_group_may_be_best_effort_as_one(scratch: Scratch) -> None:
    failure, seen = await run(scratch, "a group, best effort", "b")
    assert (failure, ran) == (None, ["a", "b", "undo a", "z"])
    assert ("BOTH", StepStatus.FAILED) in seen["steps"]


async def test_groups_are_carried_on_after_a_crash(scratch: Scratch) -> None:
    gate, after = Gate(), Gate()
    async with opened(scratch, *CATALOG, gate=gate) as coordinator:
        job = await coordinator.submit(Planned(which="gate"))
        await gate.wait_entered()
        copy = scratch.copy("crashed")
        gate.open.set()
        await job.result(WAIT_S)
    assert ran == ["a", "b", "c"]
    ran.clear()
    after.open.set()
    async with opened(copy, *CATALOG, gate=after) as coordinator:
        assert (await coordinator.wait_ended(job.id, WAIT_S)).result is Result.SUCCEEDED
    assert (ran, after.entries) == (["b", "c"], 1)


async def test_all_that_a_plan_names_shows_from_the_beginning_and_over_a_crash(scratch: Scratch) -> None:
    gate, after = Gate(), Gate()

    def shown(coordinator: Coordinator, id: UUID) -> list[tuple[str, UUID, UUID | None]]:
        found = [step for step in steps(coordinator, id) if step.parent_step_id is not None]
        return [(step.name, step.id, step.parent_step_id) for step in sorted(found, key=lambda step: step.position)]

    async with opened(scratch, *CATALOG, gate=gate) as coordinator:
        job = await coordinator.submit(Planned(which="shown"))
        await gate.wait_entered()
        before, copy = shown(coordinator, job.id), scratch.copy("crashed")
        gate.open.set()
        await job.result(WAIT_S)
        assert shown(coordinator, job.id) == before
    assert sorted(name for name, _, _ in before) == ["A", "B", "BOTH", "C", "D", "GATE"]
    after.open.set()
    async with opened(copy, *CATALOG, gate=after) as coordinator:
        assert shown(coordinator, job.id) == before
        await coordinator.wait_ended(job.id, WAIT_S)
        assert shown(coordinator, job.id) == before
        assert {(step.name, step.status) for step in steps(coordinator, job.id) if step.name in "ABCD"} == {
            ("A", StepStatus.FINISHED), ("B", StepStatus.FINISHED), ("C", StepStatus.FINISHED),
            ("D", StepStatus.NOT_STARTED),
        }  # fmt: skip


async def test_a_part_whose_time_had_come_when_the_clock_went_back_waited_for_ever(scratch: Scratch) -> None:
    """It had no room when it was to be tried again, and nobody looked after it any more."""
    fails.update("a")
    gate, clock = Gate(), Jumping()
    async with opened(scratch, *CATALOG, gate=gate, clock=clock) as coordinator:
        job = await coordinator.submit(Planned(which="again in one room"))
        await gate.wait_entered()
        async with asyncio.timeout(WAIT_S):
            while [row for row in commands(coordinator, job.id) if row.retry_at is not None]:
                await asyncio.sleep(0.01)
        clock.by_us = -HOUR_US
        gate.open.set()
        await job.result(timeout_s=WAIT_S)
    assert ran == ["a", "a"]
