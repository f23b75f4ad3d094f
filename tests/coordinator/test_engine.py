"""The engine itself: fencing, errors of the COMMIT, secrets, entities of older versions."""

import asyncio
import sqlite3
from collections.abc import MutableMapping
from typing import Any

import pytest
from sqlalchemy import func, select

from interlock import (
    NOTHING,
    Command,
    Coordinator,
    Entity,
    Local,
    NotOwner,
    Plan,
    Ref,
    Result,
    Secret,
    Tx,
    local,
    part,
)
from interlock.catalog import Catalog
from interlock.core import tasks as core_tasks
from interlock.model.states import State
from interlock.store import tables
from tests.coordinator.support import (
    WAIT_S,
    AddDisk,
    Gate,
    Work,
    add_disk,
    commands,
    events,
    job,
    opened,
    tasks,
    until_job,
)
from tests.databases import Scratch


@pytest.mark.hard_case(11)
async def test_an_engine_whose_row_was_taken_over_writes_nothing_more(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        waiting = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        result = asyncio.create_task(waiting.result(WAIT_S))
        await asyncio.wait([result], timeout=0.05)
        scratch.rows("UPDATE engines SET ended_at = 1")
        before = scratch.rows("SELECT count(*) FROM job"), scratch.rows("SELECT * FROM entities")
        with pytest.raises(Exception, match="the engine stopped"):
            await coordinator.submit(AddDisk(disk_name="late"))
        with pytest.raises(NotOwner):
            await asyncio.wait_for(asyncio.shield(coordinator.failed), WAIT_S)
        with pytest.raises(NotOwner):
            await coordinator.submit(AddDisk(disk_name="later"))
        with pytest.raises(Exception, match="has stopped"):
            await result
        after = scratch.rows("SELECT count(*) FROM job"), scratch.rows("SELECT * FROM entities")
        assert before == after


@pytest.mark.hard_case(12)
async def test_after_an_error_of_the_commit_a_new_engine_starts_from_the_rows(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        submitted = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        result = asyncio.create_task(submitted.result(WAIT_S))
        failed = fail_next_commit(coordinator, monkeypatch)
        with pytest.raises(Exception, match="the engine stopped; submit again"):
            await coordinator.submit(AddDisk(disk_name="unlucky"))
        assert failed.is_set()
        await gate.wait_entered()  # the repeatable function runs again
        gate.open.set()
        assert await result == 1
        assert job(coordinator, submitted.id).term == 2
        with coordinator.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(tables.job)) == 2
        await add_disk(coordinator, "unlucky")


@pytest.mark.hard_case(12)
async def test_a_commit_that_succeeded_though_it_raised_is_found_in_the_rows(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        submitted = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await gate.wait_entered()
        result = asyncio.create_task(submitted.result(WAIT_S))
        await asyncio.wait([result], timeout=0.05)
        fail_next_commit(coordinator, monkeypatch, commits=True)
        gate.open.set()
        assert await result == 1  # its end was in that commit, and nobody had been told
        assert [task.answer_json for task in tasks(coordinator, submitted.id)] == ['"through"']
        assert job(coordinator, submitted.id).term == 1


def fail_next_commit(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch, *, commits: bool = False
) -> asyncio.Event:
    """The writer's next COMMIT raises, having happened or not."""
    dialect = coordinator._database.writer().dialect
    original, failed = dialect.do_commit, asyncio.Event()

    def do_commit(connection: Any) -> None:
        monkeypatch.setattr(dialect, "do_commit", original)
        if commits:
            original(connection)
        failed.set()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(dialect, "do_commit", do_commit)
    return failed


# secrets --------------------------------------------------------------------------------------------


class Login(Command[str], name="login"):
    """Has a password."""

    user: str
    password: Secret[str]

    def execute(self, db: Tx) -> Plan:
        return part(local("gate"))

    def end_successfully(self, db: Tx) -> str:
        return self.password.reveal()[:3]


@pytest.mark.hard_case(32)
async def test_secrets_are_shown_nowhere_and_sealed_at_rest(
    scratch: Scratch, logs: list[MutableMapping[str, Any]]
) -> None:
    gate = Gate()
    async with opened(scratch, Login, gate=gate) as coordinator:
        login = await coordinator.submit(Login(user="ann", password=Secret("hunter2hunter2")), idempotency_key="k")
        await gate.wait_entered()
        again = await coordinator.submit(Login(user="ann", password=Secret("hunter2hunter2")), idempotency_key="k")
        assert again.repeated
        assert job(coordinator, login.id).parameters_json == '{"user":"ann","password":"***"}'
        [root] = commands(coordinator, login.id)
        assert '"password":{"sealed":"' in root.parameters_json
        assert not any("hunter2" in row.message for row in events(coordinator, login.id))
        stored = scratch.all_bytes()
        assert b"ann" in stored
        assert b"hunter2" not in stored
    gate.open.set()
    async with opened(scratch, Login, gate=gate) as coordinator:
        ended = await coordinator.wait_ended(login.id, WAIT_S)
        assert ended.value_json == '"hun"'
    assert logs
    assert "hunter2" not in repr(logs)


class Change(Command[None], name="login.change"):
    """Hands its password on to a function."""

    password: Secret[str]

    def execute(self, db: Tx) -> Plan:
        return part(local("change", password=self.password))


@pytest.mark.hard_case(32)
async def test_a_secret_reaches_a_function_and_is_sealed_on_the_way(scratch: Scratch) -> None:
    told: list[Secret[str]] = []
    async with opened(scratch, Change, Local("change", lambda password: told.append(password))) as coordinator:
        changed = await coordinator.submit(Change(password=Secret("hunter2hunter2")))
        await changed.result(WAIT_S)
        [task] = tasks(coordinator, changed.id)
    assert told == [Secret("hunter2hunter2")]
    assert '"password":{"sealed":"' in task.arguments_json
    assert b"hunter2" not in scratch.all_bytes()


@pytest.mark.hard_case(32)
async def test_a_missing_key_file_is_for_a_person_to_bring_back(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Login, gate=gate) as coordinator:
        login = await coordinator.submit(Login(user="ann", password=Secret("hunter2")))
        await gate.wait_entered()
    key = scratch.key_file
    former = key.read_bytes()
    key.unlink()
    async with opened(scratch, Login, gate=gate) as coordinator:
        row = await until_job(coordinator, login.id, lambda row: row.attention is not None)
        assert "put the former key file back beside the database" in (row.attention or "")
        await add_disk(coordinator, "others go on")
    key.write_bytes(former)
    gate.open.set()
    async with opened(scratch, Login, gate=gate) as coordinator:
        assert (await coordinator.wait_ended(login.id, WAIT_S)).result is Result.SUCCEEDED


# entities of older versions -------------------------------------------------------------------------


class OldHost(Entity, type="host"):
    """Version 1: memory in gigabytes."""

    gigabytes: int


def in_bytes(old: dict[str, Any]) -> dict[str, Any]:
    return {"id": old["id"], "name": old["name"], "memory": old["gigabytes"] * 2**30}


class NewHost(Entity, type="host", version=2, upgrades={1: in_bytes}):
    """Version 2: memory in bytes."""

    memory: int


class AddHost(Command[None], name="host.add"):
    def execute(self, db: Tx) -> Plan:
        db.add(OldHost(id=db.new(OldHost).id, name="h", gigabytes=3))
        return NOTHING


class Memory(Command[int], name="host.memory"):
    host: Ref[NewHost]

    def end_successfully(self, db: Tx) -> int:
        return db.get(self.host).memory


async def test_entities_of_an_older_version_are_upgraded_when_they_are_read(scratch: Scratch) -> None:
    async with Coordinator.open(scratch.url, Catalog(OldHost, AddHost)) as coordinator:
        await (await coordinator.submit(AddHost())).result(WAIT_S)
    async with Coordinator.open(scratch.url, Catalog(NewHost, Memory)) as coordinator:
        asked = await coordinator.submit_input("host.memory", {"host": "h"})
        assert await asked.result(WAIT_S) == 3 * 2**30


async def test_a_bug_in_one_flow_parks_it_and_no_other(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    original = core_tasks.reported

    def reported(flow: Any, fact: Any, now: int) -> Any:
        if flow.root.name == "disk.work" and hasattr(fact, "outcome"):
            raise RuntimeError("a bug of ours")
        return original(flow, fact, now)

    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        work = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await gate.wait_entered()
        monkeypatch.setattr(core_tasks, "reported", reported)
        gate.open.set()
        row = await until_job(coordinator, work.id, lambda row: row.attention is not None)
        assert "RuntimeError: a bug of ours; see the log, and report it" in (row.attention or "")
        await add_disk(coordinator, "other")
        monkeypatch.setattr(core_tasks, "reported", original)
    async with opened(scratch, gate=gate) as coordinator:
        ended = await coordinator.wait_ended(work.id, WAIT_S)
        assert (ended.state, ended.result, ended.attention) == (State.ENDED, Result.SUCCEEDED, None)
