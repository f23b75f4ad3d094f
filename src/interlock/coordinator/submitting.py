"""Submitting: commands are accepted, or previewed, and their ends waited for."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from interlock.catalog import Catalog
from interlock.clock import Clock
from interlock.command import Command
from interlock.coordinator import batches
from interlock.coordinator.accepting import Repeated, Submission, submission
from interlock.coordinator.change_set import ChangeSet
from interlock.coordinator.engine import Engine
from interlock.coordinator.job import Job
from interlock.coordinator.machine import Machine
from interlock.coordinator.naming import names_of
from interlock.coordinator.preview import Preview, Previews
from interlock.coordinator.settings import Settings
from interlock.coordinator.snapshot import Snapshot
from interlock.coordinator.supervision import Supervision
from interlock.coordinator.waiting import LOOK_AGAIN, Waiting
from interlock.core.flow import Flow
from interlock.model.calls import COMMANDS_MAX, NO_CONTEXT, AfterPolicy, CallOrder, Context
from interlock.model.errors import InvalidInput, Missing, Refused
from interlock.model.records import CommandRecord
from interlock.model.refs import Ref
from interlock.model.text import require_storable
from interlock.secrets import Keyring
from interlock.store.database import Database
from interlock.store.queries import entities, jobs

R = TypeVar("R")
T = TypeVar("T")

#: how many submissions may wait for their commit at once
SUBMISSIONS_MAX = 10_000


class Submitting:
    """An open coordinator, as far as it accepts commands and knows how they ended."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        keyring: Keyring,
        clock: Clock,
        settings: Settings,
        machine: Machine,
    ) -> None:
        self.catalog = catalog
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._settings = settings
        self._submitting = 0
        self._waiting = Waiting()
        self._previews = Previews(self.reading)
        self._supervision = Supervision(database, catalog, keyring, clock, settings, self._waiting, machine)

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
        timeout_s: float | None = None,
        ask: bool = False,
        wait_for_locks: bool = False,
        context: Context = NO_CONTEXT,
        after: Sequence[UUID | Job[Any]] = (),
        after_policy: AfterPolicy = AfterPolicy.SUCCEEDED,
    ) -> Job[R]:
        """Accepts a command: returns after the commit that made it, or raises Refused (InvalidInput, Missing,
        KeyReused, or with the `job_id` of the job that shows the refusal). Of commands that wait for one lock the
        one of higher `priority` (-10 to 10) comes first; a minute of waiting makes up for one level. Once it has
        begun it may take `timeout_s` (default: what its class says), then it is stopped. With `ask`, where a part of it
        fails, what succeeded is kept and a person is asked; only a `resumable` one can do that. With `wait_for_locks`
        it waits for its own locks, though its class would have it refused.

        It begins when the jobs that it comes `after` (at most 100) have ended as `after_policy` says, and is locked
        and validated only then; where they end otherwise it is CANCELLED, and its failure names them."""
        self._check_works()
        wanted = submission(
            self.catalog, command, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user,
            priority=priority, timeout_s=timeout_s, ask=ask, wait_for_locks=wait_for_locks,
            context=context, after_policy=after_policy,
            after=[each.id if isinstance(each, Job) else each for each in after],
        )  # fmt: skip
        return await self._accepted(wanted)

    async def _accepted(self, wanted: Submission) -> Job[Any]:
        try:
            job_id, repeated = await self._in_turn(lambda: self._engine.submit(wanted)), False
        except Repeated as known:
            job_id, repeated = known.job_id, True
        return Job(self, job_id, type(wanted.command), repeated=repeated)

    async def _in_turn(self, begin: "Callable[[], asyncio.Future[T]]") -> T:
        """What the engine is asked to commit; bounded, and not taken back where the caller is cancelled."""
        if self._submitting >= SUBMISSIONS_MAX:
            raise Refused(f"{self._submitting} submissions wait already; submit again later")
        self._submitting += 1
        try:
            return await asyncio.shield(begin())
        finally:
            self._submitting -= 1

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
        ask: bool = False,
        wait_for_locks: bool = False,
        after: Sequence[UUID] = (),
        after_policy: AfterPolicy = AfterPolicy.SUCCEEDED,
    ) -> Job[Any]:
        """As `submit`, from what a person wrote: names are resolved wherever a ref is asked for."""
        command = self._from_input(name, parameters, version, idempotency_key)
        return await self.submit(
            command, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user, priority=priority,
            timeout_s=timeout_s, ask=ask, wait_for_locks=wait_for_locks, after=after, after_policy=after_policy,
        )  # fmt: skip

    async def submit_all(
        self,
        commands: Sequence[Command[Any]],
        *,
        order: CallOrder = CallOrder.PARALLEL,
        correlation_id: str | None = None,
        idempotency_key: str | None = None,
        user: str = "",
        priority: int = 0,
        context: Context = NO_CONTEXT,
    ) -> list[Job[Any]]:
        """Accepts several commands at once, each as a job; all are validated before any runs.

        Raises what `submit` raises, with all reasons together: then none of them runs, and each job says so.
        """
        self._check_works()
        if not 0 < len(commands) <= COMMANDS_MAX:
            raise InvalidInput(f"{len(commands)} commands in one call; it must be 1 to {COMMANDS_MAX}")
        wanted = [
            submission(
                self.catalog, command, correlation_id=correlation_id, user=user, priority=priority, context=context,
                idempotency_key=batches.key_of(idempotency_key, number),
            )
            for number, command in enumerate(commands)
        ]  # fmt: skip
        wanted, world, flows = batches.in_order(wanted, order), self._supervision.world, list[Flow]()

        def make(snapshot: Snapshot, now: int) -> ChangeSet:
            flows.clear()
            made = batches.accept(world, wanted, snapshot, now)
            flows[:] = made.born
            return made

        try:
            await self._in_turn(lambda: self._engine.write(make))
            ids, repeated = [flow.id for flow in flows], False
        except batches.RepeatedCall as known:
            ids, repeated = list(known.job_ids), True
        reasons = batches.refusals(flows)
        if reasons:
            raise Refused(*reasons, job_id=ids[0])
        return [Job(self, id, type(command), repeated=repeated) for id, command in zip(ids, commands, strict=True)]

    async def submit_all_input(
        self,
        wanted: Sequence[tuple[str, Mapping[str, Any], int | None]],
        *,
        order: CallOrder = CallOrder.PARALLEL,
        correlation_id: str | None = None,
        idempotency_key: str | None = None,
        user: str = "",
        priority: int = 0,
    ) -> list[Job[Any]]:
        """As `submit_all`, from what a person wrote: names, parameters, versions."""
        commands = [
            self._from_input(name, parameters, version, batches.key_of(idempotency_key, number))
            for number, (name, parameters, version) in enumerate(wanted)
        ]
        return await self.submit_all(
            commands, order=order, correlation_id=correlation_id, idempotency_key=idempotency_key, user=user,
            priority=priority,
        )  # fmt: skip

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

    def named(self, text: str) -> Ref[Any]:
        """The entity that a person named TYPE:NAME or TYPE:ID. Raises InvalidInput, Missing."""
        require_storable("the entity's name", text)
        kind, colon, name = text.partition(":")
        if not colon or kind not in self.catalog.entities:
            known = ", ".join(sorted(self.catalog.entities))
            raise InvalidInput(f"{text!r} names no entity; write TYPE:NAME or TYPE:ID, with a type of {known}")
        with self.reading() as connection:
            found = entities.by_name(connection, kind, name)
        if found is not None:
            return found.ref
        try:
            return Ref(kind, UUID(name))
        except ValueError:
            raise Missing(f"there is no {kind} {name!r}; `interlock entity {kind}` lists them") from None

    def subject(self, text: str) -> Ref[Any]:
        """What an action was done to, as a person named it: an entity as `named` takes it, or TYPE:ID of anything
        else, also of what is gone. Raises InvalidInput, Missing."""
        require_storable("the subject", text)
        kind, _, name = text.partition(":")
        if kind not in self.catalog.entities:
            try:
                return Ref(kind, UUID(name))
            except ValueError:
                pass
        return self.named(text)

    def _from_input(
        self, name: str, parameters: Mapping[str, Any], version: int | None, idempotency_key: str | None = None
    ) -> Command[Any]:
        with self.reading() as connection:
            resolve = names_of(connection, idempotency_key)
            return self.catalog.from_input(name, parameters, version=version, resolve=resolve)

    def _id_of(self, entity_type: str, entity_name: str) -> UUID | None:
        """What a person may mean by a name."""
        with self.reading() as connection:
            found = entities.by_name(connection, entity_type, entity_name)
        return found.ref.id if found is not None else None

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

    def _root(self, job_id: UUID) -> CommandRecord:
        with self.reading() as connection:
            record = jobs.root_of(connection, job_id)
        if record is None:
            raise Missing(f"there is no job {job_id}; `interlock jobs` lists them")
        return record
