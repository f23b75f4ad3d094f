"""Several flows in memory that ask for locks, over rows as the store would have them, beside a small model of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from interlock.catalog import Catalog
from interlock.coordinator import locking
from interlock.coordinator.snapshot import Snapshot
from interlock.core import lock_scopes
from interlock.core.flow import Flow
from interlock.core.leaving import end
from interlock.model.changes import Record
from interlock.model.locks import AGEING_US, LockMode, Locks, LockScope, conflict
from interlock.model.records import CommandRecord, JobRecord, LockRecord, TicketRecord
from interlock.model.refs import Ref
from interlock.model.replacing import replace
from interlock.model.states import Phase, Result, State
from interlock.store.queries.locks import HeldLock
from interlock.store.queries.tickets import Waiter
from interlock.store.queries.waiting import Awaits
from tests.core.shapes import Mint, Spec

REFS: tuple[Ref[Any], ...] = tuple(Ref("disk", UUID(int=0xD0 + n)) for n in range(4))
Modes = dict[Ref[Any], LockMode]


class Rows(Snapshot):
    """What is committed of all flows, asked as the store is."""

    def __init__(self, stored: dict[Any, Record]) -> None:
        super().__init__(_no_database, Catalog())
        self._locks = [row for row in stored.values() if isinstance(row, LockRecord)]
        self._tickets = [row for row in stored.values() if isinstance(row, TicketRecord)]
        self._holders = {lock.flow_id for lock in self._locks}

    def entity(self, ref: Ref[Any]) -> None:
        return None

    def held(self, refs: Sequence[Ref[Any]]) -> list[HeldLock]:
        return [HeldLock(lock, "a job", None) for lock in self._locks if lock.ref in refs]

    def waiting(self, refs: Sequence[Ref[Any]]) -> list[Waiter]:
        found = [self._waiter(ticket) for ticket in self._tickets if ticket.ref in refs]
        return sorted(found, key=lambda each: (each.ticket.rank, each.ticket.command_id))

    def waiting_holders(self) -> list[Waiter]:
        return [self._waiter(ticket) for ticket in self._tickets if ticket.flow_id in self._holders]

    def awaited(self, flow_ids: Collection[UUID]) -> list[Awaits]:
        """Nobody here waits for the end of a job."""
        return []

    def _waiter(self, ticket: TicketRecord) -> Waiter:
        return Waiter(ticket, "a job", ticket.flow_id in self._holders)


def _no_database() -> Any:
    raise AssertionError("locks are asked for by locks and tickets alone")


@dataclass(frozen=True)
class Wait:
    """What the model knows of a command that waits."""

    flow: UUID
    modes: Modes
    rank: int


@dataclass
class Model:
    """Who holds what, who waits for what, in plain dictionaries."""

    held: dict[Ref[Any], dict[UUID, LockMode]] = field(default_factory=lambda: {ref: {} for ref in REFS})
    waits: dict[UUID, Wait] = field(default_factory=dict)

    def missing(self, flow: UUID, wanted: Modes) -> Modes:
        return {
            ref: mode
            for ref, mode in wanted.items()
            if self.held[ref].get(flow) is not LockMode.EXCLUSIVE and self.held[ref].get(flow) is not mode
        }

    def is_holder(self, flow: UUID) -> bool:
        return any(flow in holders for holders in self.held.values())

    def in_the_way(self, command: UUID, wait: Wait) -> set[UUID]:
        """The flows for which one that asks would wait."""
        found = set()
        for ref, mode in wait.modes.items():
            found |= {flow for flow, other in self.held[ref].items() if flow != wait.flow and conflict(mode, other)}
            for id, other_wait in self.waits.items():
                is_before = (other_wait.rank, id) < (wait.rank, command) and other_wait.flow != wait.flow
                counts = self.is_holder(other_wait.flow) or not self.is_holder(wait.flow)
                other = other_wait.modes.get(ref)
                if is_before and counts and other is not None and conflict(mode, other):
                    found.add(other_wait.flow)
        return found

    def circle_through(self, start: UUID) -> bool:
        """Whether a flow waits, through others, for itself."""
        seen: set[UUID] = set()
        stack = [start]
        while stack:
            flow = stack.pop()
            for id, wait in self.waits.items():
                if wait.flow == flow:
                    ahead = self.in_the_way(id, wait)
                    if start in ahead:
                        return True
                    stack += ahead - seen
                    seen |= ahead
        return False

    def take(self, flow: UUID, modes: Modes) -> None:
        for ref, mode in modes.items():
            self.held[ref][flow] = mode

    def free(self, flow: UUID, ref: Ref[Any]) -> None:
        self.held[ref].pop(flow, None)


@dataclass
class LockPlay:
    """The flows. Every call is one transaction; what the rows say afterwards must be what the model says."""

    mint: Mint = field(default_factory=Mint)
    model: Model = field(default_factory=Model)
    flows: dict[UUID, Flow] = field(default_factory=dict)
    stored: dict[Any, Record] = field(default_factory=dict)
    #: what a command asked for; it holds it from then on, as long as the scope says
    wants: dict[UUID, Locks] = field(default_factory=dict)
    now: int = 1_000

    # who is there -----------------------------------------------------------------------------------

    def commands(self, *states: State) -> list[CommandRecord]:
        return [row for flow in self.flows.values() for row in flow.commands.values() if row.state in states]

    def waiting(self) -> list[CommandRecord]:
        return [row for row in self.commands(State.PENDING) if row.id in self.model.waits]

    def without_open_parts(self) -> list[CommandRecord]:
        """Commands that execute and whose parts have all ended."""
        return [row for row in self.commands(State.EXECUTING) if not row.open]

    def begin_flow(self, priority: int) -> CommandRecord:
        flow = self.mint.flow_of(Spec())
        flow.put_job(replace(flow.job, priority=priority))
        self.flows[flow.id] = flow
        self._commit(flow)
        return flow.root

    def begin_part(self, parent: CommandRecord) -> CommandRecord:
        flow = self.flows[parent.flow_id]
        position = sum(row.parent_id == parent.id for row in flow.commands.values())
        part = replace(
            flow.root, id=self.mint.new_id(), parent_id=parent.id, state=State.PENDING, depth=parent.depth + 1,
            position=position, started_at=None, best_effort=True, open=0, phase=None,
        )  # fmt: skip
        flow.put_command(part)
        flow.put_command(replace(parent, open=parent.open + 1))
        self._commit(flow)
        return part

    # what they do -----------------------------------------------------------------------------------

    def ask(self, command: CommandRecord, wanted: Locks) -> None:
        """A pending command asks for its locks, for the first time or again."""
        self.wants[command.id] = wanted
        flow, before = self.flows[command.flow_id], dict(self.flows[command.flow_id].locks)
        expected = self._expected(command, wanted)
        acquired = locking.acquire(flow, command, wanted, {}, Rows(self.stored), self.now)
        found = "refused" if acquired.refusals else "waits" if acquired.is_waiting else "takes"
        assert found == expected, acquired
        if found == "takes":
            self._takes(command, wanted)
            return
        assert flow.locks == before, "all or none"
        if found == "refused":
            flow.roll_back()
            self.finish(command, Result.FAILED)
        self._commit(flow)

    def _expected(self, command: CommandRecord, wanted: Locks) -> str:
        """What the model says. One that waits keeps its place, and the end of its patience."""
        model, flow = self.model, self.flows[command.flow_id]
        former = model.waits.pop(command.id, None)
        missing = model.missing(flow.id, wanted.modes())
        rank = former.rank if former else self.now - flow.job.priority * AGEING_US
        wait = Wait(flow.id, missing, rank)
        if not missing:
            return "takes"
        if not model.in_the_way(command.id, wait) and not self._closes_a_circle(flow.id, missing):
            return "takes"
        if not wanted.waits:
            return "refused"
        tickets = [ticket for (id, _), ticket in flow.tickets.items() if id == command.id]
        if tickets and tickets[0].deadline_at is not None and tickets[0].deadline_at <= self.now:
            return "refused"
        model.waits[command.id] = former or wait
        if former is None and model.is_holder(flow.id) and model.circle_through(flow.id):
            del model.waits[command.id]
            return "refused"
        return "waits"

    def _closes_a_circle(self, flow: UUID, missing: Modes) -> bool:
        """Whether the flow, which waits for something else meanwhile, would be waited for by what it waits for."""
        former = {ref: self.model.held[ref].get(flow) for ref in missing}
        self.model.take(flow, missing)
        found = self.model.circle_through(flow)
        for ref, mode in former.items():
            self.model.free(flow, ref)
            if mode is not None:
                self.model.take(flow, {ref: mode})
        return found

    def _takes(self, command: CommandRecord, wanted: Locks) -> None:
        flow = self.flows[command.flow_id]
        self.model.take(flow.id, self.model.missing(flow.id, wanted.modes()))
        flow.put_command(replace(command, state=State.EXECUTING, started_at=self.now))
        self._commit(flow)

    def finish(self, command: CommandRecord, result: Result) -> None:
        """A command without open parts ends; the flow ends with its root."""
        flow, before = self.flows[command.flow_id], dict(self.flows[command.flow_id].locks)
        self.model.waits.pop(command.id, None)
        if command.state is State.PENDING:
            command = replace(command, state=State.VALIDATING)
        if command.state is State.EXECUTING:
            if result is Result.SUCCEEDED:
                lock_scopes.executed(flow, command)
            phase = Phase.END_SUCCESSFULLY if result is Result.SUCCEEDED else Phase.END_WITH_FAILURE
            command = replace(command, state=State.FINALIZING, phase=phase)
        end(flow, command, result, self.now)
        assert flow.locks == before or result is Result.SUCCEEDED or command.parent_id is None, "kept where it fails"
        for ref in REFS:
            if ref not in flow.locks:
                self.model.free(flow.id, ref)
        self._commit(flow)

    def crash(self) -> None:
        """Only the stored rows are left of every flow."""
        for id in self.flows:
            self.flows[id] = Flow.of_rows(row for row in self.stored.values() if _flow_of(row) == id)

    def _commit(self, flow: Flow) -> None:
        flow.seal(self.now, claims=0)
        for change in flow.changes():
            row = change.new or change.old
            assert row is not None
            key = _key(row)
            assert self.stored.get(key) == change.old
            if change.new is None:
                del self.stored[key]
            else:
                self.stored[key] = change.new
        flow.committed()

    # what must be so --------------------------------------------------------------------------------

    def live_claims(self) -> Iterator[tuple[CommandRecord, Ref[Any], LockMode]]:
        """What commands rely on: what they took for the flow, or for an execution that is under way."""
        for flow in self.flows.values():
            for row in flow.commands.values():
                was_begun = row.started_at is not None and flow.root.state is not State.ENDED
                if was_begun and row.id in self.wants:
                    scopes = self.wants[row.id].scopes()
                    for ref, mode in self.wants[row.id].modes().items():
                        if scopes[ref] is LockScope.COMMAND or row.state is State.EXECUTING:
                            yield row, ref, mode


def _flow_of(row: Any) -> UUID:
    found = row.id if isinstance(row, JobRecord) else getattr(row, "flow_id", None) or row.job_id
    assert isinstance(found, UUID)
    return found


def _key(row: Any) -> Any:
    if isinstance(row, LockRecord):
        return LockRecord, row.ref, row.flow_id
    if isinstance(row, TicketRecord):
        return TicketRecord, row.command_id, row.ref
    return type(row), (getattr(row, "seq", None) and (row.flow_id, row.seq)) or row.id
