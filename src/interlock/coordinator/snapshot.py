"""What phases read: the committed database at one moment, with a note of all that was read.

The writer checks the notes again before it commits; where something has changed meanwhile the phases run anew.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from interlock.catalog import Catalog
from interlock.model.entities import Entity
from interlock.model.limits import LimitTicketRecord, LimitUseRecord
from interlock.model.locks import LockMode
from interlock.model.records import CommandRecord, EntityRecord, JobRecord, SignalRecord
from interlock.model.refs import Ref
from interlock.model.retention import EndedJob
from interlock.model.schedules import ScheduleRecord
from interlock.model.states import Result
from interlock.store.queries import (
    entities,
    jobs,
    limits,
    locks,
    retention,
    schedules,
    signals,
    tasks,
    tickets,
    waiting,
)
from interlock.store.queries.limits import Waiter as LimitWaiter
from interlock.store.queries.locks import HeldLock
from interlock.store.queries.tasks import TaskOnRef
from interlock.store.queries.tickets import Waiter
from interlock.store.queries.waiting import Awaits

E = TypeVar("E", bound=Entity)
P = ParamSpec("P")
T = TypeVar("T")


class Snapshot:
    """Reads through a connection that is opened when first needed. Used by one thread, for one run."""

    def __init__(self, connect: Callable[[], Connection], catalog: Catalog) -> None:
        self._connect = connect
        self._catalog = catalog
        self._connection: Connection | None = None
        self._records: dict[Ref[Any], EntityRecord | None] = {}
        self._parsed: dict[Ref[Any], tuple[EntityRecord, Entity]] = {}
        #: version of each entity that was read; 0 = there was none
        self.reads: dict[Ref[Any], int] = {}
        #: `links` of each entity whose referrers were read
        self.link_reads: dict[Ref[Any], int] = {}
        #: locks found free, to be taken
        self.lock_wants: dict[Ref[Any], LockMode] = {}
        #: what was decided holds only where nothing else is committed meanwhile
        self.needs_writer = False
        self._failed: Exception | None = None

    def require_whole(self) -> None:
        """Raises what a read has raised: whatever a phase made of that, the fault is not its own."""
        if self._failed is not None:
            raise self._failed

    def _ask(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return query(self._connection, *args, **kwargs)
        except Exception as error:
            self._failed = error
            raise

    def entity(self, ref: Ref[Any]) -> EntityRecord | None:
        """The committed row."""
        if ref not in self._records:
            self.load((ref,))
        return self._records[ref]

    def load(self, refs: Collection[Ref[Any]]) -> None:
        """Reads many at once."""
        wanted = [ref for ref in refs if ref not in self._records]
        if wanted:
            found = self._ask(entities.get, wanted)
            for ref in wanted:
                self._note(ref, found.get(ref))

    def _note(self, ref: Ref[Any], record: EntityRecord | None) -> None:
        if ref not in self._records:
            self._records[ref] = record
            self.reads[ref] = record.version if record else 0

    def named(self, type: str, name: str) -> EntityRecord | None:
        """The committed entity of that name. That there is none is guarded by the UNIQUE constraint."""
        record = self._ask(entities.by_name, type, name)
        if record is not None:
            self._note(record.ref, record)
        return record

    def referring(self, type: str, field: str, target: Ref[Any]) -> list[EntityRecord]:
        """The committed entities of a type whose field refers to the target."""
        row = self.entity(target)
        self.link_reads[target] = row.links if row else 0
        found = self._ask(entities.referring, type, field, target)
        for record in found:
            self._note(record.ref, record)
        return [self._records[record.ref] or record for record in found]

    def held(self, refs: Sequence[Ref[Any]]) -> list[HeldLock]:
        """The committed locks on these refs, whoever holds them."""
        return self._ask(locks.on, refs)

    def unfinished_tasks(self, refs: Sequence[Ref[Any]]) -> list[TaskOnRef]:
        """The committed async tasks on these refs that have not ended, whatever flow they are of."""
        return self._ask(tasks.unfinished_on, refs)

    def job_of(self, idempotency_key: str) -> JobRecord | None:
        """The committed job that was submitted under that key."""
        return self._ask(jobs.by_key, idempotency_key)

    def waiting(self, refs: Sequence[Ref[Any]]) -> list[Waiter]:
        """The committed tickets for these refs, in their order."""
        return self._ask(tickets.on, refs)

    def waiting_holders(self) -> list[Waiter]:
        """The committed tickets of all flows that hold locks while they wait."""
        return self._ask(tickets.of_holders)

    def root_of(self, job_id: UUID) -> CommandRecord | None:
        """The committed flow command of a job."""
        return self._ask(jobs.root_of, job_id)

    def results_of(self, job_ids: Collection[UUID]) -> dict[UUID, Result | None]:
        """How committed jobs ended, None: not yet; one that does not exist is left out."""
        return self._ask(jobs.results_of, job_ids)

    def awaited(self, flow_ids: Collection[UUID]) -> list[Awaits]:
        """For which flows those wait, however long that takes."""
        return self._ask(waiting.of_flows, flow_ids)

    def parents(self, flow_ids: Collection[UUID]) -> dict[UUID, UUID | None]:
        """Of the committed commands of those flows that have not ended, each with the one above it."""
        return self._ask(waiting.parents, flow_ids)

    def limit_uses(self, keys: Collection[str]) -> list[LimitUseRecord]:
        """The committed uses of those limits by commands that run."""
        return self._ask(limits.running, keys)

    def limit_starts(self, key: str, after: int, limit: int) -> list[int]:
        """The latest committed starts under a limit after a time, at most so many."""
        return self._ask(limits.starts, key, after, limit)

    def stale_uses(self, key: str, before: int) -> list[LimitUseRecord]:
        """Committed uses of a limit that count no more, some of them."""
        return self._ask(limits.stale, key, before)

    def all_uses(self, key: str) -> list[LimitUseRecord]:
        """All committed uses of a limit."""
        return self._ask(limits.all_uses, key)

    def running_commands(self, name: str) -> list[tuple[UUID, UUID, int]]:
        """The committed commands of a type that run: id, flow, and since when."""
        return self._ask(limits.running_commands, name)

    def limit_waiters(self, keys: Collection[str]) -> list[LimitWaiter]:
        """The committed tickets for those limits, in their order."""
        return self._ask(limits.waiters, keys)

    def limit_tickets_before(self, mine: LimitTicketRecord, *, only_holders: bool) -> int:
        """How many committed tickets of other flows come before one."""
        return self._ask(limits.before, mine, only_holders=only_holders)

    def last_holder_before(self, mine: LimitTicketRecord) -> LimitTicketRecord | None:
        """The last of those of a flow that has what others may wait for."""
        return self._ask(limits.last_holder_before, mine)

    def limit_tickets(self, flow_ids: Collection[UUID]) -> list[LimitTicketRecord]:
        """The committed tickets of those flows for whatever limit."""
        return self._ask(limits.of_flows, flow_ids)

    def last_signal(self) -> int:
        """The number of the last signal that was accepted."""
        return self._ask(signals.last_number)

    def signal(self, id: UUID) -> SignalRecord | None:
        """The committed signal of that id."""
        return self._ask(signals.by_id, id)

    def schedule(self, id: UUID) -> ScheduleRecord | None:
        """The committed schedule of that id."""
        return self._ask(schedules.by_id, id)

    def ended(self, ids: Sequence[UUID]) -> list[EndedJob]:
        """Those of the jobs that have ended, as committed."""
        return self._ask(retention.ended, ids)

    def referred_to(self) -> set[UUID]:
        """The jobs to which something that has not ended refers."""
        return self._ask(retention.referred_to)

    def schedules_count(self) -> int:
        """How many committed schedules there are."""
        return self._ask(schedules.count)

    def schedule_named(self, name: str) -> ScheduleRecord | None:
        """The committed schedule of that name."""
        return self._ask(schedules.by_name, name)

    def signals(
        self, kind: str, about: Ref[Any] | None, begun_after: int, passed: int, job_id: UUID
    ) -> list[tuple[int, SignalRecord]]:
        """The committed signals that a wait of that job may take, with their numbers, in their order."""
        return self._ask(signals.about, kind, about, begun_after, passed, job_id)

    def parse(self, record: EntityRecord) -> Entity:
        """The record as its class's instance."""
        known = self._parsed.get(record.ref)
        if known is not None and known[0] is record:
            return known[1]
        entity = self._catalog.read_entity(record)
        self._parsed[record.ref] = (record, entity)
        return entity
