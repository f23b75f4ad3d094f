"""The engine: hands facts to flows, runs them in bounded workers, commits through the writer, then acts.

One asyncio loop owns this state; workers and the writer see only the flow they were handed, one run at a time.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import Connection

from interlock.clock import Clock
from interlock.coordinator.accepting import Repeated, Submission
from interlock.coordinator.runner import ChangeSet, Runner, World, examine_all, was_refused
from interlock.coordinator.snapshot import Snapshot
from interlock.coordinator.work import Asked, Errand, Outcome, Slot, Work
from interlock.coordinator.writer import SETS_MAX, Owner, Writer
from interlock.core import narration
from interlock.core.facts import Examine, Fact
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.errors import Bug, InterlockError, Refused
from interlock.model.records import CommandRecord, TaskRecord
from interlock.model.states import State, TaskState
from interlock.store.database import Database

#: after so many conflicts a flow's phases run inside the writer
CONFLICTS_MAX = 3
#: a flow that was claimed more often without any progress is parked: it may be what kills engine after engine
CLAIMS_MAX = 3
#: a run that takes longer is named in the log
SLOW_RUN_S = 5.0

_log = structlog.get_logger(__name__)


class Actor(Protocol):
    """Who acts on what has been committed; called in the loop, must not block."""

    def task_stored(self, task: TaskRecord, term: int, *, fresh: bool) -> None:
        """A task is to be sent, watched, or cleared; a fresh one was certainly never sent."""

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
        *,
        workers: int,
        sets_max: int = SETS_MAX,
    ) -> None:
        self._database = database
        self._world = world
        self._clock = clock
        self._actor = actor
        self._loop = asyncio.get_running_loop()
        self._ready: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._facts_max = 1 if sets_max == 1 else SETS_MAX
        self._slots: dict[UUID, Slot] = {}
        self._timers: dict[UUID, asyncio.TimerHandle] = {}
        self._stopped = False
        self._workers = [
            threading.Thread(target=self._work, name=f"interlock-worker-{n}", daemon=True) for n in range(workers)
        ]
        self.writer = Writer(database.writer(), owner, self._from_writer, self._from_broken_writer, sets_max=sets_max)
        self.failed: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        self.writer.start()
        for worker in self._workers:
            worker.start()

    async def stop(self) -> None:
        """Ends workers and writer. What was not committed is forgotten; the next engine finds the rest."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        for _ in self._workers:
            self._ready.put(None)
        for worker in self._workers:
            await asyncio.to_thread(worker.join)
        self.writer.stop()
        await asyncio.to_thread(self.writer.join)
        await asyncio.sleep(0)  # lets what the writer handed over arrive
        for slot in self._slots.values():
            self._give_answer_up(slot)
        self.failed.cancel()

    def _give_answer_up(self, slot: Slot) -> None:
        """Nobody will run this slot any more: who waits for it learns so."""
        if slot.accepted is not None and not slot.accepted.done():
            slot.accepted.set_exception(
                InterlockError("the engine stopped; submit again with the same idempotency key")
            )
        for asked in slot.errands:
            if asked.done is not None and not asked.done.done():
                asked.done.set_exception(InterlockError("the engine stopped; look whether it was done, and ask again"))

    # intake -----------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> "asyncio.Future[UUID]":
        """Resolves after the commit to the job's id (an earlier job's where it is a repetition, through
        Repeated); fails with Refused where it was refused."""
        slot = Slot(Flow(submission.flow_id), submission=submission)
        slot.accepted = self._loop.create_future()
        self._slots[submission.flow_id] = slot
        self._schedule(slot)
        if self._stopped:
            self._give_answer_up(slot)
        return slot.accepted

    def adopt(self, flow: Flow, claim: Errand) -> None:
        """Takes over a stored flow: `claim` writes the claim, and only its commit lets the flow go on."""
        slot = Slot(flow, errands=[Asked(claim, is_claim=True)])
        self._slots[flow.id] = slot
        self._schedule(slot)

    def tell(self, flow_id: UUID, *facts: Fact) -> None:
        """Facts about a flow; to one that is no longer in memory they mean nothing any more."""
        slot = self._slots.get(flow_id)
        if slot is not None:
            slot.mailbox += facts
            self._schedule(slot)

    def errand(self, flow: Flow, errand: Errand) -> "asyncio.Future[None]":
        """Writes something into a flow on somebody's wish; resolves after the commit. `flow` is used where
        the flow is not in memory already. Fails with what the errand raises."""
        slot = self._slots.setdefault(flow.id, Slot(flow))
        done: asyncio.Future[None] = self._loop.create_future()
        slot.errands.append(Asked(errand, done))
        self._schedule(slot)
        if self._stopped:
            self._give_answer_up(slot)
        return done

    def is_under_way(self, flow_id: UUID) -> bool:
        """Whether the flow is in memory and its root has not ended, as far as is known here."""
        slot = self._slots.get(flow_id)
        root = slot.flow.commands.get(flow_id) if slot is not None else None
        return slot is not None and (root is None or root.state is not State.ENDED)

    @property
    def flows(self) -> int:
        """How many flows are in memory."""
        return len(self._slots)

    def _schedule(self, slot: Slot) -> None:
        if self._stopped or slot.busy or not (slot.mailbox or slot.submission or slot.errands):
            return
        slot.busy = True
        facts: list[Fact] = []
        asked = slot.errands[0] if slot.errands and slot.submission is None else None
        if asked is None:
            facts, slot.mailbox = slot.mailbox[: self._facts_max], slot.mailbox[self._facts_max :]
        run = self._run_of(slot, facts, asked)
        work = Work(slot, facts, asked, run, in_writer=slot.conflicts > CONFLICTS_MAX)
        if work.in_writer:
            self.writer.put(work)
        else:
            self._ready.put(work)

    # workers ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        with self._database.reader() as connection:
            while (work := self._ready.get()) is not None:
                try:
                    work.change_set = work.run(connection)
                except BaseException as error:  # a phase may raise SystemExit, and this thread must not end
                    self._loop.call_soon_threadsafe(self._run_failed, work, error)
                    continue
                finally:
                    if connection.in_transaction():
                        connection.rollback()
                if work.change_set is None:
                    self._loop.call_soon_threadsafe(self._stored, work)
                else:
                    self.writer.put(work)

    def _run_of(self, slot: Slot, facts: list[Fact], asked: Asked | None) -> Callable[[Connection], ChangeSet | None]:
        def run(connection: Connection) -> ChangeSet | None:
            started_s = self._clock.monotonic_s()
            snapshot = Snapshot(lambda: connection, self._world.catalog)
            runner = Runner(self._world, slot.flow, snapshot, self._clock.now_us())
            try:
                if slot.submission is not None:
                    runner.accept(slot.submission)
                elif asked is not None:
                    asked.errand(slot.flow)
                    return runner.change_set(progress=False)
                runner.take(facts)
                return runner.change_set()
            except BaseException:
                slot.flow.roll_back()
                raise
            finally:
                took_s = self._clock.monotonic_s() - started_s
                if took_s > SLOW_RUN_S:
                    _log.warning("run_was_slow", flow=str(slot.flow.id), seconds=round(took_s, 1))

        return run

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
            work.slot.conflicts += 1
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
        slot.busy, slot.conflicts = False, 0
        if slot.submission is not None:
            del self._slots[slot.flow.id]
            assert slot.accepted is not None
            if not slot.accepted.done():
                expected = isinstance(error, (Refused, Repeated))
                slot.accepted.set_exception(error if expected else _bug(slot, error))
        elif work.asked is not None:
            self._errand_failed(slot, work.asked, error)
        else:
            bug = _bug(slot, error)
            if slot.flow.root.attention is None:
                words, now = str(bug), self._clock.now_us()
                slot.errands.append(Asked(lambda flow: narration.raise_attention(flow, flow.root, words, now)))
            self._schedule(slot)

    def _errand_failed(self, slot: Slot, asked: Asked, error: BaseException) -> None:
        slot.errands.remove(asked)
        if asked.done is None:
            self._break(_bug(slot, error))
        elif not asked.done.done():
            asked.done.set_exception(error if isinstance(error, Refused) else _bug(slot, error))
        self._release(slot)

    def _stored(self, work: Work) -> None:
        """A run is committed (or changed nothing): now, and only now, the world may see it."""
        slot, flow, asked = work.slot, work.slot.flow, work.asked
        flow.committed()
        if slot.submission is not None:
            self._accepted(slot)
        elif asked is not None:
            slot.errands.remove(asked)
            if asked.done is not None and not asked.done.done():
                asked.done.set_result(None)
        if work.change_set is not None:
            self._act(flow, work.change_set)
        if asked is not None and asked.is_claim and flow.job.claims <= CLAIMS_MAX:
            self._resume(slot)
        slot.busy, slot.conflicts = False, 0  # only now: acting may bring facts, which must not change the flow yet
        self._release(slot)

    def _release(self, slot: Slot) -> None:
        """Drops a flow that is over and cleared; goes on with any other."""
        flow = slot.flow
        over = flow.root.state is State.ENDED and not slot.errands
        if over and not any(task.state is TaskState.ENDED for task in flow.tasks.values()):
            self._slots.pop(flow.id, None)
        else:
            self._schedule(slot)

    def _accepted(self, slot: Slot) -> None:
        assert slot.accepted is not None
        refusal = was_refused(slot.flow)
        slot.submission = None
        if slot.accepted.done():
            return
        if refusal is None:
            slot.accepted.set_result(slot.flow.id)
        else:
            reasons = [cause.message for cause in refusal.causes] or [refusal.message]
            slot.accepted.set_exception(Refused(*reasons, job_id=slot.flow.id))

    def _act(self, flow: Flow, change_set: ChangeSet) -> None:
        for change in change_set.changes:
            if isinstance(change.new, TaskRecord) and _wants_action(change):
                self._actor.task_stored(change.new, flow.job.term, fresh=_never_sent(change))
            elif isinstance(change.new, CommandRecord) and change.new.retry_at is not None:
                self._retry_later(change.new)
        if change_set.later:
            self._slots[flow.id].mailbox += [Examine(id) for id in change_set.later]
        self._actor.flow_stored(flow)

    def _resume(self, slot: Slot) -> None:
        """A claimed flow goes on: every open command is looked at, every open task is taken up."""
        slot.mailbox += examine_all(slot.flow)
        for command in slot.flow.commands.values():
            if command.retry_at is not None:
                self._retry_later(command)
        for task in slot.flow.tasks.values():
            if task.state is not TaskState.CLEARED:
                self._actor.task_stored(task, slot.flow.job.term, fresh=False)

    def _retry_later(self, command: CommandRecord) -> None:
        assert command.retry_at is not None
        delay_s = max(0.0, (command.retry_at - self._clock.now_us()) / 1e6)
        former = self._timers.pop(command.id, None)
        if former is not None:
            former.cancel()
        self._timers[command.id] = self._loop.call_later(
            min(delay_s, 60.0), self._retry_now, command.flow_id, command.id
        )

    def _retry_now(self, flow_id: UUID, command_id: UUID) -> None:
        self._timers.pop(command_id, None)
        slot = self._slots.get(flow_id)
        if slot is None:
            return
        command = slot.flow.commands[command_id]
        if command.retry_at is not None and command.retry_at > self._clock.now_us():
            self._retry_later(command)
        else:
            self.tell(flow_id, Examine(command_id))


def _wants_action(change: Change) -> bool:
    """Whether a stored task is new, bound, answered or ended: those are who is sent, watched, cleared."""
    old, new = change.old, change.new
    assert isinstance(new, TaskRecord)
    return not isinstance(old, TaskRecord) or (old.state, old.incarnation) != (new.state, new.incarnation)


def _never_sent(change: Change) -> bool:
    """Whether the task was named, or bound to a host's journal, by this very change: nobody can have sent it."""
    return not isinstance(change.old, TaskRecord) or change.old.incarnation is None


def _bug(slot: Slot, error: BaseException) -> Bug:
    _log.error("run_failed", flow=str(slot.flow.id), exc_info=error)
    return Bug(f"flow {slot.flow.id}: {type(error).__name__}: {error}; see the log, and report it")
