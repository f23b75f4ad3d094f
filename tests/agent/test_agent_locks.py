"""Resource locks: shared and exclusive, first in first out, bounded in time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from interlock.agent.records import StepFailed
from interlock.agent.tasks.resource_locks import Resource, ResourceLocks
from interlock.verbs import Code

SHARED = Resource("image a", False)
ALONE = Resource("image a", True)


async def settle() -> None:
    """Lets every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Holder:
    """Somebody who takes locks and holds them until told to let go."""

    def __init__(self, locks: ResourceLocks, log: list[str], name: str, *resources: Resource) -> None:
        self.let_go = asyncio.Event()
        self._log, self._name = log, name
        self.task = asyncio.ensure_future(self._hold(locks, resources))

    async def _hold(self, locks: ResourceLocks, resources: tuple[Resource, ...]) -> None:
        async with locks.held(resources):
            self._log.append(self._name)
            await self.let_go.wait()

    async def end(self) -> None:
        self.let_go.set()
        await self.task
        await settle()


async def test_shared_together_exclusive_alone_and_nobody_overtakes() -> None:
    locks, log = ResourceLocks(), list[str]()
    first = Holder(locks, log, "shared 1", SHARED)
    second = Holder(locks, log, "shared 2", SHARED)
    alone = Holder(locks, log, "alone", ALONE)
    late = Holder(locks, log, "late shared", SHARED)
    await settle()
    assert log == ["shared 1", "shared 2"]
    await first.end()
    assert log == ["shared 1", "shared 2"]
    await second.end()
    assert log == ["shared 1", "shared 2", "alone"]
    await alone.end()
    assert log == ["shared 1", "shared 2", "alone", "late shared"]
    await late.end()


async def test_a_lock_that_does_not_come_free_in_time_is_error_851() -> None:
    locks = ResourceLocks(timeout_s=0.01)
    async with locks.held([ALONE]):
        with pytest.raises(StepFailed, match=r"image a was not free within 0\.01 s") as failed:
            async with locks.held([SHARED]):
                pass
    assert failed.value.failure.code == Code.RESOURCE_TIMEOUT
    async with locks.held([ALONE]):  # the one that gave up holds nothing back
        pass


async def test_a_waiter_that_is_cancelled_lets_those_behind_it_in() -> None:
    locks, log = ResourceLocks(), list[str]()
    first = Holder(locks, log, "shared 1", SHARED)
    alone = Holder(locks, log, "alone", ALONE)
    late = Holder(locks, log, "late shared", SHARED)
    await settle()
    alone.task.cancel()
    await settle()
    assert log == ["shared 1", "late shared"]
    await first.end()
    await late.end()


async def test_locks_are_taken_in_one_order_so_that_two_tasks_never_wait_for_each_other() -> None:
    locks, log = ResourceLocks(), list[str]()
    names = [Resource("a", True), Resource("b", True)]
    one = Holder(locks, log, "one", *names)
    two = Holder(locks, log, "two", *reversed(names))
    await settle()
    await one.end()
    await two.end()
    assert log == ["one", "two"]


async def test_the_same_resource_wanted_twice_is_taken_once_and_alone() -> None:
    locks = ResourceLocks(timeout_s=0.01)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(locks.held([SHARED, ALONE, SHARED]))
        with pytest.raises(StepFailed):
            await stack.enter_async_context(locks.held([SHARED]))
    async with locks.held([ALONE]):
        pass


async def test_a_waiter_that_is_cancelled_as_the_last_holder_lets_go_just_leaves() -> None:
    locks, log = ResourceLocks(), list[str]()
    first, second = Holder(locks, log, "first", ALONE), Holder(locks, log, "second", ALONE)
    await settle()
    first.let_go.set()
    second.task.cancel()
    assert [type(end) for end in await asyncio.gather(first.task, second.task, return_exceptions=True)] == [
        type(None),
        asyncio.CancelledError,
    ]
    await Holder(locks, log, "third", ALONE).end()
    assert log == ["first", "third"]
