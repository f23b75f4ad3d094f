"""Who is to look again when something is committed: waits, and flows that come after a job.

Kept in memory from the rows that are stored, and only hurries the look: rows decide.
"""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from interlock.core.facts import Examine, Fact, Look
from interlock.model.changes import Change
from interlock.model.limits import LimitTicketRecord
from interlock.model.records import (
    CommandRecord,
    EntityRecord,
    EntityRefRecord,
    FormerRecord,
    SignalRecord,
    TaskRecord,
    TicketRecord,
)
from interlock.model.refs import Ref
from interlock.model.states import State
from interlock.model.waits import wait_of

#: an entity that is watched, a kind of signal with what it is about, or a job
Topic = Ref[Any] | tuple[str, Ref[Any] | None] | UUID
#: a flow, and which of its tasks or commands is to look
Waiter = tuple[UUID, Fact]


class Waits:
    """Those of flows in memory; `tell` gives a flow the fact that makes it look."""

    def __init__(self, tell: Callable[[UUID, Fact], None]) -> None:
        self._tell = tell
        self._by_topic: dict[Topic, dict[Waiter, None]] = {}
        self._topics: dict[Waiter, tuple[Topic, ...]] = {}

    def stored(self, changes: Iterable[Change]) -> None:
        """These changes are committed: new waits look once more, and what they wait for wakes them."""
        changed: dict[Topic, None] = {}
        formers: dict[UUID, list[FormerRecord]] = {}
        for change in changes:
            row = change.new if change.new is not None else change.old
            if isinstance(row, TaskRecord):
                if row.wait_json is not None:
                    self.add_task(row)
            elif isinstance(row, EntityRecord):
                changed[row.ref] = None
            elif isinstance(row, EntityRefRecord):
                changed[row.target] = None
            elif isinstance(row, SignalRecord):
                changed[row.kind, row.about] = None
            elif isinstance(row, TicketRecord | LimitTicketRecord) and change.old is None:
                changed |= dict.fromkeys(self._behind(row.flow_id))  # who waits for one of them may be in a circle now
            elif isinstance(row, FormerRecord):
                formers.setdefault(row.flow_id, []).append(row)
            elif isinstance(row, CommandRecord) and row.parent_id is None and row.state is State.ENDED:
                self.forget(row.id)
                changed[row.id] = None
        for flow_id, rows in formers.items():
            self.add_formers(flow_id, rows)
        for topic in changed:
            for flow_id, fact in list(self._by_topic.get(topic, ())):
                self._tell(flow_id, fact)

    def add_task(self, task: TaskRecord) -> None:
        """A wait is stored. What it waits for may have come while it was: so it looks."""
        assert task.wait_json is not None
        wait = wait_of(task.wait_json)
        topics: tuple[Topic, ...] = task.refs
        if wait.signal is not None:
            topics = ((wait.signal, wait.about),)
        elif wait.job is not None:
            topics = (wait.job,)
        self._keep((task.flow_id, Look(task.id)), topics, task.outcome is None)

    def add_formers(self, flow_id: UUID, formers: Iterable[FormerRecord]) -> None:
        """Jobs that a flow comes after are stored, or how they ended."""
        waiter: Waiter = flow_id, Examine(flow_id)
        topics = dict.fromkeys(self._topics.get(waiter, ()))
        for each in formers:
            topics.pop(each.former_id, None)
            if each.result is None:
                topics[each.former_id] = None
        if topics or waiter in self._topics:
            self._keep(waiter, tuple(topics), bool(topics))

    def forget(self, flow_id: UUID) -> None:
        """The flow has ended: it comes after nothing any more."""
        waiter: Waiter = flow_id, Examine(flow_id)
        if waiter in self._topics:
            self._keep(waiter, (), False)

    def _behind(self, flow_id: UUID) -> list[UUID]:
        """A flow, and all that come after it, however far."""
        found = {flow_id: None}
        stack = [flow_id]
        while stack:
            for waiter, fact in self._by_topic.get(stack.pop(), ()):
                if isinstance(fact, Examine) and waiter not in found:
                    found[waiter] = None
                    stack.append(waiter)
        return list(found)

    def _keep(self, waiter: Waiter, topics: tuple[Topic, ...], is_open: bool) -> None:
        for topic in self._topics.pop(waiter, ()):
            waiters = self._by_topic[topic]
            waiters.pop(waiter, None)
            if not waiters:
                del self._by_topic[topic]
        if not is_open:
            return
        self._topics[waiter] = topics = tuple(dict.fromkeys(topics))
        for topic in topics:
            self._by_topic.setdefault(topic, {})[waiter] = None
        self._tell(*waiter)
