"""The coordinator: opens a database, takes over what is unfinished, accepts commands, says how they ended."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection

from interlock import failpoints, logs
from interlock.catalog import Catalog
from interlock.clock import Clock, SystemClock
from interlock.command import Command
from interlock.coordinator import leftovers, recovery
from interlock.coordinator.accepting import (
    Repeated,
    Submission,
    checked_correlation,
    checked_key,
    checked_priority,
    checked_user,
)
from interlock.coordinator.acting import Acting
from interlock.coordinator.closing import to_the_end
from interlock.coordinator.engine import Engine
from interlock.coordinator.runner import World
from interlock.coordinator.waiting import LOOK_AGAIN, Waiting
from interlock.coordinator.watched import Patience
from interlock.coordinator.writer import SETS_MAX, Owner
from interlock.core.polling import Backoff
from interlock.hosts.vdsm import connector
from interlock.ids import new_id
from interlock.model.errors import InterlockError, Missing, NotOwner, Refused
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, JobRecord
from interlock.model.states import Result
from interlock.secrets import Keyring
from interlock.store.database import Database
from interlock.store.queries import engines, entities, jobs
from interlock.store.queries import leftovers as stored_leftovers

R = TypeVar("R")

#: how many submissions may wait for their commit at once
SUBMISSIONS_MAX = 10_000
#: how often an engine is started anew after an error of a COMMIT, before the coordinator gives up; one that
#: has lived for LIVED_S counts as the first
RESTARTS_MAX, LIVED_S = 5, 60.0
#: how long a database that does not answer is waited for then, and the pauses between two tries
DOWN_S_MAX, PAUSE_S_MIN, PAUSE_S_MAX = 300.0, 0.1, 5.0

_log = structlog.get_logger(__name__)


class CommandFailed(InterlockError):
    """The command reached its end, and the end is FAILED or CANCELLED; `failure` says why."""

    def __init__(self, job_id: UUID, result: Result, failure: Failure) -> None:
        super().__init__(f"job {job_id} {result}: {failure.message}")
        self.job_id = job_id
        self.result = result
        self.failure = failure


@dataclass(frozen=True)
class Settings:
    """How a coordinator runs; the defaults are right for a service."""

    workers: int = 2
    #: change sets per transaction; 1 commits each run by itself, which makes runs comparable in tests
    sets_max: int = SETS_MAX
    patience: Patience = field(default_factory=Patience)
    #: the folder with ca.pem, cert.pem and key.pem by which hosts know this coordinator; None = no TLS hosts
    tls_dir: Path | None = None
    #: whether hosts on loopback may be reached without TLS
    plain_hosts: bool = False
    #: the file with the key that seals secrets, made where there is none; None = where the database says
    key_file: Path | None = None


class Job(Generic[R]):
    """An accepted command. `repeated`: it had been submitted before under the same idempotency key."""

    def __init__(self, coordinator: "Coordinator", id: UUID, command: type[Command[Any]], *, repeated: bool) -> None:
        self._coordinator = coordinator
        self._command = command
        self.id = id
        self.repeated = repeated

    async def result(self, timeout_s: float | None = None) -> R:
        """Waits for the end; the typed result. Raises CommandFailed, or TimeoutError (the job goes on)."""
        root = await self._coordinator.wait_ended(self.id, timeout_s)
        if root.result is not Result.SUCCEEDED:
            failure = Failure.from_json(root.failure_json) if root.failure_json else Failure("it was stopped")
            raise CommandFailed(self.id, root.result or Result.FAILED, failure)
        value: R = self._coordinator.catalog.read_value(self._command, root.value_json)
        return value


class Coordinator:
    """Opened by `open`; all methods are for its event loop."""

    def __init__(
        self, database: Database, catalog: Catalog, keyring: Keyring, clock: Clock, settings: Settings
    ) -> None:
        self.catalog = catalog
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._settings = settings
        self._submitting = 0
        self._waiting = Waiting()
        self._runs = False
        self._engine: Engine
        self._owner: Owner
        self._acting: Acting
        self._supervisor: asyncio.Task[None] | None = None
        #: resolves with an error when this coordinator can no longer work
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        catalog: Catalog,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        keyring: Keyring | None = None,
    ) -> "AsyncIterator[Coordinator]":
        """Owns the database until the block ends; unfinished flows go on at once.

        `url` is `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`. Unless a keyring is given, secrets
        are sealed with the key in `<path>.key`, or in `interlock/<database>.key` of the user's state folder.
        Raises NotOwner where another process has the database, and what else `Database.open` raises.
        """
        logs.quiet_unless_configured()
        database = await asyncio.to_thread(Database.open, url)
        try:
            keys = keyring or _keyring((settings and settings.key_file) or database.key_file)
            coordinator = cls(database, catalog, keys, clock or SystemClock(), settings or Settings())
            try:
                await coordinator._start_engine()
                coordinator._supervisor = asyncio.create_task(coordinator._supervise())
                yield coordinator
            finally:
                await to_the_end(coordinator._close())
        finally:
            await to_the_end(asyncio.to_thread(database.close))

    async def _close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        if self._runs:
            await self._stop_engine()
            if not self.failed.done():
                await asyncio.to_thread(self._say_goodbye)

    # the engine -------------------------------------------------------------------------------------

    async def _start_engine(self) -> None:
        settings = self._settings
        connect = connector(settings.tls_dir, plain_hosts=settings.plain_hosts)
        self._acting = Acting(
            self._database, self.catalog, self._keyring, self._clock, settings.patience, connect, self._waiting
        )
        world = World(self.catalog, self._keyring, new_id, self._acting.incarnation_of)
        owner, after_a_crash = await asyncio.to_thread(self._register)
        self._owner = owner
        self._engine = Engine(
            self._database, owner, world, self._clock, self._acting,
            workers=settings.workers, sets_max=settings.sets_max,
        )  # fmt: skip
        self._acting.serve(self._engine)
        self._engine.start()
        self._runs = True
        with self._database.reading() as connection:
            claimant = recovery.Claimant(self.catalog, self._keyring, self._clock, after_a_crash)
            count = recovery.take_over(connection, self._engine, claimant)
        _log.info("engine_started", epoch=owner.epoch, flows_taken_over=count)

    def _register(self) -> tuple[Owner, bool]:
        """A new row of `engines`; and whether the engine before ended without saying good-bye."""
        connection, id = self._database.writer(), new_id()
        hit = failpoints.before("commit_register")
        with connection.begin():
            after_a_crash = engines.is_any_running(connection)
            epoch = engines.register(connection, id, self._clock.now_us(), socket.gethostname(), os.getpid())
        failpoints.after("commit_register", hit)
        return Owner(id, epoch), after_a_crash

    async def _stop_engine(self) -> None:
        if self._runs:
            self._runs = False
            await self._acting.stop()
            await self._engine.stop()

    def _say_goodbye(self) -> None:
        """Nothing was cut off: the next engine need not suspect any flow."""
        connection = self._database.writer()
        try:
            with connection.begin():
                engines.end(connection, self._owner.id, self._clock.now_us())
        except Exception as error:
            if not self._database.is_lost(error):
                raise
            _log.warning("goodbye_not_said", reason=str(error))

    async def _supervise(self) -> None:
        """After an error of a COMMIT, or when the database was lost, nothing is judged by looking: a new engine
        starts from the rows."""
        restarts = 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                await self._engine.failed
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

    def _check_works(self) -> None:
        if self.failed.done() and (error := self.failed.exception()) is not None:
            kind = NotOwner if isinstance(error, NotOwner) else InterlockError
            raise kind(f"this coordinator has stopped ({error}); open the database again")

    # commands ---------------------------------------------------------------------------------------

    async def submit(
        self,
        command: Command[R],
        *,
        correlation_id: str | None = None,
        idempotency_key: str | None = None,
        user: str = "",
        priority: int = 0,
    ) -> Job[R]:
        """Accepts a command: returns after the commit that made it, or raises Refused (InvalidInput, Missing,
        KeyReused, or with the `job_id` of the job that shows the refusal). Of commands that wait for one lock the
        one of higher `priority` (-10 to 10) comes first; a minute of waiting makes up for one level."""
        self._check_works()
        id = new_id()
        submission = Submission(
            id, (new_id(), new_id(), new_id()), self.catalog.checked(command), checked_correlation(correlation_id, id),
            checked_key(idempotency_key), checked_user(user), checked_priority(priority),
        )  # fmt: skip
        if self._submitting >= SUBMISSIONS_MAX:
            raise Refused(f"{self._submitting} submissions wait already; submit again later")
        self._submitting += 1
        try:
            job_id, repeated = await asyncio.shield(self._engine.submit(submission)), False
        except Repeated as known:
            job_id, repeated = known.job_id, True
        finally:
            self._submitting -= 1
        return Job(self, job_id, type(command), repeated=repeated)

    async def submit_input(
        self,
        name: str,
        parameters: Mapping[str, Any],
        *,
        version: int | None = None,
        correlation_id: str | None = None,
        idempotency_key: str | None = None,
        user: str = "",
        priority: int = 0,
    ) -> Job[Any]:
        """As `submit`, from what a person wrote: names are resolved wherever a ref is asked for."""
        with self.reading() as connection:

            def resolve(entity_type: str, entity_name: str) -> UUID | None:
                found = entities.by_name(connection, entity_type, entity_name)
                return found.ref.id if found is not None else None

            command = self.catalog.from_input(name, parameters, version=version, resolve=resolve)
        return await self.submit(
            command, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user, priority=priority
        )

    async def clear_leftover(self, leftover_id: UUID, *, by: str, reason: str) -> None:
        """A person attests that nothing remains: the leftover no longer refuses its refs. Audited."""

        self._check_works()
        flow_id = await asyncio.to_thread(self._flow_of, leftover_id)
        await self._engine.errand(
            flow_id,
            lambda flow: leftovers.clear(flow, leftover_id, by, reason, self._clock),
            lambda connection: recovery.load(connection, flow_id),
        )

    def _flow_of(self, leftover_id: UUID) -> UUID:
        with self.reading() as connection:
            flow_id = stored_leftovers.flow_of(connection, leftover_id)
        if flow_id is None:
            raise Missing(f"there is no leftover {leftover_id}; `interlock leftovers` lists them")
        return flow_id

    # reading ----------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read snapshot of the database. Raises DatabaseLost where it does not answer."""
        with self._database.reading() as connection:
            yield connection

    async def wait_ended(self, job_id: UUID, timeout_s: float | None = None) -> CommandRecord:
        """The flow command once it has ended. Raises TimeoutError; Missing where there is no such job."""
        over = self._waiting.ended(job_id)
        if over is not None:
            return over
        async with asyncio.timeout(timeout_s):
            while True:
                with self._waiting.ending(job_id) as end:
                    if not self._engine.is_under_way(job_id):
                        root = await asyncio.to_thread(self._root, job_id)
                        if root.result is not None:
                            return root
                    self._check_works()
                    ended = await end
                if ended is not LOOK_AGAIN:
                    return ended

    async def changed(self, job_id: UUID, after_seq: int, timeout_s: float) -> None:
        """Returns when the job has events after `after_seq`, or at the timeout. Raises Missing."""
        with self._waiting.changing(job_id) as changed:
            try:
                async with asyncio.timeout(timeout_s):
                    while (await asyncio.to_thread(self._job, job_id)).events <= after_seq:
                        await changed.wait()
                        changed.clear()
            except TimeoutError:
                return

    def hosts(self) -> list[dict[str, Any]]:
        """Each host that tasks were sent to since the start, with its connection."""
        return self._acting.hosts()

    @property
    def commits(self) -> int:
        """How many transactions this engine has committed."""
        return self._engine.writer.commits

    def _root(self, job_id: UUID) -> CommandRecord:
        with self.reading() as connection:
            record = jobs.root_of(connection, job_id)
        if record is None:
            raise Missing(f"there is no job {job_id}; `interlock jobs` lists them")
        return record

    def _job(self, job_id: UUID) -> JobRecord:
        with self.reading() as connection:
            record = jobs.by_id(connection, job_id)
        if record is None:
            raise Missing(f"there is no job {job_id}; `interlock jobs` lists them")
        return record


def _keyring(file: Path | None) -> Keyring:
    if file is None:
        return Keyring.ephemeral()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Keyring.open_file(file)
