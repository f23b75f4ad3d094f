"""Acts on what is stored: tasks go to the host or the function that does them, watchers of jobs are woken."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from interlock.catalog import Catalog
from interlock.clock import Clock
from interlock.coordinator.engine import Engine
from interlock.coordinator.host_watch import HostWatch
from interlock.coordinator.local_tasks import LocalTasks
from interlock.coordinator.waiting import Waiting
from interlock.coordinator.watched import Patience
from interlock.core.facts import Fact
from interlock.core.flow import Flow
from interlock.hosts.backend import Connect, HostLink, Unreachable
from interlock.model.entities import Endpoint, HostEntity
from interlock.model.records import TaskRecord
from interlock.model.refs import Ref
from interlock.model.states import TaskState
from interlock.secrets import Keyring
from interlock.store.database import Database
from interlock.store.queries import entities


class Acting:
    """The engine's hands. Lives in the loop, as long as one engine."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        keyring: Keyring,
        clock: Clock,
        patience: Patience,
        connect: Connect,
        waiting: Waiting,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._patience = patience
        self._connect_to = connect
        self._engine: Engine | None = None
        self._watches: dict[Ref[Any], HostWatch] = {}
        self._running: dict[Ref[Any], asyncio.Task[None]] = {}
        self._local = LocalTasks(catalog, keyring, self._tell, patience.stop_s)
        self._waiting = waiting
        self._stopped = False

    def serve(self, engine: Engine) -> None:
        """Facts go to this engine."""
        self._engine = engine

    def _tell(self, flow_id: UUID, fact: Fact) -> None:
        assert self._engine is not None
        self._engine.tell(flow_id, fact)

    async def stop(self) -> None:
        """Ends all connections and local functions."""
        self._stopped = True
        for running in self._running.values():
            running.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._local.stop()

    # tasks ------------------------------------------------------------------------------------------

    def task_stored(self, task: TaskRecord, term: int, *, fresh: bool) -> None:
        if self._stopped or task.state is TaskState.CLEARED:
            return  # stopped: what is committed from now on is for the next engine
        if task.host is None:
            if task.state is TaskState.INITIALIZING:
                self._local.take(task, fresh=fresh)
        else:
            self._watch(task.host).take(task, term, fresh=fresh)

    def task_left(self, task: TaskRecord) -> None:
        """A person has settled it: what its host may still do with it is nobody's concern here any more."""
        watch = self._watches.get(task.host) if task.host is not None else None
        if watch is not None:
            watch.leave(task.id)

    def incarnation_of(self, host: Ref[Any]) -> str | None:
        """The journal of a host that is connected now; safe to call from any thread."""
        watch = self._watches.get(host)
        return watch.incarnation if watch is not None else None

    def hosts(self) -> list[dict[str, Any]]:
        """Each host that tasks were sent to, with its connection."""
        return [watch.describe() for watch in self._watches.values()]

    def _watch(self, host: Ref[Any]) -> HostWatch:
        watch = self._watches.get(host)
        if watch is None:
            watch = HostWatch(host, self._connect, self._tell, self._clock, self._patience)
            self._watches[host] = watch
            self._running[host] = asyncio.get_running_loop().create_task(watch.run())
        return watch

    async def _connect(self, host: Ref[Any], pushed: Callable[[], None]) -> HostLink:
        return await self._connect_to(await asyncio.to_thread(self._endpoint, host), pushed)

    def _endpoint(self, host: Ref[Any]) -> Endpoint:
        with self._database.reader() as connection:
            record = entities.get(connection, (host,)).get(host)
        if record is None:
            raise Unreachable(f"{host} does not exist")
        entity = self._catalog.read_entity(record)
        if not isinstance(entity, HostEntity):
            raise Unreachable(f"{host} is no host: its class has no endpoint()")
        return entity.endpoint()

    # waiting for jobs -------------------------------------------------------------------------------

    def flow_stored(self, flow: Flow) -> None:
        self._waiting.flow_stored(flow)
