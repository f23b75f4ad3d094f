"""End phases that fail, restoring, and flows that meet on one entity."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from interlock import (
    NOTHING,
    Command,
    CommandFailed,
    Failure,
    Local,
    Locks,
    Plan,
    Reader,
    Ref,
    Tx,
    exclusive,
    local,
    part,
)
from interlock.model.states import Result, State
from interlock.store import tables
from tests.coordinator.support import (
    WAIT_S,
    AddDisk,
    Call,
    Disk,
    Gate,
    Status,
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

#: how often the end phase below raises before it does its work
raises = 0
ran = 0


class Stubborn(Command[int], name="stubborn"):
    """Its end phase raises for a while."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"))

    def end_successfully(self, db: Tx) -> int:
        global raises, ran
        ran += 1
        db.put(replace(db.get(self.disk), size=77))  # forgotten when it raises
        if raises:
            raises -= 1
            raise ValueError("not yet")
        return ran


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    global raises, ran
    raises = ran = 0
    monkeypatch.setattr("interlock.core.retrying.END_RETRY_US", 1_000)


async def test_an_end_phase_that_raises_is_tried_again_until_it_tells_the_truth(scratch: Scratch) -> None:
    global raises
    raises = 3
    async with opened(scratch, Stubborn) as coordinator:
        ref = await add_disk(coordinator)
        submitted = await coordinator.submit(Stubborn(disk=ref))
        assert await submitted.result(WAIT_S) == 4
        [root] = commands(coordinator, submitted.id)
        assert (root.attempts, root.attention, disk(coordinator, ref).size) == (3, None, 77)


@pytest.mark.hard_case(20)
async def test_after_five_failures_a_person_is_asked_and_a_restart_tries_again(scratch: Scratch) -> None:
    global raises
    raises = 7
    async with opened(scratch, Stubborn) as coordinator:
        ref = await add_disk(coordinator)
        submitted = await coordinator.submit(Stubborn(disk=ref))
        parked = await until_job(coordinator, submitted.id, lambda row: row.attention is not None)
        assert parked.attention == "end_successfully of stubborn failed 5 times: end_successfully of stubborn " \
            "raised ValueError: not yet"  # fmt: skip
        [root] = commands(coordinator, submitted.id)
        assert (root.state, root.attempts, disk(coordinator, ref).size) == (State.FINALIZING, 5, 1)
        with pytest.raises(TimeoutError):
            await submitted.result(0.01)
    async with opened(scratch, Stubborn) as coordinator:
        ended = await coordinator.wait_ended(submitted.id, WAIT_S)
        assert (ended.result, ended.attention, ended.attempts, ran) == (Result.SUCCEEDED, None, 2, 8)
        assert job(coordinator, submitted.id).attention is None


# restoring ------------------------------------------------------------------------------------------


class Spoil(Command[None], name="spoil"):
    """Changes a disk, removes one, adds one; then its task fails."""

    changed: Ref[Disk]
    removed: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.changed), size=50, note="mine"))
        db.put(replace(db.get(self.changed), size=60, note="mine", status=Status.LOCKED))
        db.remove(self.removed)
        db.add(Disk(id=db.new(Disk).id, name="added"))
        return part(local("gate_and_fail"))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        db.restore()
        db.restore()  # twice is once
        return NOTHING


class Edit(Command[None], name="edit"):
    """Changes a disk's note, or the whole of another that has that name."""

    disk: Ref[Disk]
    note: str

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.disk), note=self.note))
        return NOTHING


def failing(gate: Gate) -> Local:
    """A function that waits at the gate and then fails."""

    async def gate_and_fail() -> None:
        await gate()
        raise OSError("no space")

    return Local("gate_and_fail", gate_and_fail, repeatable=True)


async def test_a_failed_command_puts_back_what_it_wrote(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Spoil, failing(gate)) as coordinator:
        changed, removed = await add_disk(coordinator, "a", 5), await add_disk(coordinator, "b", 6)
        before = disk(coordinator, changed), disk(coordinator, removed)
        submitted = await coordinator.submit(Spoil(changed=changed, removed=removed))
        await gate.wait_entered()
        assert disk(coordinator, changed) == replace(before[0], size=60, note="mine", status=Status.LOCKED)
        gate.open.set()
        await failure_of(submitted)
        assert (disk(coordinator, changed), disk(coordinator, removed)) == before
        with coordinator.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(tables.entities)) == 2
            assert connection.scalar(select(func.count()).select_from(tables.business_entity_snapshot)) == 0


@pytest.mark.hard_case(22)
async def test_what_others_changed_since_stays_and_is_reported(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Spoil, Edit, failing(gate)) as coordinator:
        changed, removed = await add_disk(coordinator, "a", 5), await add_disk(coordinator, "b", 6)
        submitted = await coordinator.submit(Spoil(changed=changed, removed=removed))
        await gate.wait_entered()
        await (await coordinator.submit(Edit(disk=changed, note="theirs"))).result(WAIT_S)
        with coordinator.reading() as connection:
            [added] = connection.scalars(select(tables.entities.c.id).where(tables.entities.c.name == "added"))
        await (await coordinator.submit(Edit(disk=Ref("disk", added), note="theirs"))).result(WAIT_S)
        gate.open.set()
        await failure_of(submitted)
        assert disk(coordinator, changed) == Disk(id=changed.id, name="a", size=5, note="theirs")
        told = [row.message for row in events(coordinator, submitted.id) if row.kind == "logged"]
        assert told == [
            f"disk:{added} was added and then changed by others; it stays",
            f"{changed}: note changed or taken by others since; not restored",
        ]


@pytest.mark.hard_case(22)
async def test_a_removed_entity_whose_name_was_taken_is_not_put_back_and_the_flow_ends(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Spoil, failing(gate)) as coordinator:
        changed, removed = await add_disk(coordinator, "a", 5), await add_disk(coordinator, "b", 6)
        submitted = await coordinator.submit(Spoil(changed=changed, removed=removed))
        await gate.wait_entered()
        taken = await add_disk(coordinator, "b", 9)
        gate.open.set()
        await failure_of(submitted)
        assert disk(coordinator, taken).size == 9
        told = [row.message for row in events(coordinator, submitted.id) if row.kind == "logged"]
        assert told == [f"{removed} is not restored: its name 'b' was taken by others since"]


# meeting on one entity ------------------------------------------------------------------------------


class Count(Command[int], name="count"):
    """Counts on a disk without locking it."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        found = db.get(self.disk)
        db.put(replace(found, size=found.size + 1))
        return part(local("noop"))

    def end_successfully(self, db: Tx) -> int:
        found = db.get(self.disk)
        db.put(replace(found, size=found.size + 1))
        return found.size


async def test_twenty_flows_that_write_one_entity_all_end_and_no_write_is_lost(scratch: Scratch) -> None:
    async with opened(scratch, Count) as coordinator:
        ref = await add_disk(coordinator, size=0)
        submitted = await asyncio.gather(*(coordinator.submit(Count(disk=ref)) for _ in range(20)))
        await asyncio.gather(*(each.result(WAIT_S) for each in submitted))
        assert disk(coordinator, ref).size == 40


async def test_a_flow_that_meets_others_too_often_runs_in_the_writer(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.coordinator.engine.CONFLICTS_MAX", -1)  # every run
    async with opened(scratch, Count) as coordinator:
        ref = await add_disk(coordinator, size=0)
        submitted = await asyncio.gather(*(coordinator.submit(Count(disk=ref)) for _ in range(8)))
        await asyncio.gather(*(each.result(WAIT_S) for each in submitted))
        assert disk(coordinator, ref).size == 16
        names = await asyncio.gather(
            *(coordinator.submit(AddDisk(disk_name="same")) for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(each, Exception) for each in names) == 7


async def test_a_function_that_is_cancelled_or_says_what_is_no_unicode_has_failed(scratch: Scratch) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    def exits() -> None:
        raise SystemExit(3)

    def odd() -> None:
        raise OSError("no file \udcff")

    def answers() -> str:
        return "\udcff"

    functions = [Local(each.__name__, each) for each in (cancelled, exits, odd, answers)]
    async with opened(scratch, *functions) as coordinator:
        for name, said in (("cancelled", "CancelledError: "), ("exits", "SystemExit: 3"), ("odd", "no file \\udcff")):
            with pytest.raises(CommandFailed) as failed:
                await (await coordinator.submit(Call(function=name))).result(WAIT_S)
            assert failed.value.failure.message.endswith(said)
        await (await coordinator.submit(Call(function="answers"))).result(WAIT_S)
        assert not coordinator.failed.done()
