"""Commands that wait before another try."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from interlock.clock import Clock
from interlock.core import retrying
from interlock.core.facts import Fact, RetryDue
from interlock.core.flow import Flow
from interlock.model.records import CommandRecord


class Retries:
    """One timer for each such command; `tell` gives its flow the fact that the time has come."""

    def __init__(self, clock: Clock, tell: Callable[[UUID, Fact], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._timers: dict[UUID, asyncio.TimerHandle] = {}

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def take_up(self, flow: Flow) -> None:
        """A flow goes on in this engine."""
        for command in flow.commands.values():
            self.note(command)

    def note(self, command: CommandRecord) -> None:
        """The command is stored like this."""
        former = self._timers.pop(command.id, None)
        if former is not None:
            former.cancel()
        if command.retry_at is None:
            return
        fact = RetryDue(command.id, command.retry_at)
        left_s = retrying.left_us(command, self._clock.now_us()) / 1e6
        loop = asyncio.get_running_loop()
        self._timers[command.id] = loop.call_later(left_s, self._due, command.flow_id, fact)

    def _due(self, flow_id: UUID, fact: RetryDue) -> None:
        del self._timers[fact.command_id]
        self._tell(flow_id, fact)
