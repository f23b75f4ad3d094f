"""Previews: what a command would do at once and what only later, with nothing committed."""

import asyncio
import threading
from typing import Any

import pytest

from interlock import (
    Command,
    InvalidInput,
    Local,
    Locks,
    Missing,
    Plan,
    Reader,
    Ref,
    Refusals,
    Refused,
    Result,
    Retry,
    Tx,
    exclusive,
    first_of,
    local,
    parallel,
    part,
    refuse,
    sequence,
)
from interlock.coordinator import preview as previews
from interlock.coordinator.preview import Begins, PreviewCommand, PreviewLock, PreviewTask
from interlock.ids import new_id
from interlock.model.locks import LockMode
from interlock.model.records import Role, TicketRecord
from interlock.store import tables
from tests.coordinator.support import WAIT_S, Call, Disk, Gate, Status, Work, add_disk, disk, opened, read
from tests.databases import Scratch


class Whole(Command[None], name="whole"):
    """A plan with one of everything."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        again = Retry(3, 1.0, 8.0)
        return sequence(
            part(Work(disk=self.disk), key="work", step="WORK", no_return=True),
            first_of(part(Call(), key="one"), part(Call(), key="two")),
            parallel(part(Call(), key="x", retry=again), part(Call(), key="y"), at_most=1, stop_on_failure=True),
            part(Call(), key="last", best_effort=True),
        )


class Choosy(Command[None], name="choosy"):
    """Refuses, or has a part that does, or raises."""

    disk: Ref[Disk]
    how: str

    def validate(self, db: Reader) -> Refusals:
        if self.how == "refuses":
            yield refuse("the disk is round")
            yield refuse("the moon is full")

    def execute(self, db: Tx) -> Plan:
        if self.how == "raises":
            raise RuntimeError("it broke")
        return parallel(part(Choosy(disk=self.disk, how="refuses")), part(Call()))


def keys(command: PreviewCommand) -> dict[str, tuple[Begins, tuple[str, ...]]]:
    return {each.key: (each.begins, each.after) for each in command.parts if isinstance(each, PreviewCommand)}


def stored(coordinator: Any) -> list[int]:
    """How many rows there are in each table that a flow writes."""
    with coordinator.reading() as connection:
        return [len(connection.execute(table.select()).all()) for table in tables.metadata.sorted_tables]


async def test_the_tree_says_what_begins_at_once_and_what_later(scratch: Scratch) -> None:
    async with opened(scratch, Whole) as coordinator:
        ref = await add_disk(coordinator)
        before, commits = stored(coordinator), coordinator.commits
        found = await coordinator.plan(Whole(disk=ref))
        assert (stored(coordinator), coordinator.commits) == (before, commits)
        assert disk(coordinator, ref).status is Status.OK
    root = found.command
    assert (found.refusals, found.waits, root.begins, root.result) == ((), (), Begins.AT_ONCE, None)
    assert root.locks == (PreviewLock(ref, "d", LockMode.EXCLUSIVE, free=True),)
    assert keys(root) == {
        "work": (Begins.AT_ONCE, ()),
        "one": (Begins.LATER, ("work",)),
        "two": (Begins.LATER, ("work",)),
        "x": (Begins.LATER, ("one", "two")),
        "y": (Begins.LATER, ("one", "two")),
        "last": (Begins.LATER, ("x", "y")),
    }
    work, one, two, x, y, last = (each for each in root.parts if isinstance(each, PreviewCommand))
    assert work == PreviewCommand(
        name="disk.work", title="disk.work", key="work", role=Role.FORWARD, step="WORK", begins=Begins.AT_ONCE,
        result=None, failure=None, after=(), choice=None, pool=None, at_most=None, stop_on_failure=False, retry=None,
        no_return=True, best_effort=False, locks=(), parts=(PreviewTask("noop", None, None, "WORK", False),),
    )  # fmt: skip
    assert one.choice == two.choice is not None
    assert x.pool == y.pool is not None
    assert (x.at_most, x.stop_on_failure, x.retry) == (1, True, Retry(3, 1.0, 8.0))
    assert (last.best_effort, last.parts) == (True, ())


async def test_a_command_that_is_done_at_once_shows_its_result(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        gone = Call(function="noop")
        ref = await add_disk(coordinator)
        assert (await coordinator.plan(gone)).command.result is None
        found = await coordinator.plan_input("disk.add", {"disk_name": "e"})
        assert (found.command.result, found.command.begins) == (Result.SUCCEEDED, Begins.AT_ONCE)
        assert (await coordinator.plan_input("disk.work", {"disk": "d"})).command.locks[0].ref == ref
        with pytest.raises(Missing):
            await coordinator.plan(Work(disk=Ref("disk", new_id())))
        with pytest.raises(InvalidInput):
            await coordinator.plan_input("disk.work", {"disk": "d", "size": 1})


@pytest.mark.parametrize(
    ("how", "refusals", "begins"),
    [
        ("refuses", ("the disk is round", "the moon is full"), Begins.NEVER),
        ("raises", ("execute of choosy raised RuntimeError: it broke",), Begins.AT_ONCE),
        ("part", ("the disk is round", "the moon is full"), Begins.AT_ONCE),
    ],
)
async def test_refusals_are_answered_all_together(
    scratch: Scratch, how: str, refusals: tuple[str, ...], begins: Begins
) -> None:
    async with opened(scratch, Choosy) as coordinator:
        ref = await add_disk(coordinator)
        found = await coordinator.plan(Choosy(disk=ref, how=how))
        assert (found.refusals, found.command.result, found.command.begins) == (refusals, Result.FAILED, begins)
        assert found.command.parts == ()


class Patient(Work, name="disk.patient"):
    """Waits for its disk."""

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk).waiting(None)


async def test_a_lock_that_another_holds_is_named(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Patient, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        refused = await coordinator.plan(Work(disk=ref))
        assert f"disk d is locked by job {holder.id}" in refused.refusals[0]
        waits = await coordinator.plan(Patient(disk=ref))
        assert (waits.refusals, waits.command.begins) == ((), Begins.WAITS)
        assert waits.command.locks == (PreviewLock(ref, "d", LockMode.EXCLUSIVE, free=False),)
        assert f"job {holder.id}" in waits.waits[0]
        gate.open.set()
        await holder.result(WAIT_S)
        assert read(coordinator, TicketRecord, tables.lock_tickets) == []


class Many(Command[None], name="many"):
    """More parts than one transaction executes."""

    def execute(self, db: Tx) -> Plan:
        return parallel(*(part(Call()) for _ in range(600)))


async def test_what_does_not_fit_into_the_first_transaction_begins_next(scratch: Scratch) -> None:
    async with opened(scratch, Many) as coordinator:
        found = await coordinator.plan(Many())
        begins = [each.begins for each in found.command.parts if isinstance(each, PreviewCommand)]
        assert (len(begins), set(begins)) == (600, {Begins.AT_ONCE, Begins.NEXT})


hangs = threading.Event()


class Hangs(Command[None], name="hangs"):
    """Its execute takes as long as the test wants."""

    def execute(self, db: Tx) -> Plan:
        assert hangs.wait(WAIT_S)
        return part(local("noop"))


async def test_a_phase_that_hangs_is_said_and_does_not_keep_others(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs.clear()
    monkeypatch.setattr(previews, "PREVIEW_S_MAX", 0.05)
    async with opened(scratch, Hangs, Local("other", lambda: None)) as coordinator:
        try:
            with pytest.raises(Refused, match=r"a preview of hangs took longer than 0\.05 s"):
                await coordinator.plan(Hangs())
            monkeypatch.setattr(previews, "PREVIEW_S_MAX", WAIT_S)
            assert (await coordinator.plan(Call())).refusals == ()
            monkeypatch.setattr(previews, "ASKED_MAX", 2)
            second = asyncio.ensure_future(coordinator.plan(Hangs()))
            await asyncio.sleep(0)
            with pytest.raises(Refused, match="2 previews are asked for already"):
                await coordinator.plan(Call())
        finally:
            hangs.set()
        assert (await second).command.begins is Begins.AT_ONCE
