"""Locks that are waited for: in fair order, for a bounded time, never in a circle, also after a restart."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from interlock import (
    Command,
    CommandFailed,
    Coordinator,
    Job,
    Local,
    Locks,
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
from interlock.model.states import State
from tests.coordinator.support import WAIT_S, Disk, Gate, Work, add_disk, commands, events, locks, opened
from tests.databases import Scratch

#: what ran, in order; who is on which disk now, and how that was broken
ran: list[str] = []
on: Counter[str] = Counter()
alone: set[str] = set()
broken: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> Iterator[None]:
    for each in (ran, on, alone, broken):
        each.clear()
    yield
    assert broken == []


class Use(Command[None], name="use"):
    """Notes its name while it holds disks, together with others or alone."""

    label: str
    disks: tuple[Ref[Disk], ...]
    together: bool = False
    wait_s: float | None = None
    fails: bool = False
    function: str = "note"

    def locks(self, db: Reader) -> Locks:
        return (shared if self.together else exclusive)(*self.disks).waiting(self.wait_s)

    def execute(self, db: Tx) -> Plan:
        names = [db.get(disk).name for disk in self.disks]
        if self.function != "note":
            return part(local(self.function))
        return part(local("note", label=self.label, disks=names, together=self.together, fails=self.fails))


async def note(label: str, disks: list[str], together: bool, fails: bool) -> None:
    """Says who is on the disks meanwhile."""
    ran.append(label)
    for disk in disks:
        if disk in alone or (on[disk] and not together):
            broken.append(f"{label} is on {disk} with others")
        on[disk] += 1
        if not together:
            alone.add(disk)
    await asyncio.sleep(0)
    for disk in disks:
        on[disk] -= 1
        alone.discard(disk)
    if fails:
        raise RuntimeError(f"{label} cannot")


class Chain(Command[None], name="chain"):
    """Uses one disk after the other, and keeps them all to its end."""

    label: str
    disks: tuple[Ref[Disk], ...]
    gate: str = "note"

    def execute(self, db: Tx) -> Plan:
        first, *rest = self.disks
        uses = [part(Use(label=f"{self.label}{n}", disks=(disk,))) for n, disk in enumerate(rest, start=1)]
        return sequence(part(Use(label=f"{self.label}0", disks=(first,))), part(Hold(gate=self.gate)), *uses)


class Hold(Command[None], name="hold"):
    """Waits at a gate."""

    gate: str

    def execute(self, db: Tx) -> Plan:
        return part(local(self.gate)) if self.gate != "note" else parallel()


MEMBERS = (Use, Chain, Hold, Local("note", note, repeatable=True))


async def until(coordinator: Coordinator, job: Job[None], kind: str) -> None:
    """Waits until the job has told of such an event."""
    async with asyncio.timeout(WAIT_S):
        while kind not in [event.kind for event in events(coordinator, job.id)]:
            await asyncio.sleep(0.01)


async def test_a_command_waits_for_its_lock_and_says_for_whom(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=disk, function="gate"))
        use = await coordinator.submit(Use(label="a", disks=(disk,)))
        assert commands(coordinator, use.id)[0].state is State.PENDING
        [waited] = [event.message for event in events(coordinator, use.id) if event.kind == "lock_waited"]
        assert waited == f"use waits: disk d is locked by job {work.id} (disk.work)"
        assert ran == []
        gate.open.set()
        await use.result(WAIT_S)
        assert ran == ["a"]
        assert locks(coordinator) == []


@pytest.mark.hard_case(25)
async def test_those_who_wait_have_their_turn_by_priority_and_then_as_they_came(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        await coordinator.submit(Work(disk=disk, function="gate"))
        jobs = []
        for label, priority in (("a", 0), ("b", 0), ("c", -1), ("d", 2), ("e", 0)):
            jobs.append(await coordinator.submit(Use(label=label, disks=(disk,)), priority=priority))
        gate.open.set()
        await asyncio.gather(*(job.result(WAIT_S) for job in jobs))
        assert ran == ["d", "a", "b", "e", "c"]


@pytest.mark.hard_case(25)
async def test_one_that_looks_does_not_pass_one_that_waits_to_be_alone(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        look = await coordinator.submit(Use(label="l", disks=(disk,), together=True, function="gate"))
        alone_job = await coordinator.submit(Use(label="a", disks=(disk,)))
        others = [await coordinator.submit(Use(label=f"s{n}", disks=(disk,), together=True)) for n in range(2)]
        with pytest.raises(Refused, match=rf"disk d is waited for by job {alone_job.id} \(use\), which came before"):
            await coordinator.submit(Work(disk=disk, function="noop"))
        gate.open.set()
        await asyncio.gather(*(job.result(WAIT_S) for job in (look, alone_job, *others)))
        assert (ran[0], sorted(ran[1:])) == ("a", ["s0", "s1"])


async def test_waiting_ends_with_a_refusal_when_its_time_is_over(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=disk, function="gate"))
        use = await coordinator.submit(Use(label="a", disks=(disk,), wait_s=0.05))
        with pytest.raises(CommandFailed, match=rf"locked by job {work.id} .*waited 0 s, as long as allowed"):
            await use.result(WAIT_S)
        gate.open.set()
        assert await work.result(WAIT_S) == 1
        assert ran == []


async def test_who_waits_keeps_its_place_over_a_restart(scratch: Scratch) -> None:
    gate, again = Gate(), Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=disk, function="gate"))
        await gate.wait_entered()
        jobs = [await coordinator.submit(Use(label=label, disks=(disk,))) for label in "ab"]
        copy = scratch.copy("crashed")
        gate.open.set()
        await asyncio.gather(*(job.result(WAIT_S) for job in jobs))
    ran.clear()
    async with opened(copy, *MEMBERS, gate=again) as coordinator:
        await again.wait_entered()
        last = await coordinator.submit(Use(label="c", disks=(disk,)))
        again.open.set()
        for id in (work.id, *(job.id for job in jobs), last.id):
            assert (await coordinator.wait_ended(id, WAIT_S)).result is Result.SUCCEEDED
    assert ran == ["a", "b", "c"]


@pytest.mark.hard_case(23)
async def test_waiting_in_a_circle_is_refused_and_the_circle_named(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        one, two = await add_disk(coordinator, "one"), await add_disk(coordinator, "two")
        first = await coordinator.submit(Chain(label="f", disks=(one, two), gate="gate"))
        second = await coordinator.submit(Chain(label="s", disks=(two, one), gate="gate"))
        await gate.wait_entered()
        await gate.wait_entered()
        gate.open.set()
        ends = [await coordinator.wait_ended(job.id, WAIT_S) for job in (first, second)]
        results = sorted((row.result or "") for row in ends)
        assert results == [Result.FAILED, Result.SUCCEEDED]
        [failed] = [row for row in ends if row.result is Result.FAILED]
        other = second.id if failed.id == first.id else first.id
        assert "waiting would never end: this job (chain) waits for disk:" in (failed.failure_json or "")
        assert f"held or awaited by job {other} (chain); job {other} (chain) waits for disk:" in (
            failed.failure_json or ""
        )


async def test_a_flow_that_holds_locks_passes_those_who_hold_none(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        one, two = await add_disk(coordinator, "one"), await add_disk(coordinator, "two")
        chain = await coordinator.submit(Chain(label="c", disks=(one, two), gate="gate"))
        await gate.wait_entered()
        both = await coordinator.submit(Use(label="both", disks=(one, two)))
        gate.open.set()
        await chain.result(WAIT_S)
        await both.result(WAIT_S)
        assert ran == ["c0", "c1", "both"]


@pytest.mark.hard_case(25)
@pytest.mark.parametrize(
    ("scratch", "number"),
    [
        ("sqlite", 120),
        pytest.param("sqlite", 500, marks=pytest.mark.long),
        pytest.param("postgresql", 500, marks=pytest.mark.long),
    ],
    indirect=["scratch"],
)
async def test_many_jobs_on_20_disks_all_end_and_nobody_shares_what_one_has_alone(
    scratch: Scratch, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("INTERLOCK_LOCKS_SEED", time.time_ns() % 1_000_000))
    random = Random(seed)
    async with opened(scratch, *MEMBERS) as coordinator:
        disks = [await add_disk(coordinator, f"d{n}") for n in range(20)]

        async def one(nth: int) -> str:
            some = tuple(random.sample(disks, random.choice([1, 1, 2, 3])))
            label, priority = f"j{nth}", random.choice([0, 0, 0, 5, -5])
            if random.random() < 0.2:
                command: Command[None] = Chain(label=label, disks=some)
            else:
                command = Use(label=label, disks=some, together=random.random() < 0.5, fails=random.random() < 0.1)
            began = time.monotonic()
            job = await coordinator.submit(command, priority=priority)
            row = await coordinator.wait_ended(job.id, 4 * WAIT_S)
            waits.append(time.monotonic() - began)
            return str(row.result)

        waits: list[float] = []
        results = Counter(await asyncio.gather(*(one(nth) for nth in range(number))))
        assert locks(coordinator) == []
    with capsys.disabled():
        print(f"\nlocks: seed {seed}: {dict(results)}; the longest of {number} took {max(waits):.1f} s")
    assert results.keys() <= {"SUCCEEDED", "FAILED"}
    assert results["SUCCEEDED"] > number * 0.6


async def test_who_submits_may_wish_to_wait_where_the_class_would_be_refused(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=disk, function="gate"))
        await gate.wait_entered()
        with pytest.raises(Refused, match="is locked by job"):
            await coordinator.submit(Work(disk=disk))
        waits = await coordinator.submit(Work(disk=disk), wait_for_locks=True)
        assert commands(coordinator, waits.id)[0].state is State.PENDING
        gate.open.set()
        assert (await holder.result(WAIT_S), await waits.result(WAIT_S)) == (1, 1)
