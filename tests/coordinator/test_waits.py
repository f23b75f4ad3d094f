"""Waits on entities: looked at when what they watch is written, by whomever, and after a restart."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    NOTHING,
    Command,
    Coordinator,
    Failure,
    InvalidInput,
    Locks,
    Monitor,
    Outcome,
    Plan,
    Reader,
    Ref,
    Refused,
    Tx,
    local,
    part,
    sequence,
    shared,
    until,
)
from interlock.model.records import TaskRecord
from interlock.model.states import StepStatus, TaskState
from tests.coordinator.support import (
    WAIT_S,
    Disk,
    Gate,
    add_disk,
    commands,
    failure_of,
    job,
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
