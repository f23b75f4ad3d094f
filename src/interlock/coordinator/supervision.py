"""Supervision: one engine after another, each started from the rows, as long as the coordinator is open."""

import asyncio

import structlog

from interlock.catalog import Catalog
from interlock.clock import Clock
from interlock.coordinator import owning, recovery
from interlock.coordinator.acting import Acting
from interlock.coordinator.change_set import World
from interlock.coordinator.configured import ConfiguredLimits
from interlock.coordinator.engine import Engine
from interlock.coordinator.janitor import Janitor
from interlock.coordinator.machine import Machine
from interlock.coordinator.scheduling import Scheduling
from interlock.coordinator.settings import Settings
from interlock.coordinator.waiting import Waiting
from interlock.coordinator.writer import Owner
from interlock.core.polling import Backoff
from interlock.hosts.vdsm import connector
from interlock.ids import new_id
from interlock.model.errors import InterlockError, NotOwner
from interlock.secrets import Keyring
from interlock.store.database import Database
from interlock.store.queries import limits as stored_limits

#: how often an engine is started anew after an error of a COMMIT, before the coordinator gives up; one that
#: has lived for LIVED_S counts as the first
RESTARTS_MAX, LIVED_S = 5, 60.0
#: how long a database that does not answer is waited for then, and the pauses between two tries
DOWN_S_MAX, PAUSE_S_MIN, PAUSE_S_MAX = 300.0, 0.1, 5.0

_log = structlog.get_logger(__name__)


class Supervision:
    """Keeps an engine running over an open database; `engine`, `acting` and `world` are the present one's."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        keyring: Keyring,
        clock: Clock,
        settings: Settings,
        waiting: Waiting,
        machine: Machine,
    ) -> None:
        self._catalog = catalog
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._settings = settings
        self._waiting = waiting
        self._machine = machine
        self._runs = False
        self.world: World
        self.engine: Engine
        self._owner: Owner
        self.acting: Acting
        self.scheduling: Scheduling
        self.janitor: Janitor
        self._supervisor: asyncio.Task[None] | None = None
        #: resolves with an error when no engine can be started any more
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """The first engine; whatever becomes of it, another follows."""
        await self._start_engine()
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """No further engine is started."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)

    async def end(self) -> None:
        """Ends the engine that runs, and says good-bye."""
        if self._runs:
            await self._stop_engine()
            if not self.failed.done():
                await asyncio.to_thread(owning.say_goodbye, self._database, self._owner, self._clock)

    async def _start_engine(self) -> None:
        settings = self._settings
        owner, cluster, after_a_crash = await asyncio.to_thread(owning.register, self._database, self._clock)
        connect = connector(settings.tls_dir, cluster, plain_hosts=settings.plain_hosts)
        with self._database.reading() as connection:
            limits = ConfiguredLimits(stored_limits.configured(connection))
        self.acting = Acting(
            self._database, self._catalog, self._keyring, self._clock, settings.patience, connect, self._waiting, limits
        )
        self.world = World(self._catalog, self._keyring, new_id, self.acting.incarnation_of, limits)
        self._owner = owner
        self.engine = Engine(
            self._database, owner, self.world, self._clock, self.acting, self._machine,
            workers=settings.workers, sets_max=settings.sets_max,
        )  # fmt: skip
        self.acting.serve(self.engine)
        self.scheduling = Scheduling(self._database, self.engine, self.world, self._clock)
        self.janitor = Janitor(self._database, self.engine, self._clock, settings.retention, settings.archive_dir)
        self.engine.start()
        self._runs = True
        with self._database.reading() as connection:
            claimant = recovery.Claimant(self._catalog, self._keyring, self._clock, after_a_crash)
            count = recovery.take_over(connection, self.engine, claimant)
        self.scheduling.start()
        self.janitor.start()
        _log.info("engine_started", epoch=owner.epoch, flows_taken_over=count)

    async def _stop_engine(self) -> None:
        if self._runs:
            self._runs = False
            await self.janitor.stop()
            await self.scheduling.stop()
            await self.acting.stop()
            await self.engine.stop()

    async def _supervise(self) -> None:
        """After an error of a COMMIT, or when the database was lost, nothing is judged by looking: a new engine
        starts from the rows."""
        restarts = 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                await self.engine.failed
            except Exception as error:
                restarts = restarts + 1 if self._clock.monotonic_s() - began_s < LIVED_S else 1
                _log.error("engine_failed", restart=restarts, exc_info=error)
                await self._stop_engine()
                if isinstance(error, NotOwner) or restarts > RESTARTS_MAX:
                    self._give_up(error)
                    return
            try:
                await self._start_again()
            except Exception as another:
                _log.error("engine_not_started", exc_info=another)
                self._give_up(another)
                return
            self._waiting.look_again()

    async def _start_again(self) -> None:
        """A new engine, as soon as the database answers."""
        pauses, began_s = Backoff(PAUSE_S_MIN, PAUSE_S_MAX), self._clock.monotonic_s()
        while True:
            try:
                await self._start_engine()
                return
            except Exception as error:
                await self._stop_engine()
                if not self._database.is_lost(error) or self._clock.monotonic_s() - began_s > DOWN_S_MAX:
                    raise
                _log.warning("database_does_not_answer", reason=str(error))
                await asyncio.sleep(pauses.next())

    def _give_up(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)
        self._waiting.give_up(error)

    def check_works(self) -> None:
        if self.failed.done() and (error := self.failed.exception()) is not None:
            kind = NotOwner if isinstance(error, NotOwner) else InterlockError
            raise kind(f"this coordinator has stopped ({error}); open the database again")
