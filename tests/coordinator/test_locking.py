"""Locks: who may hold what beside whom, for how long, and what a refusal says."""

import asyncio

import pytest
from sqlalchemy import select

from interlock import Command, Locks, Plan, Reader, Ref, Refused, Tx, exclusive, local, parallel, part, sequence, shared
from interlock.model.locks import LockMode
from interlock.model.records import LockRecord
from interlock.store import tables
from tests.coordinator.support import WAIT_S, Disk, Gate, Work, add_disk, job, locks, opened
from tests.databases import Scratch


class Look(Command[None], name="disk.look"):
    """Holds a disk together with others while it looks."""

    disk: Ref[Disk]
    function: str = "gate"

    def locks(self, db: Reader) -> Locks:
        return shared(self.disk)

    def execute(self, db: Tx) -> Plan:
        return part(local(self.function))


class Whole(Command[None], name="whole"):
    """Holds a disk and works on it in a child that wants the same, and in one that looks."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return shared(self.disk)

    def execute(self, db: Tx) -> Plan:
        return sequence(part(Work(disk=self.disk)), part(Look(disk=self.disk, function="noop")))


async def test_a_second_flow_on_a_ref_is_refused_and_learns_who_holds_it(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        first = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        assert locks(coordinator) == [
            LockRecord(ref, first.id, LockMode.EXCLUSIVE, first.id, locks(coordinator)[0].taken_at)
        ]
        with pytest.raises(Refused) as refused:
            await coordinator.submit(Work(disk=ref))
        assert refused.value.reasons == (f"disk d is locked by job {first.id} (disk.work); wait for it to end",)
        gate.open.set()
        assert await first.result(WAIT_S) == 1
        assert locks(coordinator) == []
        assert await (await coordinator.submit(Work(disk=ref))).result(WAIT_S) == 1


@pytest.mark.hard_case(15)
async def test_two_at_the_same_moment_cannot_both_hold_a_ref(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        answers = await asyncio.gather(
            *(coordinator.submit(Work(disk=ref, function="gate")) for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(each, Refused) for each in answers) == 9
        gate.open.set()


async def test_shared_goes_with_shared_only(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Look, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        looks = [await coordinator.submit(Look(disk=ref)) for _ in range(3)]
        assert {lock.flow_id for lock in locks(coordinator)} == {each.id for each in looks}
        with pytest.raises(Refused) as refused:
            await coordinator.submit(Work(disk=ref))
        assert len(refused.value.reasons) == 3
        gate.open.set()
        for each in looks:
            await each.result(WAIT_S)
        work = await coordinator.submit(Work(disk=ref, function="noop"))
        await work.result(WAIT_S)
        assert locks(coordinator) == []


async def test_within_a_flow_locks_are_entered_again_and_the_stronger_mode_counts(scratch: Scratch) -> None:
    async with opened(scratch, Look, Whole) as coordinator:
        ref = await add_disk(coordinator)
        await (await coordinator.submit(Whole(disk=ref))).result(WAIT_S)
        assert locks(coordinator) == []


@pytest.mark.hard_case(24)
async def test_a_shared_lock_of_another_prevents_the_stronger_one(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Look, Whole, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        look = await coordinator.submit(Look(disk=ref))
        whole = await coordinator.submit(Whole(disk=ref))
        row = await coordinator.wait_ended(whole.id, WAIT_S)
        assert f"disk d is locked by job {look.id}" in (row.failure_json or "")
        gate.open.set()


async def test_locks_survive_a_restart_and_go_with_their_flow(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
    again = Gate()
    async with opened(scratch, gate=again) as coordinator:
        with pytest.raises(Refused, match=str(work.id)):
            await coordinator.submit(Work(disk=ref))
        await again.wait_entered()
        again.open.set()
        await coordinator.wait_ended(work.id, WAIT_S)
        assert locks(coordinator) == []


async def test_a_refusal_frees_what_it_took(scratch: Scratch) -> None:
    class Two(Command[None], name="two"):
        disks: tuple[Ref[Disk], ...]

        def locks(self, db: Reader) -> Locks:
            return exclusive(*self.disks)

    gate = Gate()
    async with opened(scratch, Two, gate=gate) as coordinator:
        free, held = await add_disk(coordinator, "a"), await add_disk(coordinator, "b")
        work = await coordinator.submit(Work(disk=held, function="gate"))
        with pytest.raises(Refused):
            await coordinator.submit(Two(disks=(free, held)))
        assert [lock.ref for lock in locks(coordinator)] == [held]
        gate.open.set()
        await work.result(WAIT_S)


async def test_clients_see_the_lock_of_a_live_database(scratch: Scratch) -> None:
    """What a copy of the files shows is what was answered for."""
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=ref, function="gate"))
        copy = scratch.copy("copy")
        gate.open.set()
    again = Gate()
    async with opened(copy, gate=again) as coordinator:
        assert job(coordinator, work.id).ended_at is None
        with coordinator.reading() as connection:
            assert connection.scalars(select(tables.entity_locks.c.flow_id)).all() == [work.id]
        again.open.set()
        await coordinator.wait_ended(work.id, WAIT_S)


class Apart(Command[None], name="apart"):
    """Does the same work on a disk twice, arranged as the test says."""

    disk: Ref[Disk]
    how: str

    def execute(self, db: Tx) -> Plan:
        work = part(Work(disk=self.disk, function="noop"))
        arranged: dict[str, Plan] = {
            "side by side": parallel(work, work),
            "in turn": sequence(work, work),
            "one at a time": parallel(work, work, at_most=1),
            "within a group": parallel(work, part(sequence(part(local("noop")), work), best_effort=True)),
        }
        return arranged[self.how]


@pytest.mark.hard_case(24)
@pytest.mark.parametrize("how", ["side by side", "within a group"])
async def test_two_parts_that_would_work_on_one_ref_at_once_are_refused_before_either_begins(
    scratch: Scratch, how: str
) -> None:
    async with opened(scratch, Apart) as coordinator:
        ref = await add_disk(coordinator)
        with pytest.raises(Refused, match=rf"both need {ref}.*put them in a sequence"):
            await coordinator.submit(Apart(disk=ref, how=how))
        assert locks(coordinator) == []


@pytest.mark.hard_case(24)
@pytest.mark.parametrize("how", ["in turn", "one at a time"])
async def test_two_parts_that_work_on_one_ref_one_after_the_other_do_so(scratch: Scratch, how: str) -> None:
    async with opened(scratch, Apart) as coordinator:
        ref = await add_disk(coordinator)
        await (await coordinator.submit(Apart(disk=ref, how=how))).result(WAIT_S)
