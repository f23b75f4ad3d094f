"""Runs what is due: facts in, phases run in the flow's change set, results fed back, until it is quiet.

One run is one transaction of its flow. A phase that raises fails its own command only; a part that may not
begin takes back the phase that planned it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from interlock.catalog import Unreadable
from interlock.command import Command
from interlock.coordinator import accepting, beginning, judging, locking
from interlock.coordinator.accepting import Submission
from interlock.coordinator.change_set import ChangeSet, World
from interlock.coordinator.clashes import refuse_clash
from interlock.coordinator.entity_waits import others_at_work
from interlock.coordinator.linking import link_changes
from interlock.coordinator.locking import Acquisition
from interlock.coordinator.phase_db import PhaseDb
from interlock.coordinator.refusing import must_begin, refusal_of
from interlock.coordinator.snapshot import Snapshot
from interlock.core import entity_ends, narration, planning, stopping
from interlock.core.ending import failure_of
from interlock.core.facts import (
    AskEntities,
    AskFormers,
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
    Fact,
    Judge,
    NeverStarts,
    Start,
    StartRefused,
    TaskEnded,
    cause_of,
)
from interlock.core.flow import Flow, Mark
from interlock.core.lifecycle import decide, is_still_due
from interlock.core.planning import Author, Described
from interlock.model.changes import Change
from interlock.model.errors import Bug, Refused
from interlock.model.failure import Failure
from interlock.model.limits import LimitUseRecord
from interlock.model.plan import Group, Plan, TaskWork
from interlock.model.records import CommandRecord, Role, TaskRecord
from interlock.model.states import Outcome, Phase, State
from interlock.model.text import legible
from interlock.secrets import dump_sealed
from interlock.steps import Steps

#: beyond this many rows in one change set further parts are executed in further transactions
ROWS_MAX = 1_000
#: how many phases one run may run before it commits what it has
PHASES_MAX = 5_000
#: what a phase may raise; the exit of the process is not for phases to decide
RAISED = (Exception, SystemExit)

_log = structlog.get_logger(__name__)


class Runner:
    """One run of one flow over one snapshot."""

    def __init__(self, world: World, flow: Flow, snapshot: Snapshot, now: int) -> None:
        self._world = world
        self.flow = self._flow = flow
        self._snapshot = snapshot
        self._now = now
        self._limits = world.limits.now
        self._stale: dict[LimitUseRecord, None] = {}
        self._later: list[Fact] = []
        self._born: list[Flow] = []
        self._objects: dict[UUID, Command[Any]] = {}
        self._author = Author(
            world.new_id, self._describe, self._dump_arguments, world.incarnation_of, snapshot.last_signal,
            self._begin_job,
        )  # fmt: skip

    def accept(self, submission: Submission) -> None:
        """Begins a new flow. Raises what `accepting.accept` raises."""
        self._objects[submission.flow_id] = submission.command
        root = self._accept(self._flow, submission)
        self._run(self._decide(Examine(root.id)))

    def accept_to_wait(self, submission: Submission) -> list[str]:
        """As `accept`, but nothing of it runs yet; returns the reasons for which it may not."""
        self._objects[submission.flow_id] = submission.command
        root = self._accept(self._flow, submission)
        mark = self._mark()
        reasons = self._prepare(root).refusals
        self._roll_back(mark)
        return reasons

    def never_start(self, failure: Failure, *, refused: bool) -> None:
        """What was accepted to wait ends: it was refused itself, or others of the same call were."""
        id = self._flow.id
        self._decide(StartRefused(id, failure) if refused else NeverStarts(id, failure))

    def _accept(self, flow: Flow, submission: Submission, *, by_person: bool = True) -> CommandRecord:
        return accepting.accept(
            flow, submission, self._snapshot, self._world.catalog, self._world.keyring, self._title, self._now,
            added={ref for ref, change in self._flow.entities.items() if change.new is not None},
            by_person=by_person,
        )  # fmt: skip

    def _begin_job(self, command: Command[Any]) -> UUID:
        """A job of its own, in this transaction; it runs after the commit."""
        job = self._flow.job
        wanted = accepting.submission(
            self._world.catalog, command, correlation_id=job.correlation_id, user=job.user, priority=job.priority
        )
        flow = Flow(wanted.flow_id)
        self._accept(flow, wanted, by_person=False)
        self._born.append(flow)
        return flow.id

    def take(self, facts: Sequence[Fact]) -> None:
        """Facts about a flow under way, in the order in which they happened."""
        due: list[Due] = []
        for fact in facts:
            due += decide(self._flow, fact, self._now)
        self._run(due)

    def change_set(self, *, progress: bool = True) -> ChangeSet | None:
        """What is to be committed; None where nothing has changed. `progress`: the flow itself went on."""
        flow, snapshot = self._flow, self._snapshot
        claims = flow.job.claims if flow.commands else 0
        if not flow.is_changed:
            if not (progress and claims):
                return None
            claims -= 1  # this attempt came to its end; those that did not count until the flow goes on
        elif progress:
            claims = 0
        narration.roll_up(flow)
        flow.seal(self._now, claims=claims)
        links, bumps = link_changes(flow, self._world.catalog)
        changes = flow.changes() + links + [Change(use, None) for use in self._stale]
        for born in self._born:
            born.seal(self._now, claims=0)
            changes += born.changes()
        return ChangeSet(
            flow, changes, bumps, snapshot.reads, snapshot.link_reads, snapshot.lock_wants,
            snapshot.needs_writer, self._limits, self._later, self._born,
        )  # fmt: skip

    def _mark(self) -> tuple[Mark, int, int]:
        return self._flow.mark(), len(self._later), len(self._born)

    def _roll_back(self, mark: tuple[Mark, int, int]) -> None:
        """Takes back what a phase has made."""
        rows, later, born = mark
        self._flow.roll_back(rows)
        del self._later[later:], self._born[born:]

    # what is due ------------------------------------------------------------------------------------

    def _run(self, due: list[Due]) -> None:
        ran = 0
        while due:
            ran += 1
            if ran > PHASES_MAX or self._flow.rows_changed > 4 * ROWS_MAX:
                self._later += map(cause_of, due)
                return
            each = due.pop()
            if not is_still_due(self._flow, each, self._now):
                continue
            match each:
                case Start():
                    due += self._start_one(each.command_id)
                case EndPhase():
                    due += self._end(self._flow.commands[each.command_id], each.phase)
                case Compensate():
                    due += self._compensate(each)
                case Judge():
                    due += self._judge(self._flow.tasks[each.task_id])
                case AskFormers():
                    fact = judging.formers_of(self._flow, self._snapshot)
                    due += self._decide(fact) if fact is not None else []
                case AskEntities():
                    busy = others_at_work(self._flow, each.command_id, self._snapshot)
                    due += entity_ends.asked(self._flow, each.command_id, busy, self._now)

    def _start_one(self, id: UUID) -> list[Due]:
        """A part whose turn has come, or a flow command."""
        prepared = self._prepare(self._flow.commands[id])
        if prepared.refusals:
            return self._decide(StartRefused(id, refusal_of(self._flow.commands[id], prepared.refusals)))
        return [] if prepared.is_waiting else self._execute(id)

    def _start_all(self, ids: Sequence[UUID]) -> Failure | list[Due]:
        """The parts of a plan that are due at once: locked and validated all or none, then executed."""
        refused: dict[UUID, Failure] = {}
        waiting: set[UUID] = set()
        for id in ids:
            command = self._flow.commands[id]
            prepared = self._prepare(command)
            if prepared.refusals:
                refused[id] = refusal_of(command, prepared.refusals)
            elif prepared.is_waiting:
                waiting.add(id)
        hard = [refused[id] for id in refused if must_begin(self._flow.commands[id])]
        if hard:
            return Failure.of(hard[0].message, [cause for each in hard for cause in each.causes])
        due: list[Due] = []
        for id in ids:
            if id in refused:
                due += self._decide(StartRefused(id, refused[id]))
            elif id in waiting or self._flow.commands[id].state is not State.PENDING:
                continue  # those before it may have ended it: all of a group that stops on a failure
            elif self._flow.rows_changed > ROWS_MAX:
                self._later.append(Examine(id))
            else:
                due += self._execute(id)
        return due

    def _prepare(self, command: CommandRecord) -> Acquisition:
        """Takes the locks and validates: every reason why it may not run, or that it waits."""
        mark = self._mark()
        is_waiting = False
        try:
            subject, db = self._object(command), self._db(command)
            acquired, stale = beginning.acquire(
                self._flow, command, subject, db, self._limits, self._snapshot, self._world.catalog, self._now
            )
            self._stale |= dict.fromkeys(stale)
            is_waiting = acquired.is_waiting
            reasons = acquired.refusals + [refusal.message for refusal in subject.validate(db)]
        except Refused as error:
            reasons = list(error.reasons)
        except Unreadable as error:
            reasons = [str(error)]
        except RAISED as error:
            reasons = [self._raised(command, "validate", error)]
        if reasons:
            self._roll_back(mark)
        return Acquisition(reasons, is_waiting)

    def _execute(self, id: UUID) -> list[Due]:
        command, mark = self._flow.commands[id], self._mark()
        refused = failed = None
        try:
            plan = self._object(command).execute(self._db(command))
            children = self._lay_out(command, plan, Role.FORWARD)
        except Refused as error:
            refused = refusal_of(command, error.reasons)
        except RAISED as error:
            failed = Failure(self._raised(command, "execute", error))
        else:
            due = self._decide(Executed(id))
            started = self._start_all(children)
            if isinstance(started, list):
                return due + started
            failed = started
        self._roll_back(mark)
        if refused is not None:
            return self._decide(StartRefused(id, refused))
        assert failed is not None
        return self._decide(ExecuteFailed(id, failed))

    def _end(self, command: CommandRecord, phase: Phase) -> list[Due]:
        mark = self._mark()
        try:
            subject, db = self._object(command), self._db(command)
            if phase is Phase.END_SUCCESSFULLY:
                value = self._world.catalog.write_value(subject, subject.end_successfully(db))
                return self._decide(EndPhaseRan(command.id, value))
            plan = subject.end_with_failure(db, self._failure(command))
            children = self._lay_out(command, plan, Role.END)
        except RAISED as error:
            reason = self._raised(command, phase, error)
        else:
            due = self._decide(EndPhaseRan(command.id))
            started = self._start_all(children)
            if isinstance(started, list):
                return due + started
            reason = started.message
        self._roll_back(mark)
        return self._decide(EndPhaseFailed(command.id, reason))

    def _compensate(self, each: Compensate) -> list[Due]:
        mark = self._mark()
        command, undone = self._flow.commands[each.command_id], self._flow.commands[each.undone]
        try:
            plan = self._object(undone).compensate(self._db(undone))
            children = self._lay_out(command, plan, Role.UNDO, undone.id)
        except Unreadable as error:
            self._roll_back(mark)
            narration.raise_attention(self._flow, self._flow.commands[command.id], str(error), self._now)
            return []
        except RAISED as error:
            reason = self._raised(undone, Phase.COMPENSATE, error)
        else:
            due = self._decide(Compensated(command.id, undone.id))
            started = self._start_all(children)
            if isinstance(started, list):
                return due + started
            reason = started.message
        self._roll_back(mark)
        return self._decide(CompensateFailed(command.id, undone.id, reason))

    def _judge(self, task: TaskRecord) -> list[Due]:
        """A wait: asks the method, or looks for the signal, the answer, the job."""
        mark, planner = self._mark(), judging.planner_of(self._flow, task)
        try:
            ended = judging.judge(
                self._flow, task, self._object(planner), self._db(planner), self._snapshot, self._world, self._limits,
            )  # fmt: skip
        except Unreadable as error:
            self._roll_back(mark)
            ended = stopping.goes_on(self._flow, task.id)
            if ended is None:
                judging.needs_person(self._flow, task, error, self._now)
                return []
        except Refused as error:
            ended = TaskEnded(task.id, Outcome.FAILED, message=str(error))
        except RAISED as error:
            ended = TaskEnded(task.id, Outcome.FAILED, message=self._raised(planner, task.method, error))
        else:
            ended = ended or stopping.goes_on(self._flow, task.id)
            return self._decide(ended) if ended is not None else []
        self._roll_back(mark)
        return self._decide(ended)

    def _lay_out(self, command: CommandRecord, plan: Plan, role: Role, undoes: UUID | None = None) -> list[UUID]:
        """Makes the plan's rows, and takes the locks that its tasks need."""
        flow = self._flow
        children = planning.lay_out(flow, command, plan, role, self._author, self._now, undoes=undoes)
        if role is Role.FORWARD:
            refuse_clash(flow, command, self._object, self._db)
        touched = locking.touching(flow, flow.tasks_for(command.id, role, undoes))
        acquired = locking.acquire(flow, command, touched, self._limits, self._snapshot, self._now)
        if acquired.refusals:
            raise Refused(*acquired.refusals)
        return children

    # small things -----------------------------------------------------------------------------------

    def _decide(self, fact: Fact) -> list[Due]:
        return decide(self._flow, fact, self._now)

    def _failure(self, command: CommandRecord) -> Failure:
        if command.failure_json is not None:
            return Failure.from_json(command.failure_json)
        failure = failure_of(self._flow, command)
        if failure is None:
            raise Bug(f"command {command.id} ends with failure but nothing failed")
        return failure

    def _object(self, command: CommandRecord) -> Command[Any]:
        known = self._objects.get(command.id)
        if known is None:
            known = self._objects[command.id] = self._world.catalog.read_command(
                command.name, command.version, command.parameters_json, self._world.keyring
            )
        return known

    def _db(self, command: CommandRecord) -> PhaseDb:
        world = self._world
        return PhaseDb(self._flow, command, self._snapshot, world.catalog, self._object, world.new_id, self._now)

    def _describe(self, work: Command[Any] | Group) -> Described:
        command = Steps(plan=work) if isinstance(work, Group) else work
        self._world.catalog.known(command)
        kind = command.command_type
        text = self._world.catalog.write_command(command, self._world.keyring)
        return Described(
            kind.name, kind.version, text, accepting.unique_refs(command), self._title(command, self._flow.root),
            kind.ends, kind.timeout_s, kind.resumable, kind.skippable,
        )  # fmt: skip

    def _dump_arguments(self, work: TaskWork) -> str:
        return dump_sealed(work.arguments, self._world.keyring)

    def _title(self, command: Command[Any], record: CommandRecord) -> str:
        """A title is for people: one that cannot be made falls back to the name."""
        try:
            return legible(command.title(self._db(record)))
        except Refused:
            return command.command_type.name
        except RAISED:
            _log.exception("title_failed", command=command.command_type.name, flow=str(self._flow.id))
            return command.command_type.name

    def _raised(self, command: CommandRecord, phase: str, error: BaseException) -> str:
        _log.error(
            "phase_raised", command=command.name, phase=str(phase), command_id=str(command.id),
            flow=str(command.flow_id), correlation_id=command.correlation_id, exc_info=error,
        )  # fmt: skip
        return legible(f"{phase} of {command.title} raised {type(error).__name__}: {error}")
