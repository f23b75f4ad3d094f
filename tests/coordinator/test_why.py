"""Why it is waiting, asked of a running engine: whatever is planned, each command that is not over says for what."""

import asyncio
import random
from typing import Any

from interlock import (
    Command,
    Coordinator,
    Locks,
    Plan,
    Reader,
    Ref,
    Retry,
    Tx,
    approval,
    exclusive,
    first_of,
    local,
    parallel,
    part,
    sequence,
    signal,
    until,
)
from interlock.model.calls import CallOrder
from interlock.views.why import explaining
from interlock.views.words import Json
from tests.coordinator.support import WAIT_S, Call, Disk, Gate, Work, add_disk, opened
from tests.databases import Scratch

#: trees that are planned; each ends in something that does not end by itself
TREES = 12


class Tree(Command[None], name="tree"):
    """A plan of any shape, by its seed."""

    disk: Ref[Disk]
    seed: int

    def execute(self, db: Tx) -> Plan:
        chance = random.Random(self.seed)
        again = part(local("broken"), retry=Retry(3, pause_s=600, pause_max_s=600))
        return parallel(sequence(self._grow(chance, 2), part(signal("never"))), again)

    def _grow(self, chance: random.Random, depth: int) -> Plan:
        if depth == 0:
            return self._leaf(chance)
        pieces = [self._grow(chance, depth - 1) for _ in range(chance.randint(2, 3))]
        match chance.randrange(5):
            case 0:
                return parallel(*pieces)
            case 1:
                return parallel(*pieces, at_most=1)
            case 2:
                return first_of(*pieces)
            case 3:
                return part(sequence(*pieces))
            case _:
                return sequence(*pieces)

    def _leaf(self, chance: random.Random) -> Plan:
        return chance.choice(
            [
                part(local("gate"), step="GATE"),
                part(local("noop")),
                part(signal("never", about=self.disk)),
                part(approval("Go on?", permission="p")),
                part(until(self.never, watch=self.disk)),
                part(local("broken"), retry=Retry(3, pause_s=600, pause_max_s=600)),
                part(Call(function="gate")),
            ]
        )

    def never(self, db: Reader) -> bool:
        return False


class Queue(Command[None], name="queue"):
    """Waits for a disk, then for ever."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk).waiting()

    def execute(self, db: Tx) -> Plan:
        return part(signal("never"))


async def until_quiet(coordinator: Coordinator, id: Any) -> Json:
    """Until the engine has nothing to do for the job, by what is said of it."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with coordinator.reading() as connection:
                told = explaining.why(connection, id, coordinator.hosts(), now=0)  # no retry is due
            assert told is not None
            if told["commands"] and not any(each["kind"] == "engine" for each in told["commands"]):
                return told
            await asyncio.sleep(0.01)


async def test_whatever_is_planned_says_for_what_it_waits(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Tree, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        jobs = [await coordinator.submit(Tree(disk=disk, seed=seed)) for seed in range(TREES)]
        async with asyncio.timeout(WAIT_S):
            kinds = set[str]()
            while not kinds >= {"part", "parts", "signal", "approval", "until", "function", "retry", "pool"}:
                told = [await until_quiet(coordinator, job.id) for job in jobs]
                kinds = {each["kind"] for one in told for each in one["commands"]}
        assert all(one["words"] not in ("", "the engine is at it") for one in told)


async def test_jobs_that_wait_for_each_other_name_each_other(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Queue, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=disk, function="gate"))
        await gate.wait_entered()
        first = await coordinator.submit(Queue(disk=disk))
        second = await coordinator.submit(Queue(disk=disk))
        call = await coordinator.submit_all([Call(function="gate"), Call()], order=CallOrder.SEQUENTIAL)
        words = [(await until_quiet(coordinator, each.id))["words"] for each in (first, second, call[1])]
        assert words == [
            f"waits for a lock: disk d is held by job {holder.id} (disk.work)",
            f"waits for a lock: disk d is held by job {holder.id} (disk.work)",
            f"waits for the success of job {call[0].id} (call)",
        ]
        gate.open.set()
        await holder.result(WAIT_S)
        async with asyncio.timeout(WAIT_S):
            while (await until_quiet(coordinator, first.id))["words"] != "waits for signal never":
                await asyncio.sleep(0.01)
        assert (await until_quiet(coordinator, second.id))["words"] == (
            f"waits for a lock: disk d is held by job {first.id} (queue)"
        )
