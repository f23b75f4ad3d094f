"""The janitor: removes ended jobs whose time is over, in small batches with pauses, so that no command waits for it.

It reads which may go, archives them where that is wished, and has the writer erase those of which nothing has changed
meanwhile. Broadcast signals that no wait needs go too.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection

from interlock.clock import Clock
from interlock.coordinator import archive
from interlock.coordinator.change_set import ChangeSet
from interlock.coordinator.closing import to_the_end
from interlock.coordinator.engine import Engine
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.core.retention import kept
from interlock.ids import new_id
from interlock.model.errors import Refused
from interlock.model.retention import EndedJob, Kept, Retention
from interlock.store.database import Database
from interlock.store.erasing import everything_of
from interlock.store.queries import retention as stored
from interlock.store.queries.retention import Place

#: after a start, and between two rounds
FIRST_S, ROUND_S = 60.0, 3600.0
#: how many jobs are looked at in one page, and erased in one transaction: as many as take about BATCH_S
PAGE_MAX, BATCH_MIN, BATCH_MAX, BATCH_S = 200, 5, 25, 0.03
#: between two batches the writer is others' for at least so long, and for REST times as long as the batch took
PAUSE_S_MIN, REST = 0.02, 1.0
SIGNALS_MAX = 1_000

_log = structlog.get_logger(__name__)


@dataclass
class Round:
    """What became of the ended jobs whose time may be over."""

    removed: int = 0
    signals: int = 0
    kept: Counter[Kept] = field(default_factory=Counter)
    #: its time was over before all was looked at
    has_more: bool = False

    def to_json(self) -> dict[str, Any]:
        reasons = {reason.value: many for reason, many in sorted(self.kept.items())}
        return {"jobs": self.removed, "signals": self.signals, "kept": reasons, "more": self.has_more}


class Janitor:
    """Works beside an engine, from `start` to `stop`."""

    def __init__(
        self, database: Database, engine: Engine, clock: Clock, retention: Retention, archive_dir: Path | None
    ) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._retention = retention
        self._archive_dir = archive_dir
        self._size = BATCH_MIN
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it; a batch that it has handed to the engine is the engine's."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                done = await self.clean()
                _log.info("retention_done", **done.to_json())
            except Refused:
                pass  # a person has it done
            except Exception as error:  # the engine stops, or the archive cannot be written: the next round tries
                _log.warning("retention_failed", reason=str(error))
            await asyncio.sleep(ROUND_S)

    def would_go(self) -> Round:
        """What a round would do now. Reads only."""
        found, place = Round(), None
        now = self._clock.now_us()
        with self._database.reading() as connection:
            referred = stored.referred_to(connection)
            while page := self._page(connection, now, place):
                for job in page:
                    self._sort(job, referred, now, found)
                place = (page[-1].ended_at, page[-1].id)
            found.signals = len(stored.old_signals(connection, self._signals_before(now), SIGNALS_MAX))
        return found

    async def clean(self, limit_s: float = inf, done: Round | None = None) -> Round:
        """One round, of so many seconds at most. Raises Refused while another is under way, and NotArchived where the
        archive cannot be written; what was erased so far is, and is counted in `done`."""
        if self._turn.locked():
            raise Refused("ended jobs are being removed already; look again in a while")
        async with self._turn:
            return await self._clean(self._clock.monotonic_s() + limit_s, Round() if done is None else done)

    async def _clean(self, until_s: float, done: Round) -> Round:
        place: Place | None = None
        while True:
            page, wanted = await to_the_end(asyncio.to_thread(self._choose, place, done))  # it has a connection
            if not page:
                break
            place = (page[-1].ended_at, page[-1].id)
            while wanted:
                batch, wanted = wanted[: self._size], wanted[self._size :]
                done.removed += await self._erase(batch)
                if self._clock.monotonic_s() > until_s:
                    done.has_more = True
                    return done
            await asyncio.sleep(PAUSE_S_MIN)
        while numbers := await to_the_end(asyncio.to_thread(self._signals)):
            await self._engine.write(lambda snapshot, now, numbers=numbers: _nothing(snapshot, signals=numbers))  # type: ignore[misc]
            done.signals += len(numbers)
            await asyncio.sleep(PAUSE_S_MIN)
        return done

    def _page(self, connection: Connection, now: int, place: Place | None) -> list[EndedJob]:
        before = now - int(self._retention.shortest_s * 1e6)
        return stored.ended_before(connection, before, place, PAGE_MAX)

    def _choose(self, place: Place | None, done: Round) -> tuple[list[EndedJob], list[EndedJob]]:
        """The next page, and those of it that may go; what is kept is counted."""
        now, counted = self._clock.now_us(), Round()
        with self._database.reading() as connection:
            page = self._page(connection, now, place)
            referred = stored.referred_to(connection) if page else set()
            wanted = [job for job in page if self._sort(job, referred, now, counted)]
        done.kept += counted.kept
        return page, wanted

    def _sort(self, job: EndedJob, referred: set[UUID], now: int, into: Round) -> bool:
        why = kept(job, self._retention, now, is_referred_to=job.id in referred)
        if why is None:
            into.removed += 1
        else:
            into.kept[why] += 1
        return why is None

    async def _erase(self, jobs: list[EndedJob]) -> int:
        """Archives and erases them, then rests; how many were erased. The size of the next batch follows the time."""
        seen = {job.id: job.changed_at for job in jobs}
        if self._archive_dir is not None:
            await to_the_end(asyncio.to_thread(self._archive, self._archive_dir, list(seen)))
        began_s, erased = self._clock.monotonic_s(), list[UUID]()

        def make(snapshot: Snapshot, now: int) -> ChangeSet | None:
            erased[:] = self._still(snapshot, seen, now)
            return _nothing(snapshot, jobs=erased) if erased else None

        await self._engine.write(make, in_writer=True)
        took_s = self._clock.monotonic_s() - began_s
        self._size = min(BATCH_MAX, self._size * 2) if took_s < BATCH_S else max(BATCH_MIN, self._size // 2)
        await asyncio.sleep(max(PAUSE_S_MIN, REST * took_s))
        return len(erased)

    def _still(self, snapshot: Snapshot, seen: Mapping[UUID, int], now: int) -> list[UUID]:
        """Those that may go by the rows as they are in the writer's transaction."""
        found, referred = snapshot.ended(list(seen)), snapshot.referred_to()
        return [
            job.id
            for job in found
            if job.changed_at == seen[job.id]
            and kept(job, self._retention, now, is_referred_to=job.id in referred) is None
        ]

    def _archive(self, folder: Path, jobs: list[UUID]) -> None:
        with self._database.reading() as connection:
            lines = [{"job_id": job, **everything_of(connection, job)} for job in jobs]
        archive.append(folder, lines, self._clock.now_us())

    def _signals(self) -> list[int]:
        with self._database.reading() as connection:
            return stored.old_signals(connection, self._signals_before(self._clock.now_us()), SIGNALS_MAX)

    def _signals_before(self, now: int) -> int:
        return now - int(self._retention.succeeded_s * 1e6)


def _nothing(snapshot: Snapshot, *, jobs: list[UUID] | None = None, signals: list[int] | None = None) -> ChangeSet:
    """No rows to write, but some to erase: decided in the writer, alone in its batch."""
    return ChangeSet(
        Flow(new_id()), [], set(), snapshot.reads, snapshot.link_reads, {}, needs_writer=True,
        erased=tuple(jobs or ()), erased_signals=tuple(signals or ()),
    )  # fmt: skip
