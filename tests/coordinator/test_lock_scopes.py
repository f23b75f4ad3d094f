"""Locks held only while their command executes: freed early, but never under somebody who relies on them."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from interlock import (
    Command,
    Coordinator,
    Local,
    Locks,
    LockScope,
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
    shared,
)
from interlock.model.locks import LockMode
from interlock.model.records import LockRecord
from tests.coordinator.support import (
    WAIT_S,
    Call,
    Disk,
    Gate,
    Work,
    add_disk,
    commands,
    gate_function,
    leftovers,
    locks,
    opened,
)
from tests.databases import Scratch

PASSING = LockScope.EXECUTION


class Hold(Command[None], name="hold"):
    """Calls a function while it holds a disk."""

    disk: Ref[Disk]
    function: str = "noop"
    scope: LockScope = PASSING
    together: bool = False

    def locks(self, db: Reader) -> Locks:
        return (shared if self.together else exclusive)(self.disk).scoped(self.scope)

    def execute(self, db: Tx) -> Plan:
        return part(local(self.function))


class Outer(Command[None], name="outer"):
    """A plan that the test has chosen, on a disk."""

    disk: Ref[Disk]
    which: str
    takes: LockScope | None = None

    def locks(self, db: Reader) -> Locks:
        return Locks() if self.takes is None else exclusive(self.disk).scoped(self.takes)

    def execute(self, db: Tx) -> Plan:
        return PLANS[self.which](self.disk)


class Wait(Work, name="wait"):
    """Waits for its disk."""

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk).waiting()


#: the last part of each waits at the gate, while the test looks
PLANS: dict[str, Callable[[Ref[Disk]], Plan]] = {
    "one": lambda disk: sequence(part(Hold(disk=disk)), part(Call(function="gate"))),
    "for the flow": lambda disk: sequence(
        part(Hold(disk=disk, scope=LockScope.COMMAND)), part(Call(function="gate"))
    ),
    "gated": lambda disk: sequence(part(Hold(disk=disk, function="first")), part(Call(function="gate"))),
    "failed": lambda disk: sequence(
        part(Hold(disk=disk, function="broken"), best_effort=True), part(Call(function="gate"))
    ),
    "failed, then not": lambda disk: sequence(
        part(Hold(disk=disk, function="broken"), best_effort=True), part(Hold(disk=disk)), part(Call(function="gate"))
    ),
    "two": lambda disk: sequence(
        part(parallel(part(Hold(disk=disk, together=True)), part(Hold(disk=disk, together=True, function="first")))),
        part(Call(function="gate"))
    ),
    "two scopes": lambda disk: parallel(
        part(Hold(disk=disk, together=True)),
        part(Hold(disk=disk, together=True, scope=LockScope.COMMAND)),
        part(Call(function="gate")),
    ),
    "stronger": lambda disk: sequence(
        part(Outer(disk=disk, which="looks, then takes")), part(Call(function="gate"))
    ),
    "looks, then takes": lambda disk: sequence(part(Hold(disk=disk, together=True)), part(Hold(disk=disk))),
    "touched": lambda disk: parallel(
        part(Hold(disk=disk)), part(local("noop", touches=(disk,))), part(Call(function="gate"))
    ),
    "within": lambda disk: sequence(
        part(Outer(disk=disk, which="own task", takes=PASSING)), part(Call(function="gate"))
    ),
    "own task": lambda disk: sequence(part(Hold(disk=disk)), part(local("first", touches=(disk,)))),
    "lost": lambda disk: sequence(
        part(Outer(disk=disk, which="perhaps", takes=PASSING)), part(Call(function="gate"))
    ),
    "perhaps": lambda disk: part(local("once", touches=(disk,)), best_effort=True),
}  # fmt: skip


class Site:
    """A coordinator whose flows come to two gates."""

    def __init__(self, scratch: Scratch) -> None:
        self.first, self.gate = Gate(), Gate()
        functions = [Local(name, gate_function(self.first), repeatable=name == "first") for name in ("first", "once")]
        self.opened = opened(scratch, Hold, Outer, Wait, *functions, gate=self.gate)


async def at_the_gate(coordinator: Coordinator, site: Site, which: str) -> list[LockRecord]:
    """The locks that are held when a plan has come to its last part."""
    disk = await add_disk(coordinator)
    job = await coordinator.submit(Outer(disk=disk, which=which))
    await site.gate.wait_entered()
    found = locks(coordinator)
    site.gate.open.set()
    row = await coordinator.wait_ended(job.id, WAIT_S)
    assert (row.result, locks(coordinator)) == (Result.SUCCEEDED, [])
    return found


@pytest.mark.parametrize(
    ("which", "held"),
    [
        ("one", []),
        ("for the flow", [LockScope.COMMAND]),
        ("failed", [PASSING]),
        ("failed, then not", [LockScope.COMMAND]),
        ("two scopes", [LockScope.COMMAND]),
        ("stronger", []),
        ("touched", [LockScope.COMMAND]),
    ],
)
async def test_what_is_held_while_the_flow_goes_on(scratch: Scratch, which: str, held: list[LockScope]) -> None:
    site = Site(scratch)
    async with site.opened as coordinator:
        assert [lock.scope for lock in await at_the_gate(coordinator, site, which)] == held


async def test_what_comes_free_wakes_who_waits_for_it(scratch: Scratch) -> None:
    site = Site(scratch)
    async with site.opened as coordinator:
        disk = await add_disk(coordinator)
        outer = await coordinator.submit(Outer(disk=disk, which="gated"))
        await site.first.wait_entered()
        wait = await coordinator.submit(Wait(disk=disk))
        site.first.open.set()
        assert await wait.result(WAIT_S) == 1
        assert commands(coordinator, outer.id)[0].result is None
        site.gate.open.set()
        await outer.result(WAIT_S)


async def test_of_two_that_rely_on_a_lock_the_first_to_end_does_not_free_it(scratch: Scratch) -> None:
    site = Site(scratch)
    async with site.opened as coordinator:
        disk = await add_disk(coordinator)
        outer = await coordinator.submit(Outer(disk=disk, which="two"))
        await site.first.wait_entered()
        async with asyncio.timeout(WAIT_S):
            while not any(row.result for row in commands(coordinator, outer.id)):
                await asyncio.sleep(0.01)
        group = next(row for row in commands(coordinator, outer.id) if row.name == "interlock.steps")
        [lock] = locks(coordinator)
        assert lock == LockRecord(disk, outer.id, LockMode.SHARED, group.id, lock.taken_at, None, PASSING)
        with pytest.raises(Refused, match=f"disk d is locked by job {outer.id}"):
            await coordinator.submit(Work(disk=disk))
        site.first.open.set()
        await site.gate.wait_entered()
        assert locks(coordinator) == []
        site.gate.open.set()
        await outer.result(WAIT_S)


async def test_a_part_within_does_not_free_what_its_parent_works_on_also_after_a_crash(scratch: Scratch) -> None:
    site = Site(scratch)
    async with site.opened as coordinator:
        disk = await add_disk(coordinator)
        outer = await coordinator.submit(Outer(disk=disk, which="within"))
        await site.first.wait_entered()
        copy = scratch.copy("crashed")
        site.first.open.set()
        site.gate.open.set()
        await outer.result(WAIT_S)
    again = Site(copy)
    async with again.opened as coordinator:
        await again.first.wait_entered()
        inner = commands(coordinator, outer.id)[1]
        assert [(lock.ref, lock.command_id, lock.scope) for lock in locks(coordinator)] == [(disk, inner.id, PASSING)]
        again.first.open.set()
        await again.gate.wait_entered()
        assert locks(coordinator) == []
        again.gate.open.set()
        await coordinator.wait_ended(outer.id, WAIT_S)


@pytest.mark.hard_case(5)
async def test_what_a_task_of_unknown_fate_may_touch_is_not_freed(scratch: Scratch) -> None:
    site = Site(scratch)
    async with site.opened as coordinator:
        disk = await add_disk(coordinator)
        outer = await coordinator.submit(Outer(disk=disk, which="lost"))
        await site.first.wait_entered()
        copy = scratch.copy("crashed")
        site.first.open.set()
        site.gate.open.set()
        await outer.result(WAIT_S)
    again = Site(copy)
    async with again.opened as coordinator:
        await again.gate.wait_entered()
        assert [(lock.ref, lock.scope) for lock in locks(coordinator)] == [(disk, LockScope.COMMAND)]
        again.gate.open.set()
        await coordinator.wait_ended(outer.id, WAIT_S)
        [left] = leftovers(coordinator, outer.id)
        assert [(lock.ref, lock.leftover_id) for lock in locks(coordinator)] == [(disk, left.id)]


def test_the_longer_scope_and_the_stronger_mode_count() -> None:
    disk: Ref[Disk] = Ref("disk", UUID(int=1))
    both = exclusive(disk).scoped(PASSING) + shared(disk)
    assert (both.modes(), both.scopes()) == ({disk: LockMode.EXCLUSIVE}, {disk: LockScope.COMMAND})
    waiting = exclusive(disk).waiting(5).scoped(PASSING)
    assert (waiting.waits, waiting.timeout_s, waiting.scopes()) == (True, 5, {disk: PASSING})
