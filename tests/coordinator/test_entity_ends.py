"""Ends by entity: an end phase waits for the tasks of other flows on what its command names."""

import asyncio
import threading
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    Command,
    CommandFailed,
    Coordinator,
    Ends,
    Local,
    Locks,
    Plan,
    Reader,
    Ref,
    Result,
    Tx,
    local,
    parallel,
    part,
    shared,
)
from interlock.coordinator import runner
from interlock.coordinator.entity_waits import others_at_work
from interlock.model.states import State
from tests.coordinator.support import WAIT_S, Disk, Gate, add_disk, commands, events, opened
from tests.databases import Scratch


class Copy(Command[None], name="copy"):
    """Works on disks beside others."""

    disks: tuple[Ref[Disk], ...]
    function: str = "noop"

    def locks(self, db: Reader) -> Locks:
        return shared(*self.disks)

    def execute(self, db: Tx) -> Plan:
        return part(local(self.function))


class Tend(Copy, name="tend", ends=Ends.BY_ENTITY):
    """Ends when nobody else works on its disks."""


class Hasty(Copy, name="hasty", ends=Ends.BY_FLOW):
    """Ends by its flow, whoever planned it."""


class Whole(Copy, name="whole", ends=Ends.BY_ENTITY):
    """Has parts of either kind, and a group; and names no disk that others work on."""

    parts: tuple[Ref[Disk], ...] = ()

    def execute(self, db: Tx) -> Plan:
        return parallel(
            part(Copy(disks=self.parts), key="copy"),
            part(Hasty(disks=self.parts), key="hasty"),
            part(parallel(part(Copy(disks=self.parts), key="inner")), key="group"),
        )


MEMBERS = (Copy, Tend, Hasty, Whole)


def waits_told(coordinator: Coordinator, id: UUID) -> list[str]:
    return [event.message for event in events(coordinator, id) if event.kind == "entities_awaited"]


async def until_told(coordinator: Coordinator, id: UUID) -> None:
    """Waits until the job says that its end waits."""
    async with asyncio.timeout(WAIT_S):
        while not waits_told(coordinator, id):
            await asyncio.sleep(0.01)


async def test_an_end_by_entity_waits_for_tasks_of_other_flows_and_says_so_once(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk, other = await add_disk(coordinator), await add_disk(coordinator, "other")
        copies = [await coordinator.submit(Copy(disks=(disk,), function="gate")) for _ in range(2)]
        await gate.wait_entered()
        tend = await coordinator.submit(Tend(disks=(other, disk)))
        await until_told(coordinator, tend.id)
        assert [row.state for row in commands(coordinator, tend.id)] == [State.FINALIZING]
        await (await coordinator.submit(Copy(disks=(disk,)))).result(WAIT_S)  # an end that is not yet the last
        gate.open.set()
        await tend.result(WAIT_S)
        [told] = waits_told(coordinator, tend.id)
        assert told == "the end of tend waits: " + "; ".join(
            f"{disk} is worked on by gate of job {copy.id} (copy)" for copy in copies
        )


@pytest.mark.parametrize("function", ["noop", "broken"])
async def test_an_end_with_failure_waits_as_well(scratch: Scratch, function: str) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        await coordinator.submit(Copy(disks=(disk,), function="gate"))
        await gate.wait_entered()
        tend = await coordinator.submit(Tend(disks=(disk,), function=function))
        await until_told(coordinator, tend.id)
        gate.open.set()
        row = await coordinator.wait_ended(tend.id, WAIT_S)
        assert row.result is (Result.SUCCEEDED if function == "noop" else Result.FAILED)


async def test_an_end_by_flow_waits_for_nobody(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        copy = await coordinator.submit(Copy(disks=(disk,), function="gate"))
        await gate.wait_entered()
        for command in (Copy(disks=(disk,)), Hasty(disks=(disk,))):
            await (await coordinator.submit(command)).result(WAIT_S)
        assert commands(coordinator, copy.id)[0].result is None
        gate.open.set()


async def test_how_a_command_ends_is_handed_down_and_a_part_may_say_otherwise(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        await coordinator.submit(Copy(disks=(disk,), function="gate"))
        await gate.wait_entered()
        whole = await coordinator.submit(Whole(disks=(), parts=(disk,)))
        async with asyncio.timeout(WAIT_S):
            while len(waits_told(coordinator, whole.id)) < 2:
                await asyncio.sleep(0.01)
        rows = {row.key: row for row in commands(coordinator, whole.id)}
        assert {key: row.options.ends_by_entity for key, row in rows.items()} == {
            "whole": True, "copy": True, "hasty": False, "group": True, "inner": True,
        }  # fmt: skip
        assert {key: row.state for key, row in rows.items() if key in ("copy", "inner", "hasty")} == {
            "copy": State.FINALIZING, "inner": State.FINALIZING, "hasty": State.ENDED,
        }  # fmt: skip
        gate.open.set()
        await whole.result(WAIT_S)


async def test_an_end_goes_on_waiting_after_a_crash(scratch: Scratch) -> None:
    gate, again = Gate(), Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        await coordinator.submit(Copy(disks=(disk,), function="gate"))
        await gate.wait_entered()
        tend = await coordinator.submit(Tend(disks=(disk,)))
        await until_told(coordinator, tend.id)
        copy = scratch.copy("crashed")
        gate.open.set()
        await tend.result(WAIT_S)
    async with opened(copy, *MEMBERS, gate=again) as coordinator:
        await again.wait_entered()
        assert commands(coordinator, tend.id)[0].state is State.FINALIZING
        again.open.set()
        assert (await coordinator.wait_ended(tend.id, WAIT_S)).result is Result.SUCCEEDED


async def test_a_task_that_ends_while_the_wait_for_it_is_stored_is_not_missed(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, seen, go = Gate(), threading.Event(), threading.Event()

    def slowly(*args: Any) -> list[str]:
        found = others_at_work(*args)
        if found:
            seen.set()
            assert go.wait(WAIT_S)
        return found

    monkeypatch.setattr(runner, "others_at_work", slowly)
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        copy = await coordinator.submit(Copy(disks=(disk,), function="gate"))
        await gate.wait_entered()
        tend = await coordinator.submit(Tend(disks=(disk,)))
        assert await asyncio.to_thread(seen.wait, WAIT_S)
        gate.open.set()
        await copy.result(WAIT_S)
        go.set()
        await tend.result(WAIT_S)


class Slow(Copy, name="slow", ends=Ends.BY_ENTITY):
    """Its first end phase takes as long as the test wants."""

    def end_successfully(self, db: Tx) -> None:
        ending.set()
        assert may_end.wait(WAIT_S)


ending, may_end = threading.Event(), threading.Event()


async def test_a_task_that_begins_while_an_end_phase_runs_is_waited_for(scratch: Scratch) -> None:
    ending.clear()
    may_end.clear()
    gate = Gate()
    async with opened(scratch, *MEMBERS, Slow, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        slow = await coordinator.submit(Slow(disks=(disk,)))
        assert await asyncio.to_thread(ending.wait, WAIT_S)
        await coordinator.submit(Copy(disks=(disk,), function="gate"))
        await gate.wait_entered()
        may_end.set()
        await until_told(coordinator, slow.id)
        gate.open.set()
        await slow.result(WAIT_S)


#: what runs; and how much each end phase saw of that, the committed run last
at_work: list[str] = []
seen_by: dict[str, int] = {}


async def work() -> None:
    at_work.append("one")
    await asyncio.sleep(0)
    at_work.pop()


class Watch(Tend, name="watch", ends=Ends.BY_ENTITY):
    """Notes how many others are at work when it ends."""

    label: str

    def end_successfully(self, db: Tx) -> None:
        seen_by[self.label] = len(at_work)


async def test_of_many_that_begin_and_end_together_each_ends_alone(scratch: Scratch) -> None:
    seen_by.clear()
    async with opened(scratch, *MEMBERS, Watch, Local("work", work, repeatable=True)) as coordinator:
        disk = await add_disk(coordinator)

        async def run(command: Command[None]) -> None:
            try:
                await (await coordinator.submit(command)).result(4 * WAIT_S)
            except CommandFailed as failed:
                raise AssertionError(failed.failure) from failed

        copies = [Copy(disks=(disk,), function="work") for _ in range(40)]
        watches = [Watch(disks=(disk,), label=f"w{n}") for n in range(20)]
        await asyncio.gather(
            *(run(each) for pair in zip(copies[::2], copies[1::2], watches, strict=True) for each in pair)
        )
    assert seen_by == {f"w{n}": 0 for n in range(20)}
