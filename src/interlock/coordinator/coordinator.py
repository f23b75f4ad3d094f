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
from interlock.coordinator import leftovers, recovery, settling
from interlock.coordinator.accepting import Repeated, submission
from interlock.coordinator.closing import to_the_end
from interlock.coordinator.engine import Engine
from interlock.coordinator.job import Job
from interlock.coordinator.preview import Preview, Previews
from interlock.coordinator.settings import Settings
from interlock.coordinator.supervision import Supervision
from interlock.coordinator.waiting import LOOK_AGAIN, Waiting
from interlock.core.flow import Flow
from interlock.core.settling import Settlement
from interlock.model.decisions import Decision
from interlock.model.errors import Missing, Refused
from interlock.model.records import CommandRecord, JobRecord, TaskRecord
from interlock.secrets import Keyring
from interlock.store.database import Database
from interlock.store.queries import entities, jobs
from interlock.store.queries import leftovers as stored_leftovers

R = TypeVar("R")

#: how many submissions may wait for their commit at once
SUBMISSIONS_MAX = 10_000

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
        self._supervision = Supervision(database, catalog, keyring, clock, settings, self._waiting)

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
                await coordinator._supervision.start()
                yield coordinator
            finally:
                await to_the_end(coordinator._close())
        finally:
            await to_the_end(asyncio.to_thread(database.close))

    async def _close(self) -> None:
        await self._supervision.stop()
        await self._previews.stop()
        await self._supervision.end()

    @property
    def failed(self) -> "asyncio.Future[None]":
        """Resolves with an error when this coordinator can no longer work."""
        return self._supervision.failed

    @property
    def _engine(self) -> Engine:
        return self._supervision.engine

    def _check_works(self) -> None:
        self._supervision.check_works()

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
        wanted = submission(
            self.catalog, command, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user,
            priority=priority,
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
    ) -> Job[Any]:
        """As `submit`, from what a person wrote: names are resolved wherever a ref is asked for."""
        command = self._from_input(name, parameters, version)
        return await self.submit(
            command, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user, priority=priority
        )

    async def plan(self, command: Command[Any]) -> Preview:
        """What the command would do, run over a read snapshot; nothing is committed and nothing sent.

        A command that would be refused is answered with its `refusals`. Raises InvalidInput, Missing, and Refused
        where the preview itself cannot be made.
        """
        self._check_works()
        return await self._previews.make(
            self._supervision.world, submission(self.catalog, command), self._clock.now_us()
        )

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
            self._supervision.acting.task_left(task)

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
        return self._supervision.acting.hosts()

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
