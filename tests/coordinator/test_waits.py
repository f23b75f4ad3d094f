"""Waits on entities: looked at when what they watch is written, by whomever, and after a restart."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    NOTHING,
    Command,
    Coordinator,
    Decision,
    Entity,
    Failure,
    InvalidInput,
    Locks,
    Monitor,
    Outcome,
    Plan,
    Reader,
    Ref,
    Refused,
    Result,
    Tx,
    local,
    parallel,
    part,
    sequence,
    shared,
    until,
)
from interlock.model.records import TaskRecord
from interlock.model.states import State, StepStatus, TaskState
from tests.coordinator.support import (
    WAIT_S,
    Disk,
    Gate,
    add_disk,
    commands,
    failure_of,
    job,
    leftovers,
    opened,
    steps,
    tasks,
    until_job,
)
from tests.databases import Scratch


class WaitUntil(Command[int], name="wait.until"):
    """Waits until a disk is as large as wanted; a note on it fails the wait."""

    disk: Ref[Disk]
    size: int
    grouped: bool = False

    def locks(self, db: Reader) -> Locks:
        return shared(self.disk)

    def execute(self, db: Tx) -> Plan:
        wait = part(until(self.is_large, watch=self.disk), step="GROW")
        return sequence(part(local("noop")), wait, part(local("noop"))) if self.grouped else wait

    def is_large(self, db: Reader) -> bool | Failure:
        disk = db.get(self.disk)
        if disk.note == "wrong":
            return "very"  # type: ignore[return-value]  # what a careless author writes
        if disk.note == "raises":
            raise ValueError("no way to tell")
        return Failure(f"it is {disk.note}") if disk.note else disk.size >= self.size

    def end_successfully(self, db: Tx) -> int:
        return db.get(self.disk).size


class Grow(Command[None], name="grow"):
    """A command that writes what others wait for."""

    disk: Ref[Disk]
    size: int

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.disk), size=self.size))
        return NOTHING


def observed(db: Tx, subject: Ref[Any], report: dict[str, int | str]) -> None:
    """A monitor: what it is told goes into the disk."""
    if report.get("note") == "refuse":
        raise Refused("this is not believed")
    if report.get("note") == "tasks":
        db.tasks(Grow(disk=subject, size=1))
    disk = db.get(subject)
    wanted = replace(disk, **report)
    if wanted != disk:
        db.put(wanted)


MEMBERS = (WaitUntil, Grow, Monitor("disks", observed))


async def until_waits(coordinator: Coordinator, id: Any, count: int = 1) -> None:
    """Until so many waits of a job have begun, about which no event tells."""
    async with asyncio.timeout(WAIT_S):
        while sum(task.wait_json is not None for task in tasks(coordinator, id)) < count:
            await asyncio.sleep(0.01)


async def watching(coordinator: Coordinator, id: Any) -> TaskRecord:
    """The wait of a job, as soon as it is under way."""
    await until_job(coordinator, id, lambda row: any(task.wait_json for task in tasks(coordinator, id)))
    [task] = [task for task in tasks(coordinator, id) if task.wait_json]
    return task


async def test_what_is_true_when_the_wait_begins_ends_it_at_once(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator, size=5)
        assert await (await coordinator.submit(WaitUntil(disk=disk, size=5))).result(WAIT_S) == 5


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_write_of_another_command_wakes_it(scratch: Scratch, grouped: bool) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        waits = await coordinator.submit(WaitUntil(disk=disk, size=3, grouped=grouped))
        task = await watching(coordinator, waits.id)
        assert (task.method, task.refs, task.host, task.state) == ("until is_large", (disk,), None, TaskState.POLLING)
        await (await coordinator.submit(Grow(disk=disk, size=2))).result(WAIT_S)
        assert job(coordinator, waits.id).result is None
        await (await coordinator.submit(Grow(disk=disk, size=3))).result(WAIT_S)
        assert await waits.result(WAIT_S) == 3
        [step] = [step for step in steps(coordinator, waits.id) if step.name == "GROW"]
        assert step.status is StepStatus.FINISHED


async def test_what_a_monitor_was_told_wakes_it(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        waits = await coordinator.submit(WaitUntil(disk=disk, size=3))
        await coordinator.report("disks", disk, {"size": 2})
        await coordinator.report("disks", disk, {"size": 2})
        assert job(coordinator, waits.id).result is None
        await coordinator.report("disks", disk, {"size": 4})
        assert await waits.result(WAIT_S) == 4


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("broken", "until is_large failed on this process: it is broken"),
        ("raises", "ValueError: no way to tell"),
        ("wrong", "is_large answered 'very'; it must be True, False or a Failure"),
    ],
)
async def test_a_failure_ends_it_as_failed(scratch: Scratch, note: str, message: str) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        waits = await coordinator.submit(WaitUntil(disk=disk, size=3))
        await coordinator.report("disks", disk, {"note": note})
        assert message in (await failure_of(waits)).message
        [task] = tasks(coordinator, waits.id)
        assert (task.outcome, task.state) == (Outcome.FAILED, TaskState.CLEARED)


@pytest.mark.hard_case(26)
async def test_it_goes_on_after_a_restart_and_sees_what_became_true_meanwhile(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        first = await coordinator.submit(WaitUntil(disk=disk, size=3))
        second = await coordinator.submit(WaitUntil(disk=disk, size=9))
    crashed = scratch.copy("crashed")
    crashed.rows(
        "UPDATE entities SET body_json = replace(body_json, '\"size\":1', '\"size\":3'), version = version + 1"
    )
    async with opened(crashed, *MEMBERS) as coordinator:
        assert (await coordinator.wait_ended(first.id, WAIT_S)).value_json == "3"
        assert job(coordinator, second.id).result is None
        await coordinator.report("disks", disk, {"size": 9})
        assert (await coordinator.wait_ended(second.id, WAIT_S)).value_json == "9"


async def test_what_was_observed_is_not_restored_by_a_command_that_fails(scratch: Scratch) -> None:
    class Spoil(Command[None], name="spoil"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            db.put(replace(db.get(self.disk), note="mine"))
            return sequence(part(local("gate")), part(local("broken")))

    gate = Gate()
    async with opened(scratch, *MEMBERS, Spoil, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        spoiled = await coordinator.submit(Spoil(disk=disk))
        await gate.wait_entered()
        await coordinator.report("disks", disk, {"size": 7})
        gate.open.set()
        await failure_of(spoiled)
        [row] = scratch.rows("SELECT body_json FROM entities")
        assert '"size":7' in row[0]
        assert '"note":""' in row[0]


@pytest.mark.parametrize(
    ("monitor", "told", "error", "message"),
    [
        ("disk", {}, InvalidInput, "there is no monitor 'disk'; there are: disks"),
        ("disks", 5, InvalidInput, "monitor disks: parameters: Input should be a valid dictionary"),
        ("disks", {"note": "refuse"}, Refused, "this is not believed"),
        ("disks", {"color": "red"}, Refused, "monitor disks raised TypeError"),
        ("disks", {"note": "tasks"}, Refused, "monitor disks asked for its tasks; it has none"),
    ],
)
async def test_a_monitor_that_cannot_write_what_it_is_told_writes_nothing(
    scratch: Scratch, monitor: str, told: Any, error: type[Exception], message: str
) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        before = scratch.rows("SELECT * FROM entities")
        with pytest.raises(error, match=message.replace("(", r"\(")):
            await coordinator.report(monitor, disk, told)
        assert scratch.rows("SELECT * FROM entities") == before


async def test_a_thousand_waits_on_one_entity_are_looked_at_once_each(scratch: Scratch) -> None:
    class Crowd(Command[None], name="crowd"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            return sequence(*[part(until(self.is_large, watch=self.disk), key=f"w{n}", after=()) for n in range(3)])

        def is_large(self, db: Reader) -> bool:
            looks.append(1)
            return db.get(self.disk).size > 1

    looks: list[int] = []
    async with opened(scratch, *MEMBERS, Crowd) as coordinator:
        disk = await add_disk(coordinator)
        crowds = [await coordinator.submit(Crowd(disk=disk)) for _ in range(100)]
        await coordinator.report("disks", disk, {"size": 2})
        for crowd in crowds:
            await crowd.result(WAIT_S)
        assert len(commands(coordinator, crowds[0].id)) == 4
        assert len(looks) <= 2 * 300, "once when it begins, once when it is woken"


def test_a_wait_that_nothing_could_wake_is_refused() -> None:
    command = WaitUntil(disk=Ref("disk", UUID(int=1)), size=1)
    with pytest.raises(ValueError, match="without an entity to watch"):
        until(command.is_large, watch=())
    with pytest.raises(ValueError, match="is no method of a command"):
        until(lambda db: True, watch=command.disk)


async def test_of_many_waits_of_one_job_none_is_forgotten_when_a_run_grows_too_large(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class One(Command[None], name="one"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            return part(until(self.is_large, watch=self.disk))

        def is_large(self, db: Reader) -> bool:
            return db.get(self.disk).size > 1

    class Many(Command[None], name="many"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            return parallel(*(part(One(disk=self.disk)) for _ in range(20)))

    monkeypatch.setattr("interlock.coordinator.runner.ROWS_MAX", 10)
    async with opened(scratch, *MEMBERS, One, Many) as coordinator:
        disk = await add_disk(coordinator)
        many = await coordinator.submit(Many(disk=disk))
        await until_waits(coordinator, many.id, 20)
        await coordinator.report("disks", disk, {"size": 2})
        await many.result(WAIT_S)


async def test_a_wait_is_woken_when_what_refers_to_the_watched_entity_is_written(scratch: Scratch) -> None:
    class Note(Entity, type="note"):
        disk: Ref[Disk]

    class AddNote(Command[None], name="note.add"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            db.add(Note(id=db.new(Note).id, disk=self.disk))
            return NOTHING

    class UntilNoted(Command[None], name="until.noted"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            return part(until(self.is_noted, watch=self.disk))

        def is_noted(self, db: Reader) -> bool:
            return bool(db.find(Note, disk=self.disk))

    async with opened(scratch, *MEMBERS, Note, AddNote, UntilNoted) as coordinator:
        disk = await add_disk(coordinator)
        waits = await coordinator.submit(UntilNoted(disk=disk))
        await until_waits(coordinator, waits.id)
        await (await coordinator.submit(AddNote(disk=disk))).result(WAIT_S)
        await waits.result(WAIT_S)


@pytest.mark.hard_case(29)
async def test_a_wait_whose_method_is_gone_needs_a_person_and_does_not_fail(scratch: Scratch) -> None:
    class Former(WaitUntil, name="changing"):
        def execute(self, db: Tx) -> Plan:
            return sequence(part(local("noop")), part(until(self.was_named_so, watch=self.disk)))

        def was_named_so(self, db: Reader) -> bool:
            return False

    class Present(WaitUntil, name="changing"):
        pass

    class Mended(WaitUntil, name="changing"):
        def was_named_so(self, db: Reader) -> bool:
            return True

    async with opened(scratch, *MEMBERS, Former) as coordinator:
        disk = await add_disk(coordinator)
        waits = await coordinator.submit(Former(disk=disk, size=3))
        await until_waits(coordinator, waits.id)
    async with opened(scratch, *MEMBERS, Present) as coordinator:
        row = await until_job(coordinator, waits.id, lambda row: row.attention is not None)
        assert "changing has no method was_named_so" in (row.attention or "")
        assert [task.outcome for task in tasks(coordinator, waits.id) if task.wait_json] == [None]
    async with opened(scratch, *MEMBERS) as coordinator:
        row = await until_job(coordinator, waits.id, lambda row: "class" in (row.attention or ""))
        await coordinator.report("disks", disk, {"size": 1, "note": "new"})
        assert all(task.outcome is None for task in tasks(coordinator, waits.id) if task.wait_json)
    async with opened(scratch, *MEMBERS, Mended) as coordinator:
        assert (await coordinator.wait_ended(waits.id, WAIT_S)).value_json == "1"


async def test_a_forced_end_needs_no_leave_to_stop_waiting(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        waits = await coordinator.submit(WaitUntil(disk=disk, size=3))
    async with opened(scratch) as coordinator:
        await until_job(coordinator, waits.id, lambda row: row.attention is not None)
        await coordinator.settle(waits.id, Decision.FORCE_FAILURE, by="ann", reason="nobody grows it")
        assert (await coordinator.wait_ended(waits.id, WAIT_S)).forced_by == "ann"
        [task] = tasks(coordinator, waits.id)
        assert (task.outcome, task.state) == (Outcome.FAILED, TaskState.CLEARED)
        assert (task.message or "").startswith("it waits no longer: ")
        assert [left.task_id for left in leftovers(coordinator, waits.id)] == [None]


class Undoable(WaitUntil, name="undoable"):
    """Undone by waiting, in a group, for what a method of its own says."""

    def execute(self, db: Tx) -> Plan:
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        return sequence(part(until(self.is_large, watch=self.disk)), part(local("noop", touches=()), best_effort=True))


class FailsSlowly(Command[None], name="fails.slowly"):
    """Fails; what it did is undone, and its failure told, after waits."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        return sequence(part(Undoable(disk=self.disk, size=3)), part(local("broken", touches=())))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        return part(parallel(part(until(self.is_larger, watch=self.disk)), at_most=1))

    def is_larger(self, db: Reader) -> bool:
        return db.get(self.disk).size >= 5


@pytest.mark.hard_case(20)
async def test_undoing_and_failure_ends_wait_across_restarts(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS, Undoable, FailsSlowly) as coordinator:
        disk = await add_disk(coordinator)
        fails = await coordinator.submit(FailsSlowly(disk=disk))
        await until_waits(coordinator, fails.id)
    async with opened(scratch, *MEMBERS, Undoable, FailsSlowly) as coordinator:
        await coordinator.report("disks", disk, {"size": 3})
        await until_waits(coordinator, fails.id, 2)
        assert commands(coordinator, fails.id)[0].state is State.FINALIZING
    async with opened(scratch, *MEMBERS, Undoable, FailsSlowly) as coordinator:
        await coordinator.report("disks", disk, {"size": 5})
        assert (await coordinator.wait_ended(fails.id, WAIT_S)).result is Result.FAILED
        assert leftovers(coordinator, fails.id) == []
        waits = [task.outcome for task in tasks(coordinator, fails.id) if task.wait_json]
        assert waits == [Outcome.SUCCEEDED, Outcome.SUCCEEDED]
