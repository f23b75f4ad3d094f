"""What the coordinator's tests share: entities, a catalog per test, and gates instead of sleeps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from interlock import (
    NO_LOCKS,
    NOTHING,
    Catalog,
    Command,
    CommandFailed,
    Coordinator,
    Entity,
    Failure,
    Job,
    Local,
    Locks,
    Plan,
    Reader,
    Ref,
    Tx,
    exclusive,
    local,
    part,
)
from interlock.model.records import (
    CommandRecord,
    EventRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    StepRecord,
    TaskRecord,
)
from interlock.store import tables
from interlock.store.queries import entities
from interlock.store.queries.rows import with_refs
from tests.databases import Scratch

#: how long a test waits for a fact, in seconds; far longer than it takes
WAIT_S = 20.0


class Status(StrEnum):
    """Of a disk."""

    OK = "OK"
    LOCKED = "LOCKED"
    ILLEGAL = "ILLEGAL"


class Disk(Entity, type="disk"):
    size: int = 1
    status: Status = Status.OK
    note: str = ""


class AddDisk(Command[Ref[Disk]], name="disk.add"):
    """Adds a disk and returns its ref."""

    disk_name: str
    size: int = 1

    def execute(self, db: Tx) -> Plan:
        db.add(Disk(id=db.new(Disk).id, name=self.disk_name, size=self.size))
        return NOTHING

    def end_successfully(self, db: Tx) -> Ref[Disk]:
        disk = db.named(Disk, self.disk_name)
        assert disk is not None
        return disk.ref


class Work(Command[int], name="disk.work"):
    """Calls a local function while holding a disk; returns the disk's size."""

    disk: Ref[Disk]
    function: str = "noop"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.disk), status=Status.LOCKED))
        return part(local(self.function), step="WORK")

    def end_successfully(self, db: Tx) -> int:
        disk = db.get(self.disk)
        db.put(replace(disk, status=Status.OK))
        return disk.size


class Call(Command[None], name="call"):
    """Calls a local function, locking nothing."""

    function: str = "noop"
    refs: tuple[Ref[Disk], ...] = ()

    def locks(self, db: Reader) -> Locks:
        return exclusive(*self.refs) if self.refs else NO_LOCKS

    def execute(self, db: Tx) -> Plan:
        return part(local(self.function), step="CALL")


class Gate:
    """A local function that waits to be let through; each entry is noted."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.entries = 0
        self.open = asyncio.Event()

    async def __call__(self) -> str:
        self.entries += 1
        self.entered.release()
        await asyncio.wait_for(self.open.wait(), WAIT_S)
        return "through"

    async def wait_entered(self) -> None:
        await asyncio.wait_for(self.entered.acquire(), WAIT_S)


def noop() -> None:
    """A local function that does nothing."""


def broken() -> None:
    """A local function that fails."""
    raise ValueError("the disk is broken")


def catalog(*members: Any, gate: Gate | None = None, repeatable: bool = True) -> Catalog:
    """The commands above, noop and broken, the gate as `gate`, and what the test adds."""
    gates = [] if gate is None else [Local("gate", gate_function(gate), repeatable=repeatable)]
    return Catalog(
        Disk, AddDisk, Work, Call, Local("noop", noop, repeatable=True), Local("broken", broken, repeatable=True),
        *gates, *members,
    )  # fmt: skip


def gate_function(gate: Gate) -> Callable[[], Any]:
    async def enter() -> str:
        return await gate()

    return enter


@asynccontextmanager
async def opened(
    scratch: Scratch, *members: Any, gate: Gate | None = None, repeatable: bool = True, **options: Any
) -> AsyncIterator[Coordinator]:
    """A coordinator on that database, with the catalog above."""
    async with Coordinator.open(
        scratch.url, catalog(*members, gate=gate, repeatable=repeatable), **options
    ) as coordinator:
        yield coordinator


async def add_disk(coordinator: Coordinator, name: str = "d", size: int = 1) -> Ref[Disk]:
    return await (await coordinator.submit(AddDisk(disk_name=name, size=size))).result(WAIT_S)


async def failure_of(job: Job[Any]) -> Failure:
    """Waits for the end, which must be a failure."""
    try:
        value = await job.result(WAIT_S)
    except CommandFailed as failed:
        return failed.failure
    raise AssertionError(f"job {job.id} succeeded with {value}")


async def until_job(coordinator: Coordinator, id: UUID, holds: Callable[[JobRecord], bool]) -> JobRecord:
    """Waits until something holds of the job's row."""
    async with asyncio.timeout(WAIT_S):
        while True:
            row = job(coordinator, id)
            if holds(row):
                return row
            await coordinator.changed(id, row.events, WAIT_S)


def read(coordinator: Coordinator, record: type, table: Any, *where: Any) -> list[Any]:
    with coordinator.reading() as connection:
        return with_refs(connection, record, select(table).where(*where))


def job(coordinator: Coordinator, id: UUID) -> JobRecord:
    [row] = read(coordinator, JobRecord, tables.job, tables.job.c.id == id)
    assert isinstance(row, JobRecord)
    return row


def commands(coordinator: Coordinator, id: UUID) -> list[CommandRecord]:
    """A flow's commands in the order of their levels and positions."""
    rows = read(coordinator, CommandRecord, tables.command_entities, tables.command_entities.c.flow_id == id)
    return sorted(rows, key=lambda row: (row.depth, row.position))


def tasks(coordinator: Coordinator, id: UUID) -> list[TaskRecord]:
    rows = read(coordinator, TaskRecord, tables.async_tasks, tables.async_tasks.c.flow_id == id)
    return sorted(rows, key=lambda row: row.position)


def steps(coordinator: Coordinator, id: UUID) -> list[StepRecord]:
    return read(coordinator, StepRecord, tables.step, tables.step.c.job_id == id)


def events(coordinator: Coordinator, id: UUID) -> list[EventRecord]:
    rows = read(coordinator, EventRecord, tables.audit_log, tables.audit_log.c.flow_id == id)
    return sorted(rows, key=lambda row: row.seq)


def locks(coordinator: Coordinator) -> list[LockRecord]:
    return read(coordinator, LockRecord, tables.entity_locks)


def leftovers(coordinator: Coordinator, id: UUID) -> list[LeftoverRecord]:
    return read(coordinator, LeftoverRecord, tables.leftovers, tables.leftovers.c.flow_id == id)


def disk(coordinator: Coordinator, ref: Ref[Disk]) -> Disk:
    """The committed entity."""
    with coordinator.reading() as connection:
        record = entities.get(connection, (ref,))[ref]
    found = coordinator.catalog.read_entity(record)
    assert isinstance(found, Disk)
    return found
