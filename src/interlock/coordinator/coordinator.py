"""The coordinator: opens a database, takes over what is unfinished, accepts commands, says how they ended."""

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from interlock import logs
from interlock.catalog import Catalog
from interlock.clock import Clock, SystemClock
from interlock.coordinator import answers, host_tasks, leftovers, outside, recovery
from interlock.coordinator.change_set import ChangeSet
from interlock.coordinator.cleaning import Cleaning
from interlock.coordinator.closing import to_the_end
from interlock.coordinator.machine import MACHINE, Machine
from interlock.coordinator.settings import Settings
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.ids import new_id
from interlock.model.errors import Missing
from interlock.model.refs import Ref
from interlock.model.text import require_storable
from interlock.secrets import Keyring
from interlock.store.queries import leftovers as stored_leftovers


class Coordinator(Cleaning):
    """Opened by `open`; all methods are for its event loop."""

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
        machine: Machine = MACHINE,
    ) -> "AsyncIterator[Coordinator]":
        """Owns the database until the block ends; unfinished flows go on at once.

        `url` is `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`. Unless a keyring is given, secrets
        are sealed with the key in `<path>.key`, or in `interlock/<database>.key` of the user's state folder.
        `machine` is for simulators.
        Raises NotOwner where another process has the database, and what else `Database.open` raises.
        """
        logs.quiet_unless_configured()
        database = await asyncio.to_thread(machine.open_database, url)
        try:
            keys = keyring or _keyring((settings and settings.key_file) or database.key_file)
            coordinator = cls(database, catalog, keys, clock or SystemClock(), settings or Settings(), machine)
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

    # news from outside ------------------------------------------------------------------------------

    async def signal(
        self,
        kind: str,
        *,
        about: Ref[Any] | None = None,
        job_id: UUID | None = None,
        data: Any = None,
        by: str = "",
        signal_id: UUID | None = None,
    ) -> UUID:
        """Accepts a signal, JSON `data` with it: durable when this returns, its id. It ends the waits for its kind
        (and entity) that have begun; addressed to a job, one of that job, which may begin later. The same
        `signal_id` again changes nothing. Raises InvalidInput, Missing, Refused, KeyReused (another's id)."""
        self._check_works()
        wanted = outside.checked_signal(signal_id or new_id(), kind, about, job_id, data, by, self._clock.now_us())
        await self._in_turn(lambda: self._engine.write(lambda snapshot, now: outside.signal(wanted, snapshot)))
        return wanted.id

    async def report(self, monitor: str, subject: Ref[Any], told: Any, *, by: str = "") -> None:
        """Tells a monitor what was observed of an entity, `by` a person or a program; what it
        writes is committed when this returns.
        Raises InvalidInput, Missing, and Refused where the monitor does, or raises."""
        self._check_works()
        require_storable("who tells", by)
        world, report = self._supervision.world, self.catalog.report(monitor, told, self._id_of)

        def make(snapshot: Snapshot, now: int) -> ChangeSet | None:
            return outside.report(world, Flow(new_id()), monitor, subject, report, snapshot, now, by)

        await self._in_turn(lambda: self._engine.write(make))

    async def answer(
        self, job_id: UUID, form: Any, *, by: str, holds: Container[str], task_id: UUID | None = None
    ) -> None:
        """A person answers what a wait of the job asks (`task_id`, or the only one); `holds` are their permissions.
        Raises Missing, NotAllowed, InvalidInput, Refused. Audited."""
        self._check_works()
        await asyncio.to_thread(self._root, job_id)
        given = answers.Answer(form, by, holds, task_id)
        await self._engine.errand(
            job_id,
            lambda flow: answers.answer(flow, given, self.catalog, self._keyring, self._clock, self._id_of),
            lambda connection: recovery.load(connection, job_id),
        )

    async def questions(self, job_id: UUID) -> list[dict[str, Any]]:
        """What the job asks people at present: task, question, permission, and the form as JSON schema.
        Raises Missing."""

        def read() -> list[dict[str, Any]]:
            self._root(job_id)
            with self.reading() as connection:
                return answers.questions(recovery.load(connection, job_id), self.catalog)

        return await asyncio.to_thread(read)

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

    async def host_tasks(self) -> list[dict[str, Any]]:
        """Of each host all tasks that it has, with the job of each: None where this database knows none. A host that
        does not answer says why (`problem`). Asks all hosts; changes nothing."""
        self._check_works()
        return await host_tasks.of_all(self._database, self.catalog, self._supervision.acting)

    @property
    def commits(self) -> int:
        """How many transactions this engine has committed."""
        return self._engine.writer.commits


def _keyring(file: Path | None) -> Keyring:
    if file is None:
        return Keyring.ephemeral()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Keyring.open_file(file)
