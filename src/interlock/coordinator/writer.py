"""The writer: one thread, one connection; many flows' change sets in one transaction (group commit).

Every batch begins with a compare-and-set on the engine's own row, then checks again all that was read. What
no longer holds is handed back to run anew; a statement that fails is found by bisection.
"""

import queue
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, ProgrammingError

from interlock import failpoints
from interlock.clock import Clock
from interlock.coordinator.checking import Checker
from interlock.coordinator.configured import ConfiguredLimits
from interlock.coordinator.machine import Machine
from interlock.coordinator.work import Outcome, Work
from interlock.model.changes import Change
from interlock.model.errors import InterlockError, NameTaken, NotOwner
from interlock.model.records import JobRecord
from interlock.model.refs import Ref
from interlock.model.replacing import replace
from interlock.store.database import Database
from interlock.store.erasing import erase, erase_signals
from interlock.store.flush import Conflict, flush
from interlock.store.queries import engines, entities
from interlock.threads import Queue, Thread

#: bounds of one transaction
SETS_MAX = 512
ROWS_MAX = 20_000
#: bits of a change number that count the batches of one engine; those above are its epoch
SEQ_BITS = 40
#: errors of what is written, not of the database: the run at fault is found, and no other suffers
AT_FAULT = (IntegrityError, DataError, InterfaceError, ProgrammingError, InterlockError, OverflowError, UnicodeError)


class _AtFault(Exception):
    """A statement of one of the runs in a transaction fails; the transaction is rolled back, and nothing is lost."""


class Owner:
    """The engine's row of `engines`: its fencing number in the database."""

    def __init__(self, id: UUID, epoch: int) -> None:
        self.id = id
        self.epoch = epoch
        self.seq = 0

    @property
    def next_change_no(self) -> int:
        """The change number of the batch under way: greater than that of every commit before it, of this engine and
        of all before it, whatever was rolled back or deleted since."""
        return (self.epoch << SEQ_BITS) + self.seq + 1


class Writer:
    """Commits what it is given, in order of arrival. `done` is called in its thread after each commit;
    `broken` once, when the engine must stop: after an error of the COMMIT, or when it is not the owner, which an
    idle writer looks after too."""

    def __init__(
        self,
        database: Database,
        owner: Owner,
        clock: Clock,
        limits: ConfiguredLimits,
        machine: Machine,
        done: Callable[[Outcome], None],
        broken: Callable[[Exception], None],
        *,
        sets_max: int = SETS_MAX,
    ) -> None:
        self._database = database
        self._connection = database.writer()
        self._owner = owner
        self._clock = clock
        self._limits = limits
        self._done = done
        self._broken = broken
        self._sets_max = sets_max
        self._machine = machine
        self._thread: Thread | None = None
        self._queue: Queue[Work | None] = machine.threads.queue()
        self._first: Work | None = None
        #: how many transactions were committed
        self.commits = 0

    def start(self) -> None:
        self._thread = self._machine.threads.start("interlock-writer", self._run)

    def join(self) -> None:
        """Waits until the thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def put(self, work: Work) -> None:
        self._queue.put(work)

    def stop(self) -> None:
        """Ends the thread after what was put before."""
        self._queue.put(None)

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._done(self._commit(batch))
        except Exception as error:
            self._broken(error)

    def _next_batch(self) -> list[Work]:
        """At least one run, and all that wait behind it up to the bounds; empty when it is to stop. What is to
        be run here is alone in its batch: no other may come between what it reads and its commit."""
        batch: list[Work] = []
        rows = 0
        while len(batch) < self._sets_max and rows < ROWS_MAX:
            work, self._first = self._first, None
            try:
                work = work or self._queue.get(block=not batch, timeout=self._database.owner_check_s)
            except queue.Empty:
                if batch:
                    break
                self._make_sure()
                continue
            if work is None:
                if batch:
                    self._queue.put(None)
                break
            if work.in_writer and batch:
                self._first = work
                break
            batch.append(work)
            if work.in_writer:
                break
            rows += len(work.change_set.changes) if work.change_set is not None else 0
        return batch

    def _make_sure(self) -> None:
        """Raises where the session that owns the database is gone."""
        try:
            with self._connection.begin():
                self._connection.exec_driver_sql("SELECT 1")
        except BaseException:
            self._connection.invalidate()
            raise

    def _commit(self, batch: Sequence[Work]) -> Outcome:
        """One transaction, or, where a statement fails, another in which the run at fault is found. What raises here
        leaves nothing stored, or nobody knows; the engine stops."""
        if batch[0].in_writer:
            return self._transacted(batch, self._write_by_halves)
        try:
            return self._transacted(batch, self._write)
        except _AtFault:
            return self._transacted(batch, self._write_by_halves)

    def _transacted(self, batch: Sequence[Work], write: Callable[[list[Work], Outcome], list[Work]]) -> Outcome:
        outcome, owner = Outcome(), self._owner
        transaction = self._connection.begin()
        try:
            if not engines.begin_batch(self._connection, owner.id, owner.epoch, owner.seq, self._clock.now_us()):
                raise NotOwner("another engine has taken over this database; this one stops")
            ran = [work for work in batch if not work.in_writer or self._run_here(work, outcome)]
            valid = Checker(self._connection, ran, self._limits.now).split(outcome.conflicted)
            outcome.committed = write(valid, outcome)
            hit = failpoints.before("commit")
            transaction.commit()
        except _AtFault:
            transaction.rollback()
            raise
        except BaseException:
            try:
                transaction.close()
            finally:
                self._connection.invalidate()  # after a COMMIT that failed it may be anywhere; the next's is new
            raise
        self._machine.committed([work.change_set for work in outcome.committed if work.change_set is not None])
        self._note_limits(outcome.committed)
        failpoints.after("commit", hit)
        owner.seq += 1
        self.commits += 1
        return outcome

    def _note_limits(self, works: Sequence[Work]) -> None:
        """What is decided from now on is decided by the limits as they are stored."""
        for work in works:
            if work.slot.outside is not None and work.change_set is not None:
                self._limits.stored(work.change_set.changes)

    def _run_here(self, work: Work, outcome: Outcome) -> bool:
        """A flow that met others too often runs its phases inside the transaction."""
        savepoint = self._connection.begin_nested()
        try:
            work.change_set = work.run(self._connection)
        except BaseException as error:  # as in a worker: nothing that a phase raises ends this thread
            if self._database.is_lost(error):
                raise
            savepoint.rollback()
            outcome.failed.append((work, error))
            return False
        savepoint.commit()
        return True

    def _write(self, works: list[Work], _outcome: Outcome) -> list[Work]:
        """Flushes all. Raises _AtFault where a statement fails: then nothing is known of the others."""
        try:
            self._flush(works)
        except AT_FAULT as error:
            if self._database.is_lost(error):
                raise
            raise _AtFault from error
        return works

    def _write_by_halves(self, works: list[Work], outcome: Outcome) -> list[Work]:
        """Flushes all; where a statement fails, by halves until the one at fault is found. Returns the stored."""
        if not works:
            return []
        savepoint = self._connection.begin_nested()
        try:
            self._flush(works)
        except AT_FAULT as error:
            if self._database.is_lost(error):
                raise
            savepoint.rollback()
            if len(works) > 1:
                middle = len(works) // 2
                return self._write_by_halves(works[:middle], outcome) + self._write_by_halves(works[middle:], outcome)
            if isinstance(error, (Conflict, NameTaken, IntegrityError)) and not works[0].in_writer:
                outcome.conflicted += works
            else:
                outcome.failed.append((works[0], error))
            return []
        savepoint.commit()
        return works

    def _flush(self, works: Sequence[Work]) -> None:
        sets = [work.change_set for work in works if work.change_set is not None]
        number = self._owner.next_change_no
        flush(self._connection, [_numbered(change, number) for each in sets for change in each.changes])
        for each in sets:
            if each.erased:
                erase(self._connection, each.erased)
            if each.erased_signals:
                erase_signals(self._connection, each.erased_signals)
        bumps: set[Ref[Any]] = {ref for each in sets for ref in each.bumps}
        if bumps:
            entities.raise_links(self._connection, bumps)


def _numbered(change: Change, number: int) -> Change:
    """The same; a job that is written gets the number by which clients see that it has changed."""
    new = change.new
    if type(new) is not JobRecord or new is change.old:
        return change
    return Change(change.old, replace(new, change_no=number))
