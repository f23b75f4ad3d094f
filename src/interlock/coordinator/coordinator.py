"""The coordinator: opens a database, takes over what is unfinished, accepts commands, says how they ended."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection

from interlock import logs
from interlock.catalog import Catalog
from interlock.clock import Clock, SystemClock
from interlock.command import Command
from interlock.coordinator import leftovers, owning, recovery, settling
from interlock.coordinator.accepting import Repeated, submission
from interlock.coordinator.acting import Acting
from interlock.coordinator.closing import to_the_end
from interlock.coordinator.engine import Engine
from interlock.coordinator.job import Job
from interlock.coordinator.preview import Preview, Previews
from interlock.coordinator.runner import World
from interlock.coordinator.settings import Settings
from interlock.coordinator.waiting import LOOK_AGAIN, Waiting
from interlock.coordinator.writer import Owner
from interlock.core.flow import Flow
from interlock.core.polling import Backoff
from interlock.core.settling import Settlement
from interlock.hosts.vdsm import connector
from interlock.ids import new_id
from interlock.model.decisions import Decision
from interlock.model.errors import InterlockError, Missing, NotOwner, Refused
from interlock.model.records import CommandRecord, JobRecord, TaskRecord
from interlock.secrets import Keyring
from interlock.store.database import Database
from interlock.store.queries import entities, jobs
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
        self._previews = Previews(self.reading)
        self._runs = False
        self._world: World
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
        await self._previews.stop()
        if self._runs:
            await self._stop_engine()
            if not self.failed.done():
                await asyncio.to_thread(owning.say_goodbye, self._database, self._owner, self._clock)

    # the engine -------------------------------------------------------------------------------------

    async def _start_engine(self) -> None:
        settings = self._settings
        connect = connector(settings.tls_dir, plain_hosts=settings.plain_hosts)
        self._acting = Acting(
            self._database, self.catalog, self._keyring, self._clock, settings.patience, connect, self._waiting
        )
        self._world = World(self.catalog, self._keyring, new_id, self._acting.incarnation_of)
        owner, after_a_crash = await asyncio.to_thread(owning.register, self._database, self._clock)
        self._owner = owner
        self._engine = Engine(
            self._database, owner, self._world, self._clock, self._acting,
            workers=settings.workers, sets_max=settings.sets_max,
        )  # fmt: skip
        self._acting.serve(self._engine)
        self._engine.start()
        self._runs = True
        with self._database.reading() as connection:
            claimant = recovery.Claimant(self.catalog, self._keyring, self._clock, after_a_crash)
            count = recovery.take_over(connection, self._engine, claimant)
        _log.info("engine_started", epoch=owner.epoch, flows_taken_over=count)

    async def _stop_engine(self) -> None:
        if self._runs:
            self._runs = False
            await self._acting.stop()
            await self._engine.stop()

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
        timeout_s: float | None = None,
    ) -> Job[R]:
        """Accepts a command: returns after the commit that made it, or raises Refused (InvalidInput, Missing,
        KeyReused, or with the `job_id` of the job that shows the refusal). Of commands that wait for one lock the
        one of higher `priority` (-10 to 10) comes first; a minute of waiting makes up for one level. Once it has
        begun it may take `timeout_s` (default: what its class says), then it is stopped."""
        self._check_works()
        wanted = submission(
            self.catalog, command, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user,
            priority=priority, timeout_s=timeout_s,
        )  # fmt: skip
        if self._submitting >= SUBMISSIONS_MAX:
            raise Refused(f"{self._submitting} submissions wait already; submit again later")
        self._submitting += 1
        try:
            job_id, repeated = await asyncio.shield(self._engine.submit(wanted)), False
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
        timeout_s: float | None = None,
    ) -> Job[Any]:
        """As `submit`, from what a person wrote: names are resolved wherever a ref is asked for."""
        command = self._from_input(name, parameters, version)
        return await self.submit(
            command, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user, priority=priority,
            timeout_s=timeout_s,
        )  # fmt: skip

    async def plan(self, command: Command[Any]) -> Preview:
        """What the command would do, run over a read snapshot; nothing is committed and nothing sent.

        A command that would be refused is answered with its `refusals`. Raises InvalidInput, Missing, and Refused
        where the preview itself cannot be made.
        """
        self._check_works()
        return await self._previews.make(self._world, submission(self.catalog, command), self._clock.now_us())

    async def plan_input(self, name: str, parameters: Mapping[str, Any], *, version: int | None = None) -> Preview:
        """As `plan`, from what a person wrote."""
        return await self.plan(self._from_input(name, parameters, version))

    def _from_input(self, name: str, parameters: Mapping[str, Any], version: int | None) -> Command[Any]:
        with self.reading() as connection:

            def resolve(entity_type: str, entity_name: str) -> UUID | None:
                found = entities.by_name(connection, entity_type, entity_name)
                return found.ref.id if found is not None else None

            return self.catalog.from_input(name, parameters, version=version, resolve=resolve)

    async def clear_leftover(self, leftover_id: UUID, *, by: str, reason: str) -> None:
        """A person attests that nothing remains: the leftover no longer refuses its refs. Audited."""

        self._check_works()
        flow_id = await asyncio.to_thread(self._flow_of, leftover_id)
        await self._engine.errand(
            flow_id,
            lambda flow: leftovers.clear(flow, leftover_id, by, reason, self._clock),
            lambda connection: recovery.load(connection, flow_id),
        )

    async def settle(
        self,
        job_id: UUID,
        decision: Decision,
        *,
        by: str,
        reason: str,
        command_id: UUID | None = None,
        leave_tasks: bool = False,
    ) -> None:
        """A person decides about the command of a job that needs attention (`command_id`, or the only one).

        A forced end runs no phase of it, so that its value is None. Tasks that may still run become leftovers
        with `leave_tasks`, else they keep it from being forced. Raises Refused, Missing. Audited.
        """
        self._check_works()
        await asyncio.to_thread(self._root, job_id)
        wish = Settlement(decision, command_id, by, reason, leave_tasks)
        left: list[TaskRecord] = []

        def write(flow: Flow) -> None:
            left[:] = settling.settle(flow, wish, self.catalog, self._keyring, self._clock)

        await self._engine.errand(job_id, write, lambda connection: recovery.load(connection, job_id), resumes=True)
        for task in left:
            self._acting.task_left(task)

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
