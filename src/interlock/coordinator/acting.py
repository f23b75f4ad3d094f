"""Acts on what is stored: tasks go to the host or the function that does them, watchers of jobs are woken."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from interlock.catalog import Catalog
from interlock.clock import Clock
from interlock.coordinator.closing import to_the_end
from interlock.coordinator.configured import ConfiguredLimits
from interlock.coordinator.engine import Engine
from interlock.coordinator.host_room import HostRoom
from interlock.coordinator.host_watch import HostWatch
from interlock.coordinator.local_tasks import LocalTasks
from interlock.coordinator.waiting import Waiting
from interlock.coordinator.watched import Patience
from interlock.core.facts import Fact
from interlock.core.flow import Flow
from interlock.hosts.backend import Connect, HostLink, Report, Unreachable
from interlock.model.entities import Endpoint, HostEntity
from interlock.model.limits import of_host
from interlock.model.locks import AGEING_US
from interlock.model.records import TaskRecord
from interlock.model.refs import Ref
from interlock.model.states import TaskState
from interlock.secrets import Keyring
from interlock.store.database import Database
from interlock.store.queries import entities, tasks


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
        limits: ConfiguredLimits,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._patience = patience
        self._connect_to = connect
        self._engine: Engine | None = None
        self._watches: dict[Ref[Any], HostWatch] = {}
        #: of hosts that were not connected yet
        self._rooms: dict[Ref[Any], HostRoom] = {}
        self._running: dict[Ref[Any], asyncio.Task[None]] = {}
        self._local = LocalTasks(catalog, keyring, self._tell, patience.stop_s)
        self._waiting = waiting
        self._limits = limits
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

    def task_stored(self, task: TaskRecord, term: int, *, fresh: bool, priority: int) -> None:
        if self._stopped or task.state is TaskState.CLEARED:
            return  # stopped: what is committed from now on is for the next engine
        if task.host is None:
            if task.state is TaskState.INITIALIZING:
                self._local.take(task, fresh=fresh)
        else:
            self._watch(task.host).take(task, term, fresh=fresh, rank=_rank(task, priority))

    def priority_stored(self, flow: Flow) -> None:
        for task in flow.tasks.values():
            watch = self._watches.get(task.host) if task.host is not None else None
            if watch is not None:
                watch.move(task.id, _rank(task, flow.job.priority))

    def task_left(self, task: TaskRecord) -> None:
        """A person has settled it: what its host may still do with it is nobody's concern here any more."""
        watch = self._watches.get(task.host) if task.host is not None else None
        if task.host is None:
            self._local.leave(task.id)
        elif watch is not None:
            watch.leave(task.id)

    def incarnation_of(self, host: Ref[Any]) -> str | None:
        """The journal of a host that is connected now; safe to call from any thread. None where the host has a limit:
        what may have to wait is bound when it is sent."""
        if of_host(host) in self._limits.now:
            return None
        watch = self._watches.get(host)
        return watch.incarnation if watch is not None else None

    def hosts(self) -> list[dict[str, Any]]:
        """Each host that tasks were sent to, with its connection."""
        return [watch.describe() for watch in self._watches.values()]

    async def tasks_on(self, host: Ref[Any]) -> dict[str, Report]:
        """All tasks that a host has, by its own ids, asked for over a connection of its own. Raises Unreachable and
        whatever a `HostLink` raises."""
        endpoint = await to_the_end(asyncio.to_thread(self._endpoint, host))
        link = await self._connect_to(endpoint, lambda: None)
        try:
            return await link.reports()
        finally:
            await link.close()

    def _watch(self, host: Ref[Any]) -> HostWatch:
        watch = self._watches.get(host)
        if watch is None:
            room = HostRoom(host, self._limits, self._clock, self._tell)
            watch = HostWatch(host, self._connect, self._tell, self._clock, self._patience, room)
            self._rooms[host] = room
            self._watches[host] = watch
            self._running[host] = asyncio.get_running_loop().create_task(watch.run())
        return watch

    async def _connect(self, host: Ref[Any], pushed: Callable[[], None]) -> HostLink:
        endpoint = await to_the_end(asyncio.to_thread(self._endpoint, host))
        room = self._rooms.get(host)
        if room is not None:
            room.started_before(await to_the_end(asyncio.to_thread(self._starts, host)))
            self._rooms.pop(host, None)  # known now, and counted on from here
        return await self._connect_to(endpoint, pushed)

    def _starts(self, host: Ref[Any]) -> list[int]:
        """What was started on a host within its limit's window, before this engine."""
        limit = self._limits.now.get(of_host(host))
        if limit is None or limit.window_us is None:
            return []
        with self._database.reader() as connection:
            return tasks.starts_on(connection, host, self._clock.now_us() - limit.window_us)

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


def _rank(task: TaskRecord, priority: int) -> int:
    """Its place in its host's line: a minute of waiting makes up for one level of priority."""
    return task.created_at - priority * AGEING_US
