"""The real coordinator over a file, with a small catalog, and short ways to look at its rows."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from interlock import (
    Catalog,
    Command,
    CommandFailed,
    Coordinator,
    Endpoint,
    Entity,
    Failure,
    Job,
    Locks,
    Plan,
    Reader,
    Ref,
    Tx,
    exclusive,
    on_host,
    parallel,
    part,
)
from interlock.coordinator.settings import Settings
from interlock.coordinator.watched import Patience
from interlock.core.facts import CommandOverdue
from interlock.invariants.checking import check
from interlock.vdsm import BLANK_ID, ImageDelete, SdmMerge, StorageDomainCreate, Subchain, VolumeGetInfo
from tests.databases import new_file

T = TypeVar("T")

#: how long a fact is waited for
WAIT_S = 20.0
#: looks follow each other quickly; nothing is given up within a test
QUICK = Patience(unsent_s=60.0, silent_s=60.0, poll_s_min=0.01, poll_s_max=0.05)
#: gives up soon
SHORT = Patience(unsent_s=0.3, silent_s=0.6, poll_s_min=0.01, poll_s_max=0.05)


class Node(Entity, type="host"):
    """A host."""

    port: int
    server_name: str | None = None

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port, self.server_name)


class Thing(Entity, type="thing"):
    """What commands are about; end phases write the truth into it."""

    truth: str = "untouched"


class Add(Command[None], name="add"):
    """Makes a host and a thing."""

    node: UUID
    thing: UUID
    port: int
    server_name: str | None = None

    def execute(self, db: Tx) -> Plan:
        db.add(Node(id=self.node, port=self.port, server_name=self.server_name))
        db.add(Thing(id=self.thing))
        return parallel()


class OnThing(Command[None], name="on_thing"):
    """Base: holds a thing alone while a host works."""

    node: Ref[Node]
    thing: Ref[Thing]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.thing)

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.thing), truth="done"))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        db.put(replace(db.get(self.thing), truth="failed"))
        return parallel()


class Delete(OnThing, name="delete"):
    """As many async host tasks as there are images."""

    images: tuple[str, ...]

    def execute(self, db: Tx) -> Plan:
        verbs = [ImageDelete(storagepoolID=BLANK_ID, storagedomainID=DOMAIN, imageID=image) for image in self.images]
        return parallel(
            *(part(on_host(self.node, verb, touches=(self.thing,)), step="DELETE", key=verb.imageID) for verb in verbs)
        )


class Make(OnThing, name="make"):
    """One synchronous verb that changes the host."""

    domain: str

    def execute(self, db: Tx) -> Plan:
        verb = StorageDomainCreate(storagedomainID=self.domain, domainName="dömain", typeArgs="/storage")
        return part(on_host(self.node, verb, touches=(self.thing,)))


class Read(OnThing, name="read"):
    """One synchronous verb that changes nothing."""

    def execute(self, db: Tx) -> Plan:
        names = {"storagepoolID": BLANK_ID, "storagedomainID": DOMAIN, "imageID": DOMAIN, "volumeID": DOMAIN}
        return part(on_host(self.node, VolumeGetInfo.model_validate(names)))


class Merge(OnThing, name="merge"):
    """One host job, under an id that the command chooses."""

    job_id: str

    def execute(self, db: Tx) -> Plan:
        chain = Subchain(sd_id=DOMAIN, img_id=DOMAIN, top_id=DOMAIN, base_id=str(self.thing.id))
        verb = SdmMerge(job_id=self.job_id, subchain_info=chain)
        return part(on_host(self.node, verb, touches=(self.thing,)))


DOMAIN = str(uuid4())
CATALOG = Catalog(Node, Thing, Add, Delete, Make, Merge, Read)


def images(count: int) -> tuple[str, ...]:
    """New ids of images."""
    return tuple(str(uuid4()) for _ in range(count))


async def eventually(what: str, fact: Callable[[], T | None], *, within_s: float = WAIT_S) -> T:
    """The first result of `fact` that is not None or False."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while not (found := fact()):
        assert loop.time() < until, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.005)
    return found


class Driven:
    """A coordinator over one file, which may be opened again and again."""

    def __init__(self, folder: Path, tls_dir: Path | None = None, *, plain_hosts: bool = True) -> None:
        self.plain_hosts = plain_hosts
        self.path = folder / "state.db"
        if not self.path.exists():  # the second in one folder goes on where the first has ended
            new_file(self.path)
        self.tls_dir = tls_dir
        self.coordinator: Coordinator
        self.node: Ref[Node]

    @asynccontextmanager
    async def opened(self, patience: Patience = QUICK) -> AsyncIterator[Driven]:
        settings = Settings(patience=patience, plain_hosts=self.plain_hosts, tls_dir=self.tls_dir)
        async with Coordinator.open(f"sqlite:///{self.path}", CATALOG, settings=settings) as self.coordinator:
            yield self

    async def thing(self, port: int, server_name: str | None = None) -> Ref[Thing]:
        """A new thing on a new host that listens at that port."""
        node, thing = uuid4(), uuid4()
        job = await self.coordinator.submit(Add(node=node, thing=thing, port=port, server_name=server_name))
        await job.result(WAIT_S)
        self.node = Ref("host", node)
        return Ref("thing", thing)

    async def delete(self, thing: Ref[Thing], names: tuple[str, ...], **more: Any) -> Job[None]:
        return await self.coordinator.submit(Delete(node=self.node, thing=thing, images=names), **more)

    def time_is_over(self, job: Job[Any]) -> None:
        """The job's deadline passes now."""
        self.coordinator._engine.tell(job.id, CommandOverdue(job.id))

    async def make(self, thing: Ref[Thing]) -> Job[None]:
        return await self.coordinator.submit(Make(node=self.node, thing=thing, domain=str(uuid4())))

    async def merge(self, thing: Ref[Thing], job_id: str) -> Job[None]:
        return await self.coordinator.submit(Merge(node=self.node, thing=thing, job_id=job_id))

    # rows -------------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Committed rows, read from the file by another connection."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()

    def tasks(self, job_id: UUID, columns: str = "state, outcome") -> list[tuple[Any, ...]]:
        """The columns of a job's tasks, in the plan's order."""
        sql = f"SELECT {columns} FROM async_tasks WHERE flow_id = ? ORDER BY position"
        return self.rows(sql, job_id.bytes)

    def task_ids(self, job_id: UUID) -> list[str]:
        return [str(UUID(bytes=id)) for (id,) in self.tasks(job_id, "id")]

    def leftovers(self, job_id: UUID) -> list[tuple[Any, ...]]:
        """Task, host, refs, reason, remedy of each."""
        sql = "SELECT task_id, host, refs, reason, remedy FROM leftovers WHERE flow_id = ? ORDER BY task_id"
        return self.rows(sql, job_id.bytes)

    def truth(self, thing: Ref[Any]) -> str:
        """What the last end phase wrote."""
        [(truth,)] = self.rows("SELECT json_extract(body_json, '$.truth') FROM entities WHERE id = ?", thing.id.bytes)
        return str(truth)

    async def states(self, job_id: UUID, *states: tuple[Any, ...]) -> None:
        """Waits until the tasks' states and outcomes are these."""
        await eventually(f"tasks are {states}, not {self.tasks(job_id)}", lambda: self.tasks(job_id) == list(states))

    async def all_polling(self, job_id: UUID) -> None:
        """Waits until the host has answered every start."""
        await eventually("all are watched", lambda: {row[0] for row in self.tasks(job_id)} == {"Polling"})

    async def all_cleared(self) -> None:
        """Waits until no task is open; nothing in the database breaks an invariant."""
        sql = "SELECT count(*) FROM async_tasks WHERE state <> 'Cleared'"
        await eventually("all tasks are cleared", lambda: self.rows(sql) == [(0,)])
        with self.coordinator.reading() as connection:
            assert check(connection) == []


async def failure_of(job: Job[None]) -> Failure:
    """Why the job failed; it must fail."""
    try:
        await job.result(WAIT_S)
    except CommandFailed as failed:
        return failed.failure
    raise AssertionError(f"job {job.id} succeeded")
