"""A flow in memory: its committed rows, and on top the change set of the transaction under way.

Every write goes through `put_*`, which remembers what was there; `roll_back` forgets, `changes` says what
to store, `committed` makes it the new ground. The database stays the truth: a flow may be dropped and
loaded at will.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.model.changes import Change, Record
from interlock.model.errors import Bug
from interlock.model.limits import LimitTicketRecord, LimitUseRecord
from interlock.model.locks import LockScope
from interlock.model.records import (
    ActionRecord,
    CommandRecord,
    EventRecord,
    FormerRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    Role,
    Severity,
    SignalRecord,
    SnapshotRecord,
    StepRecord,
    TaskRecord,
    TicketRecord,
)
from interlock.model.refs import Ref
from interlock.model.replacing import replace
from interlock.model.text import legible

Table = dict[Any, Any]
Mark = tuple[int, int]

#: one plan: whose, which phase's, and for UNDO which command it undoes
PlanKey = tuple[UUID, Role, UUID | None]
#: one position of a plan
PlaceKey = tuple[UUID, Role, UUID | None, int]


@dataclass(slots=True)
class Pool:
    """The parts of one group that is bounded or stops on a failure: what can be counted again from the rows."""

    #: those that have not begun, the first last
    waiting: list[UUID]
    running: int
    has_failed: bool


class Flow:
    """The rows of one flow. Not thread-safe: it has one user at a time."""

    def __init__(self, id: UUID) -> None:
        self.id = id
        self.commands: dict[UUID, CommandRecord] = {}
        self.tasks: dict[UUID, TaskRecord] = {}
        self.steps: dict[UUID, StepRecord] = {}
        self.locks: dict[Ref[Any], LockRecord] = {}
        self.tickets: dict[tuple[UUID, Ref[Any]], TicketRecord] = {}
        #: the jobs that this one comes after
        self.formers: dict[UUID, FormerRecord] = {}
        #: what has started under a limit, by command and key; also what counts no more
        self.uses: dict[tuple[UUID, str], LimitUseRecord] = {}
        self.limit_tickets: dict[tuple[UUID, str], LimitTicketRecord] = {}
        self.snapshots: dict[tuple[UUID, Ref[Any]], SnapshotRecord] = {}
        self.leftovers: dict[UUID, LeftoverRecord] = {}
        self.jobs: dict[UUID, JobRecord] = {}
        self.signals: dict[UUID, Change] = {}
        self.actions: dict[UUID, ActionRecord] = {}
        self.entities: dict[Ref[Any], Change] = {}
        self.events: list[EventRecord] = []
        self.children: dict[PlanKey, list[UUID]] = {}
        self.tasks_of: dict[PlanKey, list[UUID]] = {}
        #: the latest attempt at each position
        self.places: dict[PlaceKey, UUID] = {}
        #: all attempts at a position at which there were several
        self._attempts: dict[PlaceKey, list[UUID]] = {}
        #: who comes after a position
        self.waiters: dict[PlaceKey, list[UUID]] = {}
        #: refs on which a command may hold locks of the scope of its execution
        self._passing: dict[UUID, dict[Ref[Any], None]] = {}
        self.pools: dict[tuple[PlanKey, int | None], Pool] = {}
        self.undo_queues: dict[UUID, list[UUID]] = {}
        self.undoing: dict[UUID, UUID] = {}
        #: commands of which an event of this engine says that their end waits for other flows
        self.told_to_wait: set[UUID] = set()
        self.ended_count = 0
        self._event_seq = 0
        self._log: list[tuple[Table, Any, Any]] = []

    # reading ----------------------------------------------------------------------------------------

    @property
    def job(self) -> JobRecord:
        return self.jobs[self.id]

    @property
    def root(self) -> CommandRecord:
        return self.commands[self.id]

    def children_of(self, command: UUID, role: Role, undoes: UUID | None = None) -> list[CommandRecord]:
        """The children that this role's plan (for UNDO: of undoing that command) made, in the plan's order; of a
        part that was tried again the latest attempt."""
        return [self.commands[child] for child in self.children.get((command, role, undoes), ())]

    def at(self, plan: PlanKey, position: int) -> CommandRecord | None:
        """The child at that position of a plan, in its latest attempt."""
        id = self.places.get((*plan, position))
        return None if id is None else self.commands[id]

    def attempts_at(self, command: CommandRecord) -> list[CommandRecord]:
        """The command and all other attempts at its position."""
        ids = self._attempts.get((*command.plan, command.position))
        return [command] if ids is None else [self.commands[id] for id in ids]

    def tasks_for(self, command: UUID, role: Role, undoes: UUID | None = None) -> list[TaskRecord]:
        """The async tasks that this role's plan made, in the plan's order."""
        return [self.tasks[task] for task in self.tasks_of.get((command, role, undoes), ())]

    def passing_locks(self, command: UUID) -> list[LockRecord]:
        """The locks that the command holds only while it executes."""
        held = (self.locks.get(ref) for ref in self._passing.get(command, ()))
        return [lock for lock in held if lock is not None and lock.scope is LockScope.EXECUTION]

    # writing ----------------------------------------------------------------------------------------

    def _put(self, table: Table, key: Any, row: Any) -> None:
        self._log.append((table, key, table.get(key)))
        if row is None:
            table.pop(key, None)
        else:
            table[key] = row

    def put_command(self, row: CommandRecord) -> None:
        if row.id not in self.commands:
            self._index_command(row)
        self._put(self.commands, row.id, row)

    def put_task(self, row: TaskRecord) -> None:
        if row.id not in self.tasks:
            self._index_task(row)
        self._put(self.tasks, row.id, row)

    def put_step(self, row: StepRecord) -> None:
        self._put(self.steps, row.id, row)

    def put_job(self, row: JobRecord) -> None:
        self._put(self.jobs, row.id, row)

    def put_lock(self, row: LockRecord) -> None:
        self._index_lock(row)
        self._put(self.locks, row.ref, row)

    def drop_lock(self, ref: Ref[Any]) -> None:
        self._put(self.locks, ref, None)

    def put_ticket(self, row: TicketRecord) -> None:
        self._put(self.tickets, (row.command_id, row.ref), row)

    def drop_tickets(self, command_id: UUID) -> None:
        """The command waits for no lock any more."""
        for key in [key for key in self.tickets if key[0] == command_id]:
            self._put(self.tickets, key, None)

    def put_former(self, row: FormerRecord) -> None:
        self._put(self.formers, row.former_id, row)

    def put_use(self, row: LimitUseRecord) -> None:
        self._put(self.uses, (row.command_id, row.key), row)

    def new_uses(self, key: str) -> int:
        """How many starts under the limit this change set adds."""
        return sum(table is self.uses and at[1] == key and at in self.uses for table, at, _ in self._log)

    def put_limit_ticket(self, row: LimitTicketRecord) -> None:
        self._put(self.limit_tickets, (row.command_id, row.key), row)

    def drop_limit_tickets(self, command_id: UUID, but: Collection[str] = ()) -> None:
        """The command waits for no limit's room any more, or for that of these keys only."""
        for at in [at for at in self.limit_tickets if at[0] == command_id and at[1] not in but]:
            self._put(self.limit_tickets, at, None)

    def put_snapshot(self, row: SnapshotRecord) -> None:
        self._put(self.snapshots, (row.command_id, row.ref), row)

    def drop_snapshot(self, row: SnapshotRecord) -> None:
        self._put(self.snapshots, (row.command_id, row.ref), None)

    def put_leftover(self, row: LeftoverRecord) -> None:
        self._put(self.leftovers, row.id, row)

    def send_signal(self, row: SignalRecord) -> None:
        """News for waits, of whatever flow."""
        self._put(self.signals, row.id, Change(None, row))

    def announced(self, kind: str) -> tuple[UUID, ...]:
        """The signals of that kind that this change set sends; they have no numbers yet."""
        sent = (change.new for change in self.signals.values() if change.old is None)
        return tuple(row.id for row in sent if isinstance(row, SignalRecord) and row.kind == kind)

    def take_signal(self, row: SignalRecord, task_id: UUID) -> None:
        """A stored signal that was addressed to this flow is used up."""
        self._put(self.signals, row.id, Change(row, replace(row, taken_by=task_id)))

    def add_action(self, row: ActionRecord) -> None:
        """What a person did."""
        self._put(self.actions, row.id, row)

    def put_entity(self, ref: Ref[Any], change: Change) -> None:
        self._put(self.entities, ref, change)

    def add_event(
        self,
        now: int,
        kind: str,
        message: str,
        severity: Severity = Severity.INFO,
        *,
        command_id: UUID | None = None,
        task_id: UUID | None = None,
        user: str | None = None,
    ) -> None:
        """A line of the audit log, with the flow's next number."""
        self._event_seq += 1
        self.events.append(
            EventRecord(
                self.id, self._event_seq, now, severity, kind, legible(message), self.job.correlation_id, user,
                command_id, task_id,
            )
        )  # fmt: skip

    def next_ended(self) -> int:
        """The next place in the order of ends."""
        self.ended_count += 1
        return self.ended_count

    def _index_command(self, row: CommandRecord) -> None:
        if row.parent_id is None:
            return
        plan = (row.parent_id, row.role, row.undoes)
        former = self.places.get((*plan, row.position))
        if former is not None:
            self._index_attempt(plan, former, row)
            return
        self.places[(*plan, row.position)] = row.id
        self.children.setdefault(plan, []).append(row.id)
        self._index_waits(plan, row)

    def _index_waits(self, plan: PlanKey, row: CommandRecord) -> None:
        for position in row.after:
            self.waiters.setdefault((*plan, position), []).append(row.id)
        if row.options_json is not None and row.options.choice is not None:
            self.waiters.setdefault((*plan, row.position - 1), []).append(row.id)

    def _index_attempt(self, plan: PlanKey, former: UUID, row: CommandRecord) -> None:
        """The latest attempt has the place, in whatever order the rows come."""
        self._attempts.setdefault((*plan, row.position), [former]).append(row.id)
        if self.commands[former].attempt < row.attempt:
            self.places[(*plan, row.position)] = row.id
            children = self.children[plan]
            children[children.index(former)] = row.id
            self._index_waits(plan, row)

    def _index_lock(self, row: LockRecord) -> None:
        if row.scope is LockScope.EXECUTION:
            self._passing.setdefault(row.command_id, {})[row.ref] = None

    def _index_task(self, row: TaskRecord) -> None:
        self.tasks_of.setdefault((row.command_id, row.role, row.undoes), []).append(row.id)

    # the change set ---------------------------------------------------------------------------------

    @property
    def is_changed(self) -> bool:
        return bool(self._log or self.events)

    @property
    def rows_changed(self) -> int:
        """About how many rows the change set writes."""
        return len(self._log) + len(self.events)

    def mark(self) -> Mark:
        """A point to roll back to."""
        return len(self._log), len(self.events)

    def roll_back(self, mark: Mark = (0, 0)) -> None:
        """Forgets every write since the mark (default: all of the change set)."""
        log, events = mark
        created = False
        for table, key, old in reversed(self._log[log:]):
            if old is None:
                created |= table is self.commands or table is self.tasks
                table.pop(key, None)
            else:
                table[key] = old
        del self._log[log:], self.events[events:]
        self._event_seq = self.events[-1].seq if self.events else self._stored_events()
        self.undo_queues.clear()
        self.undoing.clear()
        self.pools.clear()
        self.told_to_wait.clear()
        self.ended_count = max((row.ended_seq or 0 for row in self.commands.values()), default=0)
        if created:
            self._index_all()

    def _stored_events(self) -> int:
        return self.jobs[self.id].events if self.id in self.jobs else 0

    def _index_all(self) -> None:
        self.children, self.tasks_of, self.waiters, self.places, self._attempts = {}, {}, {}, {}, {}
        for command in self.commands.values():
            self._index_command(command)
        for task in self.tasks.values():
            self._index_task(task)

    def changes(self) -> list[Change]:
        """What to store: each row once, from its committed form to its present one."""
        first: dict[tuple[int, Any], tuple[Table, Any, Any]] = {}
        for table, key, old in self._log:
            first.setdefault((id(table), key), (table, key, old))
        changes: list[Change] = []
        for table, key, old in first.values():
            new = table.get(key)
            if table is self.entities or table is self.signals:
                if new is not None and (new.old or new.new):
                    changes.append(new)
            elif old is not new and not (old is None and new is None):
                changes.append(Change(old, new))
        changes += [Change(None, event) for event in self.events]
        return changes

    def seal(self, now: int, *, claims: int) -> None:
        """Notes on the job what is about to be stored: the last event's number, and claims without progress."""
        self.put_job(replace(self.job, events=self._event_seq, updated_at=now, claims=claims))

    def committed(self) -> None:
        """The change set is stored: it is the ground now."""
        self._log.clear()
        self.events.clear()
        self.entities.clear()
        self.signals.clear()
        self.actions.clear()

    # loading ----------------------------------------------------------------------------------------

    @classmethod
    def of_rows(cls, rows: Iterable[Record]) -> "Flow":
        """A flow from stored rows of any kind."""
        stored = list(rows)
        job = next((row for row in stored if isinstance(row, JobRecord)), None)
        if job is None:
            raise Bug("a flow without a job row was loaded; run `interlock verify`")
        flow = cls(job.id)
        flow.jobs[job.id] = job
        for row in stored:
            flow._take(row)
        # children in the order of the plan, whatever order the rows came in
        flow.commands = dict(sorted(flow.commands.items(), key=lambda item: item[1].position))
        flow.tasks = dict(sorted(flow.tasks.items(), key=lambda item: item[1].position))
        flow.steps = dict(sorted(flow.steps.items(), key=lambda item: item[1].parent_step_id is not None))
        flow._index_all()
        flow.ended_count = max((row.ended_seq or 0 for row in flow.commands.values()), default=0)
        flow._event_seq = job.events
        return flow

    def _take(self, row: Record) -> None:
        match row:
            case CommandRecord():
                self.commands[row.id] = row
            case TaskRecord():
                self.tasks[row.id] = row
            case StepRecord():
                self.steps[row.id] = row
            case LockRecord():
                self.locks[row.ref] = row
                self._index_lock(row)
            case TicketRecord():
                self.tickets[row.command_id, row.ref] = row
            case FormerRecord():
                self.formers[row.former_id] = row
            case LimitUseRecord():
                self.uses[row.command_id, row.key] = row
            case LimitTicketRecord():
                self.limit_tickets[row.command_id, row.key] = row
            case SnapshotRecord():
                self.snapshots[row.command_id, row.ref] = row
            case LeftoverRecord():
                self.leftovers[row.id] = row
            case _:
                pass
