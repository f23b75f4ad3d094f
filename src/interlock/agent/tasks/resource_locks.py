"""Shared and exclusive locks on storage resources within one agent, first in first out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from interlock.agent.records import StepFailed
from interlock.verbs import Code

#: How long a task waits for one resource.
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """A named thing, and whether it is wanted alone."""

    name: str
    is_exclusive: bool


@dataclass(slots=True)
class _Queue:
    """Who holds a resource and who waits for it."""

    holders: int = 0
    is_exclusive: bool = False
    waiting: deque[tuple[bool, asyncio.Future[None]]] = field(default_factory=deque)


class ResourceLocks:
    """Locks by name. A shared request waits behind an exclusive one that was there before it."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def held(self, resources: Iterable[Resource]) -> AsyncIterator[None]:
        """Holds all the resources, taken in sorted order so that no two tasks wait for each other.

        Raises `StepFailed` with RESOURCE_TIMEOUT when one does not come free in time.
        """
        async with AsyncExitStack() as stack:
            for resource in sorted(_strongest(resources)):
                await self._take(resource)
                stack.callback(self._give_back, resource.name)
            yield

    async def _take(self, resource: Resource) -> None:
        queue = self._queues.setdefault(resource.name, _Queue())
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting.append((resource.is_exclusive, granted))
        self._grant(resource.name)
        try:
            async with asyncio.timeout(self._timeout_s):
                await granted
        except TimeoutError:
            self._withdraw(resource.name, granted)
            raise StepFailed(
                Code.RESOURCE_TIMEOUT,
                f"{resource.name} was not free within {self._timeout_s:g} s; try again when its task is over",
            ) from None
        except asyncio.CancelledError:
            self._withdraw(resource.name, granted)
            raise

    def _withdraw(self, name: str, granted: asyncio.Future[None]) -> None:
        if granted.done() and not granted.cancelled():
            self._give_back(name)
            return
        queue = self._queues.get(name)
        if queue is None:  # the last holder let go just now, and passed this waiter over
            return
        queue.waiting = deque(entry for entry in queue.waiting if entry[1] is not granted)
        self._grant(name)

    def _give_back(self, name: str) -> None:
        queue = self._queues[name]
        queue.holders -= 1
        self._grant(name)

    def _grant(self, name: str) -> None:
        queue = self._queues[name]
        while queue.waiting:
            wants_alone, granted = queue.waiting[0]
            if granted.cancelled():  # its waiter was cancelled and is about to withdraw
                queue.waiting.popleft()
                continue
            if queue.holders and (wants_alone or queue.is_exclusive):
                return
            queue.waiting.popleft()
            queue.holders += 1
            queue.is_exclusive = wants_alone
            granted.set_result(None)
        if not queue.holders:
            del self._queues[name]


def _strongest(resources: Iterable[Resource]) -> set[Resource]:
    """Each name once; exclusive if anybody wants it so."""
    wanted: dict[str, bool] = {}
    for resource in resources:
        wanted[resource.name] = wanted.get(resource.name, False) or resource.is_exclusive
    return {Resource(name, alone) for name, alone in wanted.items()}
