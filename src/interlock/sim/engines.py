"""The simulated coordinator: the real one in a process of its own, started again whenever it has died."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.exc import OperationalError

from interlock.catalog import Catalog
from interlock.coordinator.change_set import ChangeSet
from interlock.coordinator.coordinator import Coordinator
from interlock.coordinator.machine import Machine
from interlock.coordinator.settings import Settings
from interlock.coordinator.watched import Patience
from interlock.model.errors import InterlockError
from interlock.secrets import Keyring
from interlock.sim import database
from interlock.sim.network import Network
from interlock.sim.process import Process, SimClock
from interlock.sim.timeline import Timeline
from interlock.store.database import Database

NAME = "engine"
_PAGES_MAX = 1 << 20
#: how long a coordinator that has died is gone, at most
GONE_S_MAX = 10.0
#: it is less patient than a service would be, so that a run shows how it gives up
PATIENCE = Patience(unsent_s=20.0, silent_s=120.0, poll_s_min=0.5, poll_s_max=8.0, stop_s=30.0, stalled_s=60.0)


class SimEngine:
    """The coordinator, as long as it lives; `committed` is shown what each transaction has stored."""

    def __init__(
        self,
        timeline: Timeline,
        network: Network,
        file: Path,
        catalog: Catalog,
        committed: Callable[[Sequence[ChangeSet]], None],
        failed: Callable[[str], None],
    ) -> None:
        self._timeline = timeline
        self._network = network
        self._file = file
        self._catalog = catalog
        self._committed = committed
        self._failed = failed
        self._chance = timeline.chance(NAME)
        self._keyring = Keyring.ephemeral()
        self._ending: asyncio.Event | None = None
        self._database: Database | None = None
        self.clock = SimClock(timeline)
        self.process: Process | None = None
        #: what people use; None while there is none
        self.coordinator: Coordinator | None = None
        #: how often it was started
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        self.process = Process(self._timeline, self._network, NAME, self.clock, self._failed)
        self.process.at_death.append(self._died)
        self.process.start(self._main)

    def stop(self) -> None:
        """Asks it to end in good order."""
        if self._ending is not None and self.process is not None and not self.process.is_dead:
            self.process.loop.call_soon(self._ending.set)

    def limit_disk(self, *, is_full: bool) -> None:
        """From now on the database's file can, or cannot, grow."""
        if self._database is not None:
            pages = _PAGES_MAX if not is_full else 1  # SQLite takes the size that it has for the least
            self._database.writer().connection.cursor().execute(f"PRAGMA max_page_count = {pages}")

    def _died(self) -> None:
        self.coordinator = self._ending = None
        if self._database is not None:
            self._database.close()
            self._database = None
        self._timeline.after(self._chance.uniform(0.01, GONE_S_MAX), None, self.start)

    def _open(self, _url: str) -> Database:
        self._database = database.opened(self._file)
        return self._database

    async def _main(self) -> None:
        assert self.process is not None
        machine = Machine(self.process.threads, self._open, self._committed)
        settings = Settings(plain_hosts=True, patience=PATIENCE)
        self._ending = asyncio.Event()
        try:
            async with Coordinator.open(
                "", self._catalog, settings=settings, clock=self.clock, keyring=self._keyring, machine=machine
            ) as coordinator:
                self.coordinator = coordinator
                ending = asyncio.ensure_future(self._ending.wait())
                await asyncio.wait((ending, coordinator.failed), return_when=asyncio.FIRST_COMPLETED)
                self.coordinator = None
                ending.cancel()
                if coordinator.failed.done():
                    coordinator.failed.result()
        except (InterlockError, OperationalError):
            return  # it has given up: whoever watches over it starts another
