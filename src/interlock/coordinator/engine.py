"""The engine: hands facts to flows, runs them in bounded workers, commits through the writer, then acts.

One asyncio loop owns this state; workers and the writer see only the flow they were handed, one run at a time.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import Connection

from interlock.clock import Clock
from interlock.coordinator.accepting import Repeated, Submission
from interlock.coordinator.answering import accepted, as_bug, given_up
from interlock.coordinator.change_set import ChangeSet, World
from interlock.coordinator.machine import Machine
from interlock.coordinator.running import run_of
from interlock.coordinator.snapshot import Snapshot
from interlock.coordinator.trials import Trials
from interlock.coordinator.waking import Waking
from interlock.coordinator.work import (
    Asked,
    Errand,
    Outcome,
    Outside,
    Slot,
    Work,
    moves_in_line,
    never_sent,
    wants_action,
)
from interlock.coordinator.workers import OVERDUE_S, Workers
from interlock.coordinator.writer import SETS_MAX, Owner, Writer
from interlock.core import limiting, narration
from interlock.core.facts import Examine, Fact, Look, TaskCleared, TaskProgressed
from interlock.core.flow import Flow
from interlock.core.lifecycle import examine_all
from interlock.ids import new_id
from interlock.model.errors import InterlockError, Refused
from interlock.model.records import JobRecord, Severity, TaskRecord
from interlock.model.states import State, TaskState
from interlock.model.trials import CLAIMS_MAX
from interlock.store.database import Database

#: after so many conflicts a flow's phases run inside the writer
CONFLICTS_MAX = 3
#: seconds between two looks at what runs, and until a taken-over flow is no longer on trial
WATCH_S, TRIAL_S = 0.5, 60.0
WATCHDOG, TRUST = "watchdog", "trust"

_log = structlog.get_logger(__name__)


class Actor(Protocol):
    """Who acts on what has been committed; called in the loop, must not block."""

    def task_stored(self, task: TaskRecord, term: int, *, fresh: bool, priority: int) -> None:
        """A task is to be sent, watched, or cleared; a fresh one was certainly never sent."""

    def priority_stored(self, flow: Flow) -> None:
        """The flow's tasks have another place in line."""

    def flow_stored(self, flow: Flow) -> None:
        """Something of the flow, at least its job's `events`, has changed."""


class Engine:
    """Runs from `start` to `stop`; `failed` gets an exception when it must not go on."""

    def __init__(
        self,
        database: Database,
        owner: Owner,
        world: World,
        clock: Clock,
        actor: Actor,
        machine: Machine,
        *,
        workers: int,
        sets_max: int = SETS_MAX,
    ) -> None:
        self._database = database
        self._world = world
        self._clock = clock
        self._actor = actor
        self._loop = asyncio.get_running_loop()
        self._facts_max = 1 if sets_max == 1 else SETS_MAX
        self._slots: dict[UUID, Slot] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stopped = False
        self._workers = Workers(database, clock, machine.threads, self._ran, workers)
        self._trials = Trials(self._schedule)
        self._waking = Waking(clock, self.tell, self._touch, self._is_holder, world.limits)
        self.writer = Writer(
            database, owner, clock, world.limits, machine, self._from_writer, self._from_broken_writer,
            sets_max=sets_max,
        )  # fmt: skip
        self.failed: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        self.writer.start()
        self._workers.start()
        self._timers[WATCHDOG] = self._loop.call_later(WATCH_S, self._watch_runs)
        self._timers[TRUST] = self._loop.call_later(TRIAL_S, self._trust)

    async def stop(self) -> None:
        """Ends workers and writer. What was not committed is forgotten; the next engine finds the rest."""
        self._stopped = True
        self._waking.stop()
        for timer in self._timers.values():
            timer.cancel()
        await asyncio.to_thread(self._workers.stop)
        self.writer.stop()
        await asyncio.to_thread(self.writer.join)
        await asyncio.sleep(0)  # lets what the writer handed over arrive
        for slot in self._slots.values():
            given_up(slot)
        self.failed.cancel()

    def _watch_runs(self) -> None:
        """A run that takes long is named while it lasts, and delays no other flow (hard case 13)."""
        words, now = f"a phase of this flow ran for more than {OVERDUE_S:g} s", self._clock.now_us()

        def note(flow: Flow) -> None:
            flow.add_event(now, "run_was_slow", words, Severity.WARNING)

        for work in self._workers.overdue():
            _log.warning("run_is_slow", flow=str(work.slot.flow.id))
            if work.slot.submission is None and work.slot.outside is None:
                work.slot.errands.append(Asked(note))
        self._timers[WATCHDOG] = self._loop.call_later(WATCH_S, self._watch_runs)

    def _trust(self) -> None:
        """This engine has lived for a while: no flow that it took over is what kills engines."""
        for slot in self._slots.values():
            slot.suspect = False
        self._trials.dissolve()

    # intake -----------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> "asyncio.Future[UUID]":
        """Resolves after the commit to the job's id (an earlier job's where it is a repetition, through
        Repeated); fails with Refused where it was refused."""
        slot = Slot(Flow(submission.flow_id), submission=submission, is_taken_up=True)
        slot.accepted = self._loop.create_future()
        self._slots[submission.flow_id] = slot
        self._schedule(slot)
        if self._stopped:
            given_up(slot)
        return slot.accepted

    def adopt(self, flow: Flow, claim: Errand, *, suspect: bool) -> None:
        """Takes over a stored flow: `claim` writes the claim, and only its commit lets the flow go on.

        `suspect`: the engine before died; for a while each run of the flow is on trial (see trials.py).
        """
        slot = Slot(flow, errands=[Asked(claim, resumes=True)], suspect=suspect)
        self._slots[flow.id] = slot
        self._schedule(slot)

    def tell(self, flow_id: UUID, *facts: Fact) -> None:
        """Facts about a flow; to one that is no longer in memory they mean nothing any more, nor to one that was
        parked when it was taken over: when it goes on it looks at everything."""
        slot = self._slots.get(flow_id)
        if slot is not None and slot.is_taken_up:
            slot.mailbox += [fact for fact in facts if not isinstance(fact, Look)]
            slot.looks |= {fact: None for fact in facts if isinstance(fact, Look)}
            slot.clearing -= {fact.task_id for fact in facts if isinstance(fact, TaskCleared)}
            self._schedule(slot)

    def errand(
        self, flow_id: UUID, errand: Errand, load: Callable[[Connection], Flow], *, resumes: bool = False
    ) -> "asyncio.Future[None]":
        """Writes something into a flow on somebody's wish; resolves after the commit, after which the flow goes on
        where it `resumes`. `load` reads the flow where it is not in memory. Fails with what either raises."""
        slot = self._slots.setdefault(flow_id, Slot(Flow(flow_id), load=load))
        done: asyncio.Future[None] = self._loop.create_future()
        slot.errands.append(Asked(errand, done, resumes))
        self._schedule(slot)
        if self._stopped:
            given_up(slot)
        return done

    def write(
        self, make: Callable[[Snapshot, int], ChangeSet | None], *, in_writer: bool = False
    ) -> "asyncio.Future[None]":
        """Writes what belongs to no flow under way, given a snapshot and the time; resolves after the commit, fails
        with what `make` raises. With `in_writer` it is made there at once, where else it would be made twice."""
        slot = Slot(Flow(new_id()), outside=Outside(make, self._loop.create_future()))
        slot.conflicts = CONFLICTS_MAX + 1 if in_writer else 0
        self._slots[slot.flow.id] = slot
        self._schedule(slot)
        if self._stopped:
            given_up(slot)
        assert slot.outside is not None
        return slot.outside.done

    def is_under_way(self, flow_id: UUID) -> bool:
        """Whether the flow is in memory and its root has not ended, as far as is known here."""
        slot = self._slots.get(flow_id)
        root = slot.flow.commands.get(flow_id) if slot is not None else None
        return slot is not None and (root is None or root.state is not State.ENDED)

    def _touch(self, flow_id: UUID) -> None:
        """Commits that the flow is in this engine's care."""
        slot = self._slots[flow_id]
        slot.errands.append(Asked(lambda flow: flow.put_job(flow.job)))
        self._schedule(slot)

    def _is_holder(self, flow_id: UUID) -> bool:
        slot = self._slots.get(flow_id)
        return slot is not None and limiting.holds(slot.flow)

    @property
    def flows(self) -> int:
        """How many flows are in memory."""
        return len(self._slots)

    def _schedule(self, slot: Slot) -> None:
        if self._stopped or slot.busy or not slot.is_due:
            return
        if slot.suspect and not slot.errands and not self._trials.admit(slot):
            return
        slot.busy = True
        facts: list[Fact] = []
        asked = slot.errands[0] if slot.errands and slot.submission is None else None
        if asked is None:
            count = 1 if slot.careful else self._facts_max
            facts = slot.take(count)
        run = run_of(slot, facts, asked, self._world, self._clock)
        work = Work(slot, facts, asked, run, in_writer=slot.conflicts > CONFLICTS_MAX)
        if work.in_writer:
            self.writer.put(work)
        else:
            self._workers.put(work)

    # workers ----------------------------------------------------------------------------------------

    def _ran(self, work: Work, error: BaseException | None) -> None:
        """Called in a worker's thread when a run is over."""
        if error is not None:
            self._loop.call_soon_threadsafe(self._run_failed, work, error)
        elif work.change_set is None:
            self._loop.call_soon_threadsafe(self._stored, work)
        else:
            self.writer.put(work)

    # after the commit -------------------------------------------------------------------------------

    def _from_writer(self, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._batch_done, outcome)

    def _from_broken_writer(self, error: Exception) -> None:
        self._loop.call_soon_threadsafe(self._break, error)

    def _break(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _batch_done(self, outcome: Outcome) -> None:
        try:
            self._take_outcome(outcome)
        except Exception as error:  # a bug here must not leave flows hanging: a new engine starts from the rows
            self._break(error)

    def _take_outcome(self, outcome: Outcome) -> None:
        for work in outcome.committed:
            self._stored(work)
        for work in outcome.conflicted:
            work.slot.flow.roll_back()
            is_for_writer = work.change_set is not None and work.change_set.needs_writer
            work.slot.conflicts += CONFLICTS_MAX + 1 if is_for_writer else 1
            self._again(work)
        for work, error in outcome.failed:
            work.slot.flow.roll_back()
            self._run_failed(work, error)

    def _again(self, work: Work) -> None:
        slot = work.slot
        slot.busy = False
        slot.mailbox[:0] = work.facts
        self._schedule(slot)

    def _run_failed(self, work: Work, error: BaseException) -> None:
        """A run raised: a refused submission, or a bug, which parks its flow and no other."""
        slot = work.slot
        if self._database.is_lost(error):  # not the flow's fault: a new engine starts from the rows
            self._break(InterlockError(f"the database was lost: {error}"))
            return
        slot.busy, slot.conflicts = False, 0
        waiting = slot.outside.done if slot.outside is not None else slot.accepted
        if slot.submission is not None or slot.outside is not None:
            del self._slots[slot.flow.id]
            assert waiting is not None
            if not waiting.done():
                expected = isinstance(error, (Refused, Repeated))
                waiting.set_exception(error if expected else as_bug(slot, error))
        elif work.asked is not None:
            self._errand_failed(slot, work.asked, error)
        elif len(work.facts) > 1:
            slot.careful = True  # only the fact at fault is to be dropped
            self._again(work)
        else:
            self._trials.over(slot)
            slot.kept |= dict.fromkeys(fact for fact in work.facts if not isinstance(fact, TaskProgressed))
            bug = as_bug(slot, error)
            if slot.flow.root.attention is None:
                words, now = str(bug), self._clock.now_us()
                slot.errands.append(Asked(lambda flow: narration.raise_attention(flow, flow.root, words, now)))
            self._schedule(slot)

    def _errand_failed(self, slot: Slot, asked: Asked, error: BaseException) -> None:
        slot.errands.remove(asked)
        if slot.load is not None:
            del self._slots[slot.flow.id]
        if asked.done is None:
            self._break(as_bug(slot, error))
        elif not asked.done.done():
            asked.done.set_exception(error if isinstance(error, Refused) else as_bug(slot, error))
        if slot.load is None:
            self._release(slot)

    def _stored(self, work: Work) -> None:
        """A run is committed (or changed nothing): now, and only now, the world may see it."""
        slot, flow, asked = work.slot, work.slot.flow, work.asked
        flow.committed()
        if slot.outside is not None:
            del self._slots[flow.id]
            if work.change_set is not None:
                self._act(flow, work.change_set)
            if not slot.outside.done.done():
                slot.outside.done.set_result(None)
            return
        if slot.submission is not None:
            accepted(slot)
        elif asked is not None:
            slot.errands.remove(asked)
            if asked.done is not None and not asked.done.done():
                asked.done.set_result(None)
        if work.change_set is not None:
            self._act(flow, work.change_set)
        if asked is not None and asked.resumes and flow.job.claims < CLAIMS_MAX:
            self._resume(slot)
        if asked is None:
            self._trials.over(slot)
            slot.careful = slot.careful and bool(slot.mailbox)
        slot.busy, slot.conflicts = False, 0  # only now: acting may bring facts, which must not change the flow yet
        self._release(slot)

    def _release(self, slot: Slot) -> None:
        """Drops a flow that is over and cleared; goes on with any other."""
        flow = slot.flow
        over = flow.root.state is State.ENDED and not (slot.errands or slot.mailbox or slot.clearing)
        if over and not any(task.state is TaskState.ENDED for task in flow.tasks.values()):
            self._slots.pop(flow.id, None)
        else:
            self._schedule(slot)

    def _act(self, flow: Flow, change_set: ChangeSet) -> None:
        for change in change_set.changes:
            if isinstance(change.new, TaskRecord) and wants_action(change):
                self._actor.task_stored(change.new, flow.job.term, fresh=never_sent(change), priority=flow.job.priority)
            elif isinstance(change.new, JobRecord) and moves_in_line(change):
                self._actor.priority_stored(flow)
        self._waking.stored(flow, change_set.changes)
        for born in change_set.born:
            self._begin(born)
        if change_set.later:
            self.tell(flow.id, *change_set.later)
        if flow.jobs:
            self._actor.flow_stored(flow)

    def _begin(self, flow: Flow) -> None:
        """A flow that another run has stored goes on by itself. Who saw its rows may have asked something of it."""
        flow.committed()
        self._slots.setdefault(flow.id, Slot(flow)).is_taken_up = True
        self.tell(flow.id, Examine(flow.id))

    def _resume(self, slot: Slot) -> None:
        """A flow goes on: every open command is looked at, and after a claim every open task is taken up."""
        slot.mailbox += [*slot.kept, *examine_all(slot.flow)]
        slot.kept.clear()
        if slot.is_taken_up:
            return
        slot.is_taken_up = True
        self._waking.taken_up(slot.flow)
        for task in slot.flow.tasks.values():
            if task.state is TaskState.CLEAR_FAILED:
                slot.clearing.add(task.id)
            if task.state is not TaskState.CLEARED:
                job = slot.flow.job
                self._actor.task_stored(task, job.term, fresh=False, priority=job.priority)
