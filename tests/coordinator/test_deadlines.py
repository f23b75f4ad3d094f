"""Deadlines of commands, parts and tasks: what is stopped, by which clock, and what the next engine makes of it."""

import asyncio
import threading
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from interlock import (
    NOTHING,
    Command,
    CommandFailed,
    Coordinator,
    Failure,
    InvalidInput,
    Local,
    Locks,
    Outcome,
    Plan,
    Reader,
    Ref,
    Refused,
    Result,
    Retry,
    Tx,
    exclusive,
    first_of,
    local,
    parallel,
    part,
    sequence,
)
from interlock.catalog import Catalog
from interlock.clock import SystemClock
from interlock.coordinator import deadlines
from interlock.coordinator.local_tasks import LocalTasks
from interlock.coordinator.preview import PreviewCommand
from interlock.coordinator.settings import Settings
from interlock.coordinator.watched import Patience
from interlock.core.facts import CommandOverdue, Fact
from interlock.model.records import Role, TaskRecord
from interlock.model.states import State
from interlock.secrets import Keyring
from interlock.store.tables import engines
from tests.coordinator.support import (
    WAIT_S,
    Call,
    Disk,
    Gate,
    Work,
    add_disk,
    commands,
    disk,
    events,
    failure_of,
    leftovers,
    locks,
    opened,
    tasks,
    until_job,
)
from tests.databases import Scratch

HOUR_US = 3_600_000_000


class Jumping(SystemClock):
    """A wall clock that a test sets; the monotonic one goes on."""

    def __init__(self, by_us: int = 0) -> None:
        self.by_us = by_us

    def now_us(self) -> int:
        return super().now_us() + self.by_us


class Telling(Command[None], name="telling"):
    """Says in its disk how it failed."""

    disk: Ref[Disk]
    function: str = "gate"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        return part(local(self.function), step="WORK")

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        told = [outcome for outcome in Outcome if failure.has(outcome)]
        db.put(replace(db.get(self.disk), note=", ".join(told)))
        return NOTHING


class Short(Command[None], name="short", timeout_s=0.05):
    """Has a deadline by its class."""

    def execute(self, db: Tx) -> Plan:
        return part(local("gate"))


class Waiting(Command[None], name="waiting"):
    """Waits for a disk."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk).waiting()


class OfWaiting(Command[None], name="of_waiting"):
    """A part that waits for a disk."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        return part(Waiting(disk=self.disk))


class Planned(Command[None], name="planned"):
    """Whatever plan the test has chosen."""

    which: str

    def execute(self, db: Tx) -> Plan:
        return PLANS[self.which]


gated, quick = part(local("gate")), part(local("noop"))
PLANS: dict[str, Plan] = {
    "a task": part(local("gate"), timeout_s=0.05),
    "a command": part(Call(function="gate"), timeout_s=0.05),
    "a group": part(sequence(gated, quick), timeout_s=0.05),
    "in a group": part(parallel(part(local("gate"), timeout_s=0.05), quick), timeout_s=3600.0),
    "best effort": sequence(part(local("gate"), timeout_s=0.05, best_effort=True), quick),
    "another": first_of(part(local("gate"), timeout_s=0.05), quick),
    "again": part(local("gate"), timeout_s=0.05, retry=Retry(2, 0.0)),
    "by the class": part(Short()),
    "not by the class": part(Short(), timeout_s=3600.0),
}
MEMBERS = (Telling, Short, Waiting, OfWaiting, Planned)


def rows_of_engines(coordinator: Coordinator) -> list[Any]:
    with coordinator.reading() as connection:
        return list(connection.execute(select(engines).order_by(engines.c.epoch)).all())


async def test_a_job_whose_time_is_over_is_stopped_and_its_failure_end_knows_why(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        job = await coordinator.submit(Telling(disk=ref), timeout_s=0.05)
        failure = await failure_of(job)
        [root], [task] = commands(coordinator, job.id), tasks(coordinator, job.id)
        assert (root.started_at or 0) + 50_000 == root.deadline_at
        assert (task.outcome, task.message, task.deadline_at) == (Outcome.STOPPED, "its coroutine was cancelled", None)
        assert failure.message == (
            "the time of telling was over, 0.05 s after it began; "
            "gate on this process was stopped: its coroutine was cancelled"
        )
        assert disk(coordinator, ref).note == "STOPPED"
        assert (leftovers(coordinator, job.id), locks(coordinator)) == ([], [])
        [passed] = [event for event in events(coordinator, job.id) if event.kind == "deadline_passed"]
        assert (passed.severity, passed.command_id, passed.task_id) == ("warning", job.id, None)


@pytest.mark.parametrize("which", ["a task", "a command", "a group", "in a group", "by the class"])
async def test_whatever_a_part_is_it_may_have_a_deadline(scratch: Scratch, which: str) -> None:
    async with opened(scratch, *MEMBERS, gate=Gate()) as coordinator:
        job = await coordinator.submit(Planned(which=which))
        failure = await failure_of(job)
        assert failure.has(Outcome.STOPPED)
        assert "was over, 0.05 s after it began" in failure.message
        assert [event.kind for event in events(coordinator, job.id)].count("deadline_passed") == 1


@pytest.mark.parametrize("which", ["best effort", "another"])
async def test_a_deadline_of_a_part_is_none_of_the_others(scratch: Scratch, which: str) -> None:
    async with opened(scratch, *MEMBERS, gate=Gate()) as coordinator:
        job = await coordinator.submit(Planned(which=which))
        await job.result(WAIT_S)
        assert [task.outcome for task in tasks(coordinator, job.id)] == [Outcome.STOPPED, Outcome.SUCCEEDED]


async def test_each_attempt_has_its_own_time(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        job = await coordinator.submit(Planned(which="again"))
        await failure_of(job)
        assert [task.outcome for task in tasks(coordinator, job.id)] == [Outcome.STOPPED] * 2
        assert gate.entries == 2


async def test_a_part_may_have_more_time_than_its_class_gives(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        job = await coordinator.submit(Planned(which="not by the class"))
        await gate.wait_entered()
        gate.open.set()
        await job.result(WAIT_S)
        [_, short] = commands(coordinator, job.id)
        assert short.deadline_at == (short.started_at or 0) + HOUR_US


async def test_a_preview_shows_what_time_there_is(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS, gate=Gate()) as coordinator:
        seen = await coordinator.plan(Planned(which="in a group"))
        [group] = seen.command.parts
        assert isinstance(group, PreviewCommand)
        assert [each.timeout_s for each in (seen.command, group, *group.parts)] == [None, 3600.0, 0.05, None]
        assert (await coordinator.plan(Short())).command.timeout_s == 0.05


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), float("inf")])
async def test_a_time_that_nothing_can_take_is_refused(scratch: Scratch, timeout_s: float) -> None:
    with pytest.raises(ValueError, match="must be more than 0"):
        part(local("noop"), timeout_s=timeout_s)
    async with opened(scratch) as coordinator:
        with pytest.raises(InvalidInput, match="must be more than 0"):
            await coordinator.submit(Call(), timeout_s=timeout_s)


async def test_time_does_not_begin_before_the_command_does(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        waiting = await coordinator.submit(Waiting(disk=ref), timeout_s=3600)
        [root] = commands(coordinator, waiting.id)
        assert (root.state, root.deadline_at) == (State.PENDING, None)
        gate.open.set()
        await holder.result(WAIT_S)
        await waiting.result(WAIT_S)
        [root] = commands(coordinator, waiting.id)
        assert root.deadline_at == (root.started_at or 0) + HOUR_US


async def test_a_part_that_waits_for_a_lock_when_time_is_over_never_begins(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        job = await coordinator.submit(OfWaiting(disk=ref), timeout_s=0.05)
        failure = await failure_of(job)
        assert failure.message == "the time of of_waiting was over, 0.05 s after it began; 1 of 1 parts never began"
        assert failure.has(Outcome.STOPPED)
        [_, waiting] = commands(coordinator, job.id)
        assert (waiting.result, waiting.started_at) == (Result.CANCELLED, None)
        gate.open.set()
        await holder.result(WAIT_S)
        await (await coordinator.submit(Waiting(disk=ref))).result(WAIT_S)


# threads --------------------------------------------------------------------------------------------


class Thread:
    """A plain function that waits to be let through."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.open.wait(WAIT_S)
        return "through"

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, WAIT_S)


async def test_a_thread_cannot_be_stopped_and_what_it_did_counts(scratch: Scratch) -> None:
    thread = Thread()
    async with opened(scratch, *MEMBERS, Local("thread", thread)) as coordinator:
        ref = await add_disk(coordinator)
        job = await coordinator.submit(Telling(disk=ref, function="thread"))
        await thread.wait_entered()
        coordinator._engine.tell(job.id, CommandOverdue(job.id))
        await until_job(coordinator, job.id, lambda row: commands(coordinator, job.id)[0].stopping is not None)
        thread.open.set()
        await job.result(WAIT_S)
        assert commands(coordinator, job.id)[0].has_warnings
        assert [event.kind for event in events(coordinator, job.id)][-2:] == ["succeeded_late", "job_ended"]


async def test_a_thread_that_does_not_end_is_of_unknown_fate_and_keeps_its_refs(scratch: Scratch) -> None:
    thread = Thread()
    settings = Settings(patience=Patience(stop_s=0.05))
    async with opened(scratch, *MEMBERS, Local("thread", thread), settings=settings) as coordinator:
        ref = await add_disk(coordinator)
        job = await coordinator.submit(Telling(disk=ref, function="thread"))
        await thread.wait_entered()
        coordinator._engine.tell(job.id, CommandOverdue(job.id))
        failure = await failure_of(job)
        assert failure.has(Outcome.UNKNOWN)
        [left] = leftovers(coordinator, job.id)
        assert "it was to stop and has not ended within 0.05 s" in left.reason
        with pytest.raises(Refused, match="blocked by leftover"):
            await coordinator.submit(Telling(disk=ref))
        thread.open.set()
        await coordinator.clear_leftover(left.id, by="ann", reason="it has ended")


def test_what_is_stopped_before_its_first_step_is_over_too() -> None:
    told: list[Fact] = []
    ran: list[str] = []

    async def act() -> None:
        ran.append("act")

    id = UUID(int=1)
    task = TaskRecord(
        id, id, id, "c", Role.FORWARD, None, 0, None, "act", "{}", (), True, True, None, 1, False, 0,
    )  # fmt: skip

    async def both_at_once() -> None:
        catalog = Catalog(Local("act", act))
        functions = LocalTasks(catalog, Keyring.ephemeral(), lambda _, fact: told.append(fact), 5.0)
        functions.take(task, fresh=True)
        functions.take(replace(task, stopping="enough"), fresh=True)
        async with asyncio.timeout(WAIT_S):
            while not told:
                await asyncio.sleep(0)
        await functions.stop()

    asyncio.run(both_at_once())
    assert ([(fact.outcome, fact.message) for fact in told], ran) == (  # type: ignore[union-attr]
        [(Outcome.STOPPED, "it was stopped before it began")], [],
    )  # fmt: skip


# clocks and crashes -----------------------------------------------------------------------------------


@pytest.mark.hard_case(27)
@pytest.mark.parametrize("by_us", [2 * HOUR_US, -2 * HOUR_US])
async def test_a_wall_clock_that_jumps_passes_no_deadline(scratch: Scratch, by_us: int) -> None:
    gate, clock = Gate(), Jumping()
    async with opened(scratch, gate=gate, clock=clock) as coordinator:
        job = await coordinator.submit(Call(function="gate"), timeout_s=60.0)
        await gate.wait_entered()
        clock.by_us = by_us
        for _ in range(3):
            await (await coordinator.submit(Call())).result(WAIT_S)
        assert commands(coordinator, job.id)[0].stopping is None
        gate.open.set()
        await job.result(WAIT_S)


@pytest.mark.hard_case(27)
@pytest.mark.parametrize("by_us", [10 * HOUR_US, -10 * HOUR_US])
async def test_the_time_in_which_no_engine_ran_is_not_counted(scratch: Scratch, by_us: int) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        job = await coordinator.submit(Call(function="gate"), timeout_s=60.0)
        await gate.wait_entered()
        copy = scratch.copy("crashed")
        [before] = commands(coordinator, job.id)
        seen_at = rows_of_engines(coordinator)[-1].seen_at
        gate.open.set()
        await job.result(WAIT_S)
    gate = Gate()
    async with opened(copy, gate=gate, clock=Jumping(by_us)) as coordinator:
        await gate.wait_entered()
        [after] = commands(coordinator, job.id)
        started_at = rows_of_engines(coordinator)[-1].started_at
        assert (after.deadline_at or 0) - (before.deadline_at or 0) == started_at - seen_at
        assert after.stopping is None
        gate.open.set()
        await coordinator.wait_ended(job.id, WAIT_S)


@pytest.mark.hard_case(27)
async def test_what_time_was_left_is_counted_by_the_next_engine(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        job = await coordinator.submit(Call(function="gate"), timeout_s=1.0)
        await gate.wait_entered()
    async with opened(scratch, gate=gate, clock=Jumping(HOUR_US)) as coordinator:
        ended = await coordinator.wait_ended(job.id, WAIT_S)
        assert ended.result is Result.FAILED
        assert [task.outcome for task in tasks(coordinator, job.id)] == [Outcome.STOPPED]


@pytest.mark.parametrize(("repeatable", "outcome"), [(True, Outcome.STOPPED), (False, Outcome.LOST)])
async def test_a_function_that_was_to_stop_when_the_engine_died_is_not_run_again(
    scratch: Scratch, repeatable: bool, outcome: Outcome
) -> None:
    thread = Thread()
    function = Local("thread", thread, repeatable=repeatable)
    async with opened(scratch, *MEMBERS, function) as coordinator:
        job = await coordinator.submit(Call(function="thread"))
        await thread.wait_entered()
        coordinator._engine.tell(job.id, CommandOverdue(job.id))
        await until_job(coordinator, job.id, lambda row: commands(coordinator, job.id)[0].stopping is not None)
        copy = scratch.copy("crashed")
        thread.open.set()
        await job.result(WAIT_S)
    thread.entered.clear()
    async with opened(copy, *MEMBERS, function) as coordinator:
        ended = await coordinator.wait_ended(job.id, WAIT_S)
        assert ended.result is Result.FAILED
        assert [task.outcome for task in tasks(coordinator, job.id)] == [outcome]
        assert not thread.entered.is_set()


async def test_while_a_deadline_is_open_the_engine_is_seen(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "SEEN_EVERY_S", 0.02)
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        job = await coordinator.submit(Call(function="gate"), timeout_s=3600.0)
        await gate.wait_entered()
        first = rows_of_engines(coordinator)[-1].seen_at
        async with asyncio.timeout(WAIT_S):
            while rows_of_engines(coordinator)[-1].seen_at == first:
                await asyncio.sleep(0.01)
        gate.open.set()
        await job.result(WAIT_S)
        assert coordinator._engine._waking._deadlines._timers == {}
        assert coordinator._engine._waking._deadlines._flows == {}


async def test_a_failure_that_was_stored_before_has_no_outcome(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        job = await coordinator.submit(Call(function="broken"))
        with pytest.raises(CommandFailed) as failed:
            await job.result(WAIT_S)
        assert failed.value.failure.has(Outcome.FAILED)
    old = '{"message":"m","causes":[{"message":"c","path":[],"refs":[],"host":null,"code":null,"remedy":null,'
    read = Failure.from_json(old + '"leftover":false}]}')
    assert not any(map(read.has, Outcome))
