"""Who waits for jobs: for their end, or for anything new of them. Outlives engines that are replaced."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from interlock.core.flow import Flow
from interlock.model.errors import InterlockError
from interlock.model.records import CommandRecord
from interlock.model.states import State

#: what a wait for an end gets where the rows must be looked at again
LOOK_AGAIN = None

#: how many ends are remembered, for those who ask just after
OVER_MAX = 1024

End = asyncio.Future[CommandRecord | None]


class Waiting:
    """Told of every commit; lives in the loop, as long as the coordinator."""

    def __init__(self) -> None:
        self._events: dict[UUID, set[asyncio.Event]] = {}
        self._ends: dict[UUID, set[End]] = {}
        self._over: dict[UUID, CommandRecord] = {}

    def flow_stored(self, flow: Flow) -> None:
        """Something of the flow is committed."""
        for event in self._events.get(flow.id, ()):
            event.set()
        if flow.root.state is State.ENDED:
            self._over[flow.id] = flow.root
            if len(self._over) > OVER_MAX:
                del self._over[next(iter(self._over))]
            for end in self._ends.get(flow.id, ()):
                if not end.done():
                    end.set_result(flow.root)

    def ended(self, job_id: UUID) -> CommandRecord | None:
        """The flow command, if its end was stored not long ago."""
        return self._over.get(job_id)

    def look_again(self) -> None:
        """A new engine started from the rows: what was committed meanwhile was told to nobody."""
        for events in self._events.values():
            for event in events:
                event.set()
        for ends in self._ends.values():
            for end in ends:
                if not end.done():
                    end.set_result(LOOK_AGAIN)

    def give_up(self, error: Exception) -> None:
        """There will be no further commit."""
        for ends in self._ends.values():
            for end in ends:
                if not end.done():
                    end.set_exception(InterlockError(f"this coordinator has stopped: {error}"))

    @contextmanager
    def ending(self, job_id: UUID) -> Iterator[End]:
        """Resolves to the flow command once its end is stored from now on, or to LOOK_AGAIN."""
        end: End = asyncio.get_running_loop().create_future()
        self._ends.setdefault(job_id, set()).add(end)
        try:
            yield end
        finally:
            end.cancel()
            self._ends[job_id].discard(end)
            if not self._ends[job_id]:
                del self._ends[job_id]

    @contextmanager
    def changing(self, job_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set whenever something of the job has been stored."""
        event = asyncio.Event()
        self._events.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]
