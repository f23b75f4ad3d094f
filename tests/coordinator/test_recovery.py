"""Crashes and restarts: what goes on from the rows alone. A copy of the live files stands for the crash."""

import asyncio
import threading
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    Command,
    CommandFailed,
    Local,
    Locks,
    Missing,
    NotOwner,
    Outcome,
    Plan,
    Reader,
    Ref,
    Refused,
    Result,
    Tx,
    exclusive,
    local,
    parallel,
    part,
    sequence,
)
from interlock.catalog import Catalog
from interlock.coordinator.change_set import World
from interlock.coordinator.runner import Runner
from interlock.coordinator.snapshot import Snapshot
from interlock.ids import new_id
from interlock.model.states import State, TaskState
from interlock.secrets import Keyring
from tests.coordinator.support import (
    WAIT_S,
    Disk,
    Gate,
    Status,
    Work,
    add_disk,
    commands,
    disk,
    events,
    gate_function,
    job,
    leftovers,
    locks,
    opened,
    tasks,
    until_job,
)
from tests.core.playing import Play
from tests.core.shapes import START, Spec
from tests.databases import Scratch


async def crashed_at_gate(scratch: Scratch, *, repeatable: bool) -> tuple[Scratch, Any, Ref[Disk]]:
    """The files of a coordinator that died while a local function ran; the job and its disk."""
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=ref, function="gate"), correlation_id="c1")
        await gate.wait_entered()
        copy = scratch.copy("crashed")
        gate.open.set()
        await work.result(WAIT_S)
    return copy, work.id, ref


@pytest.mark.hard_case(10)
async def test_a_repeatable_function_is_run_again_after_a_crash(scratch: Scratch) -> None:
    copy, id, ref = await crashed_at_gate(scratch, repeatable=True)
    gate = Gate()
    gate.open.set()
    async with opened(copy, gate=gate) as coordinator:
        ended = await coordinator.wait_ended(id, WAIT_S)
        assert (ended.result, gate.entries, disk(coordinator, ref).status) == (Result.SUCCEEDED, 1, Status.OK)
        row = job(coordinator, id)
        assert (row.term, row.claims, row.correlation_id) == (2, 0, "c1")
        assert [each.kind for each in events(coordinator, id)].count("flow_claimed") == 1


async def lost(scratch: Scratch) -> tuple[Scratch, Any, Ref[Disk]]:
    """A database in which a function was lost in a crash."""
    copy, id, ref = await crashed_at_gate(scratch, repeatable=False)
    gate = Gate()
    async with opened(copy, gate=gate, repeatable=False) as coordinator:
        ended = await coordinator.wait_ended(id, WAIT_S)
        assert (ended.result, ended.has_leftovers, gate.entries) == (Result.FAILED, True, 0)
        [task] = tasks(coordinator, id)
        assert (task.outcome, task.state) == (Outcome.LOST, TaskState.CLEARED)
        # nothing is restored that the function may still touch
        assert disk(coordinator, ref).status is Status.LOCKED
    return copy, id, ref


@pytest.mark.hard_case(5, 10)
async def test_a_function_that_is_not_repeatable_is_lost_and_its_refs_stay_refused(scratch: Scratch) -> None:
    copy, id, ref = await lost(scratch)
    async with opened(copy) as coordinator:
        [leftover] = leftovers(coordinator, id)
        assert (leftover.refs, leftover.host) == ((ref,), "this process")
        with pytest.raises(Refused) as refused:
            await coordinator.submit(Work(disk=ref))
        [reason] = refused.value.reasons
        assert f"disk d is blocked by leftover {leftover.id} of job {id}" in reason
        assert f"interlock leftover clear {leftover.id}" in reason


async def test_a_person_clears_a_leftover_once_and_says_why(scratch: Scratch) -> None:
    copy, id, ref = await lost(scratch)
    async with opened(copy) as coordinator:
        [leftover] = leftovers(coordinator, id)
        with pytest.raises(Refused, match="say why"):
            await coordinator.clear_leftover(leftover.id, by="ann", reason=" ")
        await coordinator.clear_leftover(leftover.id, by="ann", reason="looked at it")
        [cleared] = leftovers(coordinator, id)
        assert (cleared.cleared_by, cleared.cleared_reason) == ("ann", "looked at it")
        assert cleared.cleared_at is not None
        told = events(coordinator, id)[-1]
        assert (told.kind, told.user, told.task_id) == ("leftover_cleared", "ann", leftover.task_id)
        assert locks(coordinator) == []
        assert await (await coordinator.submit(Work(disk=ref))).result(WAIT_S) == 1
        with pytest.raises(Refused, match="was cleared already, by ann"):
            await coordinator.clear_leftover(leftover.id, by="bob", reason="again")
        with pytest.raises(Missing, match="there is no leftover"):
            await coordinator.clear_leftover(id, by="bob", reason="no such thing")


class Twice(Command[None], name="twice"):
    """Two functions at once that touch one disk."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        return parallel(part(local("gate")), part(local("gate")))


@pytest.mark.hard_case(5)
async def test_a_ref_with_two_leftovers_is_refused_until_both_are_cleared(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Twice, gate=gate, repeatable=False) as coordinator:
        ref = await add_disk(coordinator)
        submitted = await coordinator.submit(Twice(disk=ref))
        await gate.wait_entered()
        await gate.wait_entered()
    async with opened(scratch, Twice, gate=gate, repeatable=False) as coordinator:
        await coordinator.wait_ended(submitted.id, WAIT_S)
        [lock] = locks(coordinator)
        both = sorted(leftovers(coordinator, submitted.id), key=lambda row: row.id != lock.leftover_id)
        assert len(both) == 2
        for leftover in both:  # first the one that the lock names
            with pytest.raises(Refused, match="is blocked by leftover"):
                await coordinator.submit(Work(disk=ref))
            await coordinator.clear_leftover(leftover.id, by="ann", reason="looked")
        await (await coordinator.submit(Work(disk=ref))).result(WAIT_S)


@pytest.mark.hard_case(16)
async def test_a_leftover_cleared_while_its_flow_is_under_way_loses_no_answer(scratch: Scratch) -> None:
    """An errand and a task's answer once came together, and the answer was forgotten."""
    held, free = Gate(), Gate()

    class Mixed(Command[None], name="mixed"):
        def execute(self, db: Tx) -> Plan:
            return parallel(part(local("once")), part(local("held")))

    members = (Mixed, Local("once", gate_function(free)), Local("held", gate_function(held), repeatable=True))
    async with opened(scratch, *members) as coordinator:
        submitted = await coordinator.submit(Mixed())
        await free.wait_entered()
        await held.wait_entered()
    async with opened(scratch, *members) as coordinator:
        await held.wait_entered()
        await until_job(coordinator, submitted.id, lambda row: bool(leftovers(coordinator, submitted.id)))
        [leftover] = leftovers(coordinator, submitted.id)
        held.open.set()  # its answer may come while the errand is on its way, before or after
        await coordinator.clear_leftover(leftover.id, by="ann", reason="looked")
        assert (await coordinator.wait_ended(submitted.id, WAIT_S)).result is Result.FAILED
        assert leftovers(coordinator, submitted.id)[0].cleared_by == "ann"


class Chain(Command[None], name="chain"):
    """Two stages, each of which may wait at the gate."""

    def execute(self, db: Tx) -> Plan:
        return sequence(part(Stage(number=1)), part(Stage(number=2)), part(Stage(number=3)))


class Stage(Command[None], name="stage"):
    number: int

    def execute(self, db: Tx) -> Plan:
        return part(local("gate"))


async def test_a_sequence_goes_on_where_it_stood(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Chain, Stage, gate=gate) as coordinator:
        chain = await coordinator.submit(Chain())
        await gate.wait_entered()
        first = scratch.copy("first")
        gate.open.set()
        await chain.result(WAIT_S)
    after = Gate()
    after.open.set()
    async with opened(first, Chain, Stage, gate=after) as coordinator:
        await coordinator.wait_ended(chain.id, WAIT_S)
        assert [row.ended_seq for row in commands(coordinator, chain.id)] == [4, 1, 2, 3]
        assert after.entries == 3


entered, released = threading.Semaphore(0), threading.Event()


class Poison(Command[None], name="poison"):
    """Its end phase is where engines die."""

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"))

    def end_successfully(self, db: Tx) -> None:
        entered.release()
        released.wait(WAIT_S)


@pytest.mark.hard_case(14)
async def test_a_flow_that_kills_engine_after_engine_is_parked_before_any_phase(scratch: Scratch) -> None:
    crashed = scratch
    for life in range(4):
        released.clear()
        async with opened(crashed, Poison) as coordinator:
            if life == 0:
                poison = await coordinator.submit(Poison())
            assert await asyncio.to_thread(entered.acquire, timeout=WAIT_S)
            assert (job(coordinator, poison.id).claims, job(coordinator, poison.id).attention) == (life, None)
            crashed = crashed.copy(f"crash{life}")
            released.set()
            await coordinator.wait_ended(poison.id, WAIT_S)
    async with opened(crashed, Poison) as coordinator:
        row = await until_job(coordinator, poison.id, lambda row: row.attention is not None)
        assert (row.attention or "").startswith("3 engines died while they ran this flow")
        await add_disk(coordinator, "other")
        assert commands(coordinator, poison.id)[0].state is State.EXECUTING
        assert not entered.acquire(blocking=False)


@pytest.mark.hard_case(14)
def test_a_run_that_changes_nothing_takes_back_its_own_attempt_only() -> None:
    """Looking at a taken-over flow once counted as its progress, and one that kills later was never parked."""
    catalog = Catalog()
    flow = Play(Spec()).flow
    flow.put_job(replace(flow.job, claims=2))
    flow.committed()
    world = World(catalog, Keyring.ephemeral(), new_id, lambda host: None)

    def no_database() -> Any:
        raise AssertionError("a run without facts reads nothing")

    for claims in (1, 0):
        change_set = Runner(world, flow, Snapshot(no_database, catalog), START).change_set()
        assert change_set is not None
        assert flow.job.claims == claims
        flow.committed()
    assert Runner(world, flow, Snapshot(no_database, catalog), START).change_set() is None


async def test_a_second_owner_is_refused_and_told_who_has_the_file(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        with pytest.raises(NotOwner, match="is in use by"):
            async with opened(scratch):
                raise AssertionError("two own one file")
        await add_disk(coordinator)


# changed code ---------------------------------------------------------------------------------------


@pytest.mark.hard_case(29)
async def test_a_flow_whose_class_is_gone_waits_for_a_person_and_comes_back_with_it(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Chain, Stage, gate=gate) as coordinator:
        chain = await coordinator.submit(Chain())
        await gate.wait_entered()
    for _ in range(2):
        async with opened(scratch, Stage, gate=Gate()) as coordinator:
            row = await until_job(coordinator, chain.id, lambda row: row.attention is not None)
            assert row.attention == "the class of command chain is gone; install the code that has it and restart"
            assert row.ended_at is None
    back = Gate()
    back.open.set()
    async with opened(scratch, Chain, Stage, gate=back) as coordinator:
        ended = await coordinator.wait_ended(chain.id, WAIT_S)
        assert (ended.result, ended.attention) == (Result.SUCCEEDED, None)


class OldResize(Command[int], name="disk.resize"):
    """Version 1: gigabytes as text."""

    disk: Ref[Disk]
    gigabytes: str

    def execute(self, db: Tx) -> Plan:
        return part(local("gate"))


def in_bytes(old: dict[str, Any]) -> dict[str, Any]:
    return {"disk": old["disk"], "size": int(old["gigabytes"]) * 2**30}


class NewResize(Command[int], name="disk.resize", version=2, upgrades={1: in_bytes}):
    """Version 2: bytes."""

    disk: Ref[Disk]
    size: int

    def execute(self, db: Tx) -> Plan:
        return part(local("gate"))

    def end_successfully(self, db: Tx) -> int:
        return self.size


@pytest.mark.hard_case(29)
async def test_parameters_of_an_older_version_are_upgraded_for_an_open_flow(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, OldResize, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        resize = await coordinator.submit(OldResize(disk=ref, gigabytes="3"))
        await gate.wait_entered()
    gate.open.set()
    async with opened(scratch, NewResize, gate=gate) as coordinator:
        ended = await coordinator.wait_ended(resize.id, WAIT_S)
        assert (ended.result, ended.value_json, ended.version) == (Result.SUCCEEDED, str(3 * 2**30), 1)


@pytest.mark.hard_case(29)
async def test_a_flow_of_newer_code_waits_for_it(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, NewResize, gate=gate) as coordinator:
        resize = await coordinator.submit(NewResize(disk=await add_disk(coordinator), size=3))
        await gate.wait_entered()
    async with opened(scratch, OldResize, gate=gate) as coordinator:
        row = await until_job(coordinator, resize.id, lambda row: row.attention is not None)
        assert row.attention == "disk.resize is stored as version 2, this code knows 1; upgrade it"


async def test_an_answer_that_came_before_a_crash_is_not_asked_for_again(scratch: Scratch) -> None:
    gate = Gate()
    gate.open.set()
    async with opened(scratch, gate=gate) as coordinator:
        work = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await work.result(WAIT_S)
    async with opened(scratch, gate=gate) as coordinator:
        assert (await coordinator.wait_ended(work.id, WAIT_S)).result is Result.SUCCEEDED
        assert gate.entries == 1
        with pytest.raises(Missing):
            await coordinator.wait_ended(Ref("job", UUID(int=1)).id, WAIT_S)


async def test_a_stopped_coordinator_starts_nothing_more(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        job_of = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await gate.wait_entered()
    assert gate.entries == 1
    with pytest.raises((CommandFailed, Exception), match="stopped"):
        await coordinator.submit(Work(disk=Ref("disk", job_of.id)))
