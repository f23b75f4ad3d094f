"""Hard cases that no other test here shows: skew, what a wait outdates, slow phases, when undoing begins."""

import asyncio
import threading
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    NOTHING,
    Command,
    Coordinator,
    Failure,
    Locks,
    Plan,
    Reader,
    Ref,
    Refusals,
    Tx,
    exclusive,
    local,
    parallel,
    part,
    refuse,
)
from interlock.coordinator import workers
from interlock.model.states import State
from interlock.store import tables
from tests.coordinator.support import (
    WAIT_S,
    Disk,
    Gate,
    Work,
    add_disk,
    commands,
    disk,
    events,
    failure_of,
    job,
    opened,
    until_job,
)
from tests.databases import Scratch

#: where the first runs of two phases meet, each having read what the other is about to write
meeting = threading.Barrier(2)
#: what was undone, and what else went on by then
undone: list[str] = []
slow, go_on = threading.Event(), threading.Event()


@pytest.fixture(autouse=True)
def _nobody_has_met() -> Iterator[None]:
    meeting.reset()
    slow.clear()
    go_on.clear()
    undone.clear()
    yield
    go_on.set()


class GoOff(Command[None], name="go_off"):
    """Marks its disk, unless the other one is marked: never both."""

    disk: Ref[Disk]
    other: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        mine, other = db.get(self.disk), db.get(self.other)
        if not mine.note and not other.note:
            meet()
        if other.note:
            raise ValueError(f"{other.name} is off already")
        db.put(replace(mine, note="off"))
        return NOTHING


def meet() -> None:
    """Both are here before either goes on; later runs, which come alone, go on."""
    try:
        meeting.wait(2.0)
    except threading.BrokenBarrierError:
        return


@pytest.mark.hard_case(15)
async def test_of_two_that_each_read_what_the_other_writes_one_sees_it(scratch: Scratch) -> None:
    """Neither locks anything: what holds is that what was read has the same version at the commit."""
    async with opened(scratch, GoOff) as coordinator:
        one, two = await add_disk(coordinator, "one"), await add_disk(coordinator, "two")
        jobs = await asyncio.gather(
            coordinator.submit(GoOff(disk=one, other=two)), coordinator.submit(GoOff(disk=two, other=one))
        )
        ends = [(await coordinator.wait_ended(each.id, WAIT_S)).result for each in jobs]
        assert sorted(map(str, ends)) == ["FAILED", "SUCCEEDED"]
        assert sorted(disk(coordinator, each).note for each in (one, two)) == ["", "off"]


class Small(Work, name="small"):
    """Waits for a disk, and works on it only while it is small."""

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk).waiting()

    def validate(self, db: Reader) -> Refusals:
        if db.get(self.disk).size > 1:
            yield refuse("the disk is not small any more; take another")


class Grow(Work, name="grow"):
    """Holds a disk, which is larger in the end."""

    def end_successfully(self, db: Tx) -> int:
        db.put(replace(db.get(self.disk), size=9))
        return 9


@pytest.mark.hard_case(15)
async def test_what_was_valid_before_a_wait_is_asked_again_after_it(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Small, Grow, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        grow = await coordinator.submit(Grow(disk=ref, function="gate"))
        await gate.wait_entered()
        small = await coordinator.submit(Small(disk=ref))
        assert commands(coordinator, small.id)[0].state is State.PENDING
        gate.open.set()
        assert await grow.result(WAIT_S) == 9
        assert "not small any more" in (await failure_of(small)).message
        assert disk(coordinator, ref).size == 9


class Slow(Command[None], name="slow"):
    """Its end phase takes its time."""

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"))

    def end_successfully(self, db: Tx) -> None:
        slow.set()
        go_on.wait(WAIT_S)


@pytest.mark.hard_case(13)
async def test_a_slow_phase_is_named_while_others_go_on(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, logs: list[MutableMapping[str, Any]]
) -> None:
    monkeypatch.setattr(workers, "OVERDUE_S", 0.01)
    async with opened(scratch, Slow) as coordinator:
        submitted = await coordinator.submit(Slow())
        assert await asyncio.to_thread(slow.wait, WAIT_S)
        await asyncio.gather(*(add_disk(coordinator, f"d{number}") for number in range(20)))
        async with asyncio.timeout(WAIT_S):
            while {"event": "run_is_slow", "flow": str(submitted.id), "log_level": "warning"} not in logs:
                await asyncio.sleep(0.01)
        assert job(coordinator, submitted.id).ended_at is None
        go_on.set()
        await submitted.result(WAIT_S)
        await until_told(coordinator, submitted.id, "run_was_slow")


async def until_told(coordinator: Coordinator, id: UUID, kind: str) -> None:
    """Waits until the job has told of such an event."""
    async with asyncio.timeout(WAIT_S):
        while kind not in [row.kind for row in events(coordinator, id)]:
            await asyncio.sleep(0.01)


class Make(Command[None], name="make"):
    """Can be undone."""

    def execute(self, db: Tx) -> Plan:
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        undone.append("make")
        return NOTHING


class Call(Command[None], name="part.call"):
    function: str

    def execute(self, db: Tx) -> Plan:
        return part(local(self.function))


class Three(Command[None], name="three"):
    """One part that completes, one that fails, and one that goes on for a while."""

    def execute(self, db: Tx) -> Plan:
        return parallel(part(Make()), part(Call(function="broken")), part(Call(function="gate")))


@pytest.mark.hard_case(21)
async def test_nothing_is_undone_while_another_part_still_runs(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Three, Make, Call, gate=gate) as coordinator:
        three = await coordinator.submit(Three())
        await gate.wait_entered()
        async with asyncio.timeout(WAIT_S):
            while [str(each.result) for each in commands(coordinator, three.id)[1:]].count("FAILED") != 1:
                await asyncio.sleep(0.01)
        await add_disk(coordinator)  # a whole flow later
        assert undone == []
        gate.open.set()
        await failure_of(three)
        assert undone == ["make"]


class Mend(Command[None], name="mend"):
    """Fails; its failure end would wait for a disk."""

    disk_name: str

    def execute(self, db: Tx) -> Plan:
        return part(local("broken"))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        disk = db.named(Disk, self.disk_name)
        assert disk is not None
        return part(Small(disk=disk.ref))


@pytest.mark.hard_case(23)
async def test_an_end_phase_waits_for_no_lock_and_says_who_has_it(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.core.retrying.END_RETRY_US", 1_000)
    gate = Gate()
    async with opened(scratch, Mend, Small, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        mend = await coordinator.submit(Mend(disk_name="d"))
        row = await until_job(coordinator, mend.id, lambda row: row.attention is not None)
        assert f"disk d is locked by job {work.id}" in (row.attention or "")
        with coordinator.reading() as connection:
            assert connection.execute(tables.lock_tickets.select()).all() == []
        gate.open.set()
        await work.result(WAIT_S)
