"""Timers of open deadlines. They count this process's own time from the commit that set a deadline, or took it over:
a jump of the wall clock fires none (hard case 27)."""

import asyncio
from collections.abc import Callable, Iterable
from uuid import UUID

from interlock.core.facts import CommandOverdue, Fact, TaskOverdue
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.records import CommandRecord, TaskRecord
from interlock.model.states import State

#: while a deadline is open the engine commits something so often: a crash prolongs no deadline by much more
SEEN_EVERY_S = 30.0

Tell = Callable[[UUID, Fact], None]


class Deadlines:
    """One timer for each open deadline of flows in memory. `tell` gets what has passed; `touch` commits something of
    a flow."""

    def __init__(self, tell: Tell, touch: Callable[[UUID], None]) -> None:
        self._tell = tell
        self._touch = touch
        self._timers: dict[UUID, asyncio.TimerHandle] = {}
        self._flows: dict[UUID, UUID] = {}
        self._beat: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        if self._beat is not None:
            self._beat.cancel()

    def stored(self, flow: Flow, changes: Iterable[Change]) -> None:
        """These changes are committed, and the flow's job says when they were made."""
        for change in changes:
            old, new = change.old, change.new
            if isinstance(new, CommandRecord | TaskRecord) and new.deadline_at is not None:
                was = old.deadline_at if isinstance(old, CommandRecord | TaskRecord) else None
                self._note(flow, new, is_news=was != new.deadline_at)

    def take_up(self, flow: Flow) -> None:
        """A flow goes on in this engine; its deadlines were moved by the time in which none ran."""
        rows: list[CommandRecord | TaskRecord] = [*flow.commands.values(), *flow.tasks.values()]
        for row in rows:
            if row.deadline_at is not None:
                self._note(flow, row, is_news=True)

    def _note(self, flow: Flow, row: CommandRecord | TaskRecord, *, is_news: bool) -> None:
        if not _is_open(row):
            self._forget(row.id)
        elif is_news:
            assert row.deadline_at is not None
            self._forget(row.id)
            left_s = max(0.0, (row.deadline_at - flow.job.updated_at) / 1e6)
            self._timers[row.id] = asyncio.get_running_loop().call_later(left_s, self._passed, row)
            self._flows[row.id] = flow.id
            if self._beat is None:
                self._next_beat()

    def _forget(self, id: UUID) -> None:
        timer = self._timers.pop(id, None)
        if timer is not None:
            timer.cancel()
            del self._flows[id]

    def _passed(self, row: CommandRecord | TaskRecord) -> None:
        self._forget(row.id)
        self._tell(row.flow_id, CommandOverdue(row.id) if isinstance(row, CommandRecord) else TaskOverdue(row.id))

    def _next_beat(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(SEEN_EVERY_S, self._be_seen)

    def _be_seen(self) -> None:
        self._beat = None
        if self._flows:
            self._touch(next(iter(self._flows.values())))
            self._next_beat()


def _is_open(row: CommandRecord | TaskRecord) -> bool:
    if isinstance(row, TaskRecord):
        return row.outcome is None and row.stopping is None
    return row.state is State.EXECUTING and row.stopping is None
