"""Who is to look again when there may be room under a limit. Kept in memory from what is stored; rows decide."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from uuid import UUID

from interlock.clock import Clock
from interlock.coordinator.configured import ConfiguredLimits
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.limits import LimitRecord, LimitTicketRecord, LimitUseRecord
from interlock.model.records import CommandRecord
from interlock.model.states import State

#: seconds between two looks at a window that has no room for long, since the wall clock may jump
LOOK_S_MAX = 60.0


class LimitWaits:
    """The stored tickets of flows in memory, and what runs. `wake` brings a command to ask for room again;
    `is_holder` says whether a flow has what others may wait for, and so may pass those who have nothing."""

    def __init__(
        self,
        clock: Clock,
        wake: Callable[[UUID, UUID], None],
        is_holder: Callable[[UUID], bool],
        limits: ConfiguredLimits,
    ) -> None:
        self._clock = clock
        self._wake = wake
        self._is_holder = is_holder
        self._limits = limits
        self._lines: dict[str, dict[UUID, LimitTicketRecord]] = {}
        self._running: dict[str, set[UUID]] = {}
        self._keys: dict[UUID, list[str]] = {}
        self._timers: dict[tuple[UUID, str], asyncio.TimerHandle] = {}

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def take_up(self, flow: Flow) -> None:
        """A stored flow goes on in this engine."""
        for use in flow.uses.values():
            if flow.commands[use.command_id].state is not State.ENDED:
                self._runs(use)
        for ticket in flow.limit_tickets.values():
            self._add(ticket)
            self._wake(ticket.flow_id, ticket.command_id)

    def stored(self, changes: Iterable[Change], uses: Collection[tuple[UUID, str]] = ()) -> None:
        """These changes are committed: what ended, or is set otherwise, wakes those whose turn it may be. `uses` are
        those of the flow, which has not been taken up where it was parked before a person ended it."""
        freed: dict[str, None] = {}
        over: set[UUID] = set()
        for change in changes:
            old, new = change.old, change.new
            if isinstance(new, CommandRecord):
                if new.state is State.ENDED:
                    freed |= dict.fromkeys(self._ended(new.id))
                    over.add(new.id)
            elif isinstance(new, LimitUseRecord):
                self._runs(new)
            elif isinstance(new, LimitTicketRecord):
                self._add(new)
                if isinstance(old, LimitTicketRecord) and old.rank != new.rank:
                    freed[new.key] = None
            elif isinstance(old, LimitTicketRecord):
                self._remove(old)
                freed[old.key] = None
            elif isinstance(row := new or old, LimitRecord):
                for ticket in list(self._lines.get(row.key, {}).values()):
                    self._wake(ticket.flow_id, ticket.command_id)
        freed |= {key: None for command_id, key in uses if command_id in over}
        for key in freed:
            self._wake_first(key)

    def _runs(self, use: LimitUseRecord) -> None:
        self._running.setdefault(use.key, set()).add(use.command_id)
        self._keys.setdefault(use.command_id, []).append(use.key)

    def _ended(self, command_id: UUID) -> list[str]:
        keys = self._keys.pop(command_id, [])
        for key in keys:
            self._running[key].discard(command_id)
        return keys

    def _add(self, ticket: LimitTicketRecord) -> None:
        self._lines.setdefault(ticket.key, {})[ticket.command_id] = ticket
        self._stop_timer(ticket)
        if ticket.look_at is not None:
            self._look_later(ticket, ticket.look_at)

    def _remove(self, ticket: LimitTicketRecord) -> None:
        line = self._lines.get(ticket.key, {})
        line.pop(ticket.command_id, None)
        if not line:
            self._lines.pop(ticket.key, None)
        self._stop_timer(ticket)

    def _stop_timer(self, ticket: LimitTicketRecord) -> None:
        timer = self._timers.pop((ticket.command_id, ticket.key), None)
        if timer is not None:
            timer.cancel()

    def _look_later(self, ticket: LimitTicketRecord, at: int) -> None:
        delay_s = min(max(0.0, (at - self._clock.now_us()) / 1e6), LOOK_S_MAX)
        loop = asyncio.get_running_loop()
        self._timers[ticket.command_id, ticket.key] = loop.call_later(delay_s, self._look, ticket)

    def _look(self, ticket: LimitTicketRecord) -> None:
        """Where it is still too early its command draws the same ticket: so it is looked at again."""
        self._look_later(ticket, self._clock.now_us() + round(LOOK_S_MAX * 1e6))
        self._wake(ticket.flow_id, ticket.command_id)

    def _wake_first(self, key: str) -> None:
        """As many of the first in line as there may be room for, and all who may pass them."""
        limit = self._limits.now.get(key)
        if limit is None:
            return  # its removal has woken all
        count = 1 if limit.at_most is None else max(1, limit.at_most - len(self._running.get(key, ())))
        line = sorted(self._lines.get(key, {}).values(), key=lambda ticket: (ticket.rank, ticket.command_id))
        for number, ticket in enumerate(line):
            if number < count or self._is_holder(ticket.flow_id):
                self._wake(ticket.flow_id, ticket.command_id)
