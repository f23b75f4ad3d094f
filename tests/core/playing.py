"""Plays a flow: does what is due as the runner would, stores what a commit would store, and crashes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from interlock.core import cancelling, entity_ends, narration, planning, settling
from interlock.core.facts import (
    AskEntities,
    CommandOverdue,
    Compensate,
    Compensated,
    CompensateFailed,
    Due,
    EndPhase,
    EndPhaseFailed,
    EndPhaseRan,
    Examine,
    Executed,
    ExecuteFailed,
    Start,
    StartRefused,
    TaskAnswered,
    TaskCleared,
    TaskEnded,
    TaskOverdue,
    TaskProgressed,
    TaskStalled,
)
from interlock.core.flow import Flow
from interlock.core.lifecycle import decide, is_still_due
from interlock.core.settling import Settlement
from interlock.model.changes import Record
from interlock.model.decisions import Decision
from interlock.model.errors import Refused
from interlock.model.failure import Failure
from interlock.model.locks import LockMode
from interlock.model.records import CommandRecord, LockRecord, Role, SnapshotRecord, TaskRecord
from interlock.model.states import COMMAND_MOVES, TASK_MOVES, Outcome, Phase, Result, State, TaskState, row_moves
from interlock.model.wishes import Wish
from tests.core.shapes import REFS, START, Mint, Spec, plan_of

_MOVES: dict[type, Any] = {CommandRecord: row_moves(COMMAND_MOVES), TaskRecord: row_moves(TASK_MOVES)}
_FIRST: dict[type, Any] = {CommandRecord: State.PENDING, TaskRecord: TaskState.INITIALIZING}


@dataclass
class Play:
    """A flow with its stored rows. What is due is kept in the order in which it came."""

    spec: Spec
    mint: Mint = field(default_factory=Mint)
    now: int = START
    due: list[Due] = field(default_factory=list)
    stored: dict[tuple[type, Any], Record] = field(default_factory=dict)
    #: every ref that was stored as locked
    locked: set[Any] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.flow = self.mint.flow_of(self.spec)
        self.commit()
        self.due = [Start(self.flow.id)]

    # the runner's part --------------------------------------------------------------------------------

    def do(self, index: int, how: str = "ok") -> None:
        """Does one of the things that are due: `how` is ok, raise, or (for a start) refuse."""
        due = self.due.pop(index % len(self.due))
        if not is_still_due(self.flow, due, self.now):
            return
        match due:
            case Start():
                self._start(due.command_id, how)
            case EndPhase():
                self._end(due.command_id, due.phase, how)
            case Compensate():
                self._compensate(due, how)
            case AskEntities():
                busy = [] if how == "ok" else ["the disk is copied"]
                self.due += entity_ends.asked(self.flow, due.command_id, busy, self.now)

    def _decide(self, fact: Any) -> None:
        self.due += decide(self.flow, fact, self.now)

    def _start(self, id: UUID, how: str) -> None:
        command = self.flow.commands[id]
        if how == "refuse":
            self._decide(StartRefused(id, Failure("the disk is in use")))
        elif how == "raise":
            self._decide(ExecuteFailed(id, Failure("execute raised")))
        else:
            for n in self.mint.spec_of(command).locks:
                self.flow.put_lock(LockRecord(REFS[n], self.flow.id, LockMode.EXCLUSIVE, id, self.now))
                self.flow.put_snapshot(SnapshotRecord(self.flow.id, id, REFS[n], len(self.flow.snapshots), None, None))
            children = self._lay_out(command, self.mint.spec_of(command).plan, Role.FORWARD)
            self._decide(Executed(id))
            self.due += map(Start, children)

    def _lay_out(self, command: CommandRecord, shape: Any, role: Role, undoes: UUID | None = None) -> list[UUID]:
        plan, author = plan_of(shape), self.mint.author
        return planning.lay_out(self.flow, command, plan, role, author, self.now, undoes=undoes)

    def _end(self, id: UUID, phase: Phase, how: str) -> None:
        command = self.flow.commands[id]
        if how != "ok":
            self._decide(EndPhaseFailed(id, "it raised"))
        elif phase is Phase.END_SUCCESSFULLY:
            self._decide(EndPhaseRan(id, "7"))
        else:
            children = self._lay_out(command, self.mint.spec_of(command).end_plan, Role.END)
            self._decide(EndPhaseRan(id))
            self.due += map(Start, children)

    def _compensate(self, due: Compensate, how: str) -> None:
        command, undone = self.flow.commands[due.command_id], self.flow.commands[due.undone]
        completed = self.completed_below(command)
        assert all(row.undo is not None for row in completed if (row.ended_seq or 0) > (undone.ended_seq or 0))
        assert undone.id in {row.id for row in completed}
        if how != "ok":
            self._decide(CompensateFailed(command.id, undone.id, "it raised"))
        else:
            children = self._lay_out(command, self.mint.spec_of(undone).undo_plan, Role.UNDO, undone.id)
            self._decide(Compensated(command.id, undone.id))
            self.due += map(Start, children)

    def completed_below(self, command: CommandRecord) -> list[CommandRecord]:
        """What a failed command must undo: not what is past a point of no return, nor what came before that."""
        children = self.flow.children_of(command.id, Role.FORWARD)
        kept = {child.position for child in children if self._has_passed(child)}
        for child in reversed(children):  # a later position may come after an earlier one, never the other way
            if child.position in kept:
                kept |= set(child.after)
        found = []
        for child in children:
            if child.result is Result.SUCCEEDED and child.position not in kept:
                found += [child, *self.completed_below(child)]
        return found

    def _has_passed(self, command: CommandRecord) -> bool:
        """Whether this attempt at it, or any other, has passed its return or a return of its parts."""
        others = (row for row in self.flow.commands.values() if row.parent_id == command.parent_id)
        attempts = [row for row in others if (row.plan, row.position) == (command.plan, command.position)]
        if any(row.options.no_return and (row.result is Result.SUCCEEDED or row.has_leftovers) for row in attempts):
            return True
        return any(self._has_passed(child) for row in attempts for child in self.flow.children_of(row.id, Role.FORWARD))

    # what hosts say -----------------------------------------------------------------------------------

    def open_tasks(self) -> list[TaskRecord]:
        return [task for task in self.flow.tasks.values() if task.outcome is None]

    def answer(self, index: int) -> None:
        """A host has begun a task."""
        task = self.open_tasks()[index % len(self.open_tasks())]
        self._decide(TaskAnswered(task.id, f"h{task.id.int}"))

    def report(self, index: int, progress: int) -> None:
        """A host tells how far a task is."""
        task = self.open_tasks()[index % len(self.open_tasks())]
        self._decide(TaskProgressed(task.id, "running", progress))

    def finish(self, index: int, outcome: Outcome = Outcome.SUCCEEDED, host_result: str | None = None) -> None:
        """A task ends; the news comes twice."""
        task = self.open_tasks()[index % len(self.open_tasks())]
        for _ in range(2):
            self._decide(TaskEnded(task.id, outcome, "finished", host_result, message="so it was"))

    def stall(self, index: int) -> None:
        """A host says nothing new of a task."""
        task = self.open_tasks()[index % len(self.open_tasks())]
        self._decide(TaskStalled(task.id, "running", "said by the host", 600.0))

    def overdue(self, index: int) -> None:
        """A timer fires, for whatever command or task, at whatever moment."""
        rows: list[CommandRecord | TaskRecord] = [*self.flow.commands.values(), *self.flow.tasks.values()]
        row = rows[index % len(rows)]
        self._decide(CommandOverdue(row.id) if isinstance(row, CommandRecord) else TaskOverdue(row.id))

    def clear(self, *, ok: bool) -> None:
        """Hosts are asked to forget what has ended, and do or do not."""
        for task in list(self.flow.tasks.values()):
            if task.state in (TaskState.ENDED, TaskState.CLEAR_FAILED):
                self._decide(TaskCleared(task.id, ok))

    # the store's part ---------------------------------------------------------------------------------

    def commit(self) -> None:
        """Stores the change set; checks that rows make only legal moves and progress never goes back."""
        narration.roll_up(self.flow)
        self.flow.seal(self.now, claims=0)
        for change in self.flow.changes():
            old, new = change.old, change.new
            one = new or old
            assert one is not None
            key = (type(one), _key(one))
            assert self.stored.get(key) == old, f"the change of {key} starts from what is not stored"
            if isinstance(new, CommandRecord | TaskRecord):
                before = getattr(old, "state", _FIRST[type(new)])
                assert before is new.state or (before, new.state) in _MOVES[type(new)]
            if old is not None and new is not None and hasattr(new, "progress"):
                assert new.progress >= getattr(old, "progress", 0)
            if isinstance(new, LockRecord):
                self.locked.add(new.ref)
            if new is None:
                del self.stored[key]
            else:
                self.stored[key] = new
        self.flow.committed()
        assert not self.flow.changes()

    def crash(self, order: Sequence[int] = ()) -> None:
        """Only the stored rows are left, in any order; everything is examined, some of it twice."""
        rows = list(self.stored.values())
        for n in order:
            rows.append(rows.pop(n % len(rows)))
        self.flow = Flow.of_rows(rows)
        self._examine_all()

    def roll_back(self) -> None:
        """The change set met a conflict: it is forgotten, and all is looked at again."""
        self.flow.roll_back()
        self._examine_all()

    def _examine_all(self) -> None:
        self.due.clear()
        for _ in range(2):
            for command in list(self.flow.commands.values()):
                self._decide(Examine(command.id))

    def wait(self, us: int) -> None:
        """Time passes; end phases whose pause is over, or whose entities are free, are due again."""
        self.now += us
        for command in list(self.flow.commands.values()):
            is_time = command.retry_at is not None and command.retry_at <= self.now
            if is_time or entity_ends.awaits_entities(command):
                self._decide(Examine(command.id))

    def mend(self) -> None:
        """A new engine tries again what was given to a person."""
        for command in list(self.flow.commands.values()):
            if command.attention is not None and command.result is None:
                self.flow.put_command(replace(command, attention=None, attempts=0, retry_at=None))
                self._decide(Examine(command.id))
            elif command.asking is not None and self.flow.commands[command.id].asking is not None:
                self._answer(command)

    def _answer(self, command: CommandRecord) -> None:
        """A person has what failed tried again, or cancels where something of it is left."""
        mark = self.flow.mark()
        try:
            wish = Settlement(Decision.RETRY, command.id, "ann", "so")
            settling.settle(self.flow, settling.chosen(self.flow, wish), wish, self.now)
        except Refused:
            self.flow.roll_back(mark)
            cancelling.cancel(self.flow, Wish(UUID(int=1), "ann", "so", command.id), self.now)
        for row in list(self.flow.commands.values()):
            self._decide(Examine(row.id))

    def put_off(self, index: int) -> None:
        """The change set is full: what is due is left to the next one, which examines the command."""
        self._decide(Examine(self.due.pop(index % len(self.due)).command_id))

    def play_out(self, luck: Sequence[tuple[str, Outcome]] = ()) -> None:
        """To the end, in a bounded number of moves; when the luck is used up everything succeeds."""
        rest = list(luck)
        for _ in range(5_000):
            how, outcome = rest.pop() if rest else ("ok", Outcome.SUCCEEDED)
            if self.due:
                self.do(0, how)
            elif self.open_tasks():
                self.finish(0, outcome)
            elif self.flow.root.state is State.ENDED:
                break
            else:
                self.wait(100_000_000)
                self.mend()
        assert self.flow.root.state is State.ENDED, self.flow.commands
        self.clear(ok=True)
        self.commit()


def _key(row: Any) -> Any:
    if isinstance(row, LockRecord):
        return row.ref
    if isinstance(row, SnapshotRecord):
        return row.command_id, row.ref
    return row.seq if hasattr(row, "seq") else row.id
