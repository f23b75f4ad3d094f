"""Commands that are to be looked at again at a stored time."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from interlock.clock import Clock
from interlock.core.flow import Flow
from interlock.model.records import CommandRecord

#: seconds between two looks at a far time, since the wall clock may jump
_LOOK_S_MAX = 60.0


class Retries:
    """One timer for each command; `look` has it examined, and the rows say whether it is time."""

    def __init__(self, clock: Clock, look: Callable[[UUID, UUID], None]) -> None:
        self._clock = clock
        self._look = look
        self._timers: dict[UUID, asyncio.TimerHandle] = {}

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def take_up(self, flow: Flow) -> None:
        """A flow goes on in this engine."""
        for command in flow.commands.values():
            if command.retry_at is not None:
                self.later(command)

    def later(self, command: CommandRecord) -> None:
        """Looks at the command at its `retry_at`."""
        assert command.retry_at is not None
        former = self._timers.pop(command.id, None)
        if former is not None:
            former.cancel()
        delay_s = max(0.0, (command.retry_at - self._clock.now_us()) / 1e6)
        loop = asyncio.get_running_loop()
        self._timers[command.id] = loop.call_later(min(delay_s, _LOOK_S_MAX), self._now, command)

    def _now(self, command: CommandRecord) -> None:
        del self._timers[command.id]
        if command.retry_at is not None and command.retry_at > self._clock.now_us():
            self.later(command)
        else:
            self._look(command.flow_id, command.id)
