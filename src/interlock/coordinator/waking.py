"""What wakes a command beside its own flow: a time that has come, a lock that is free, news that it waits for."""

from collections.abc import Callable, Sequence
from uuid import UUID

from interlock.clock import Clock
from interlock.coordinator.configured import ConfiguredLimits
from interlock.coordinator.deadlines import Deadlines
from interlock.coordinator.entity_waits import EntityWaits
from interlock.coordinator.limit_waits import LimitWaits
from interlock.coordinator.lock_waits import LockWaits
from interlock.coordinator.retries import Retries
from interlock.coordinator.waits import Waits
from interlock.core.facts import Examine, Fact
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.records import CommandRecord


class Waking:
    """Kept from what is committed; `tell` gives a flow the fact that makes it look, `touch` commits something of it.
    Lives in the engine's loop."""

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[UUID, Fact], None],
        touch: Callable[[UUID], None],
        is_holder: Callable[[UUID], bool],
        limits: ConfiguredLimits,
    ) -> None:
        def look(flow_id: UUID, command_id: UUID) -> None:
            tell(flow_id, Examine(command_id))

        self._retries = Retries(clock, tell)
        self._lock_waits = LockWaits(clock, look, is_holder)
        self._limit_waits = LimitWaits(clock, look, is_holder, limits)
        self._entity_waits = EntityWaits(look)
        self._waits = Waits(tell)
        self._deadlines = Deadlines(tell, touch)

    def stop(self) -> None:
        self._lock_waits.stop()
        self._limit_waits.stop()
        self._retries.stop()
        self._deadlines.stop()

    def stored(self, flow: Flow, changes: Sequence[Change]) -> None:
        """These changes of a flow are committed."""
        for change in changes:
            if isinstance(change.new, CommandRecord):
                self._retries.note(change.new)
        self._lock_waits.stored(changes)
        self._limit_waits.stored(changes, flow.uses)
        self._entity_waits.stored(changes)
        self._waits.stored(changes)
        self._deadlines.stored(flow, changes)

    def taken_up(self, flow: Flow) -> None:
        """A stored flow goes on in this engine."""
        for command in flow.commands.values():
            self._entity_waits.note(command)
        self._retries.take_up(flow)
        self._deadlines.take_up(flow)
        for ticket in flow.tickets.values():
            self._lock_waits.add(ticket)
        self._limit_waits.take_up(flow)
        for task in flow.tasks.values():
            if task.wait_json is not None:
                self._waits.add_task(task)
        self._waits.add_formers(flow.id, flow.formers.values())
