"""Who is to look again when a lock comes free. Kept in memory from the tickets that are stored; rows decide."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from interlock.clock import Clock
from interlock.model.changes import Change
from interlock.model.locks import LockMode
from interlock.model.records import LockRecord, TicketRecord
from interlock.model.refs import Ref

#: seconds between two looks at a far deadline, since the wall clock may jump
_LOOK_S_MAX = 60.0


class LockWaits:
    """The stored tickets of flows in memory. `wake` brings a command to ask for its locks again; `is_holder` says
    whether a flow holds locks, and so may pass those who hold none."""

    def __init__(self, clock: Clock, wake: Callable[[UUID, UUID], None], is_holder: Callable[[UUID], bool]) -> None:
        self._clock = clock
        self._wake = wake
        self._is_holder = is_holder
        self._queues: dict[Ref[Any], dict[UUID, TicketRecord]] = {}
        self._timers: dict[UUID, asyncio.TimerHandle] = {}

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def stored(self, changes: Iterable[Change]) -> None:
        """These changes are committed: new tickets are looked at once more, and what came free wakes the first."""
        freed: dict[Ref[Any], None] = {}
        changes = list(changes)
        for change in changes:
            old, new = change.old, change.new
            if isinstance(new, TicketRecord):
                self.add(new)
                if isinstance(old, TicketRecord):  # its place in line is another now
                    freed[new.ref] = None
            elif isinstance(old, TicketRecord):
                self._remove(old)
                freed[old.ref] = None
            elif isinstance(old, LockRecord) and new is None:
                freed[old.ref] = None
        taken = {
            change.new.ref
            for change in changes
            if isinstance(change.new, LockRecord) and change.new.mode is LockMode.EXCLUSIVE
        }
        for ref in freed:  # in the order of the changes, whatever a set makes of it
            if ref not in taken:
                self._wake_first(ref)

    def add(self, ticket: TicketRecord) -> None:
        """A ticket is stored. What it waits for may have come free while it was: so its command asks again."""
        self._queues.setdefault(ticket.ref, {})[ticket.command_id] = ticket
        if ticket.command_id in self._timers:
            return
        self._watch_deadline(ticket)
        self._wake(ticket.flow_id, ticket.command_id)

    def _remove(self, ticket: TicketRecord) -> None:
        queue = self._queues.get(ticket.ref, {})
        queue.pop(ticket.command_id, None)
        if not queue:
            self._queues.pop(ticket.ref, None)
        timer = self._timers.pop(ticket.command_id, None)
        if timer is not None:
            timer.cancel()

    def _wake_first(self, ref: Ref[Any]) -> None:
        """The first in line; where that is a shared one, all up to the next that wants it alone. And all holders."""
        line = sorted(self._queues.get(ref, {}).values(), key=lambda ticket: (ticket.rank, ticket.command_id))
        is_open = True
        for number, ticket in enumerate(line):
            is_open = is_open and (not number or ticket.mode is LockMode.SHARED)
            if is_open or self._is_holder(ticket.flow_id):
                self._wake(ticket.flow_id, ticket.command_id)
            is_open = is_open and ticket.mode is LockMode.SHARED

    def _watch_deadline(self, ticket: TicketRecord) -> None:
        delay_s = _LOOK_S_MAX
        if ticket.deadline_at is not None:
            delay_s = min(max(0.0, (ticket.deadline_at - self._clock.now_us()) / 1e6), _LOOK_S_MAX)
        loop = asyncio.get_running_loop()
        self._timers[ticket.command_id] = loop.call_later(delay_s, self._look, ticket)

    def _look(self, ticket: TicketRecord) -> None:
        self._watch_deadline(ticket)
        self._wake(ticket.flow_id, ticket.command_id)
