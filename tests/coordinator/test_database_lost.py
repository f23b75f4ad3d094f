"""A PostgreSQL server that goes away and comes back: nothing is lost, nothing is done twice, nobody is blamed."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from interlock import NotOwner, Refused
from interlock.model.errors import DatabaseLost, InterlockError
from interlock.store.database import Database
from interlock.store.dialects import postgresql
from interlock.store.queries import engines
from tests import databases
from tests.coordinator.support import (
    WAIT_S,
    AddDisk,
    Gate,
    Work,
    add_disk,
    disk,
    job,
    opened,
    tasks,
)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[databases.Scratch]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with databases.scratch("postgresql", tmp_path) as made:
        yield made


def end_sessions(scratch: databases.Scratch, *, readers: bool = False) -> None:
    """The server ends the sessions of the engine that write, or those that read."""
    databases.postgres().server.sql(
        "postgres",
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE application_name LIKE 'interlock %' AND "
        f"datname = '{scratch.url.split('///')[1].split('?')[0]}' AND {'NOT' if readers else ''} EXISTS "
        "(SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')",
    )


async def test_after_its_session_was_ended_an_engine_starts_again_from_the_rows(scratch: databases.Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        work = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await gate.wait_entered()
        result = asyncio.create_task(work.result(WAIT_S))
        end_sessions(scratch)
        with pytest.raises(InterlockError, match="the engine stopped; submit again"):
            await coordinator.submit(AddDisk(disk_name="unlucky"))
        await gate.wait_entered()
        gate.open.set()
        assert await result == 1
        assert job(coordinator, work.id).term == 2
        await add_disk(coordinator, "unlucky")


async def test_an_idle_engine_notices_that_it_lost_its_session(
    scratch: databases.Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql.PostgresqlPlace, "owner_check_s", 0.1)
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        work = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await gate.wait_entered()
        end_sessions(scratch)
        await gate.wait_entered()  # nobody submitted anything
        gate.open.set()
        await work.result(WAIT_S)


@pytest.mark.hard_case(11)
async def test_a_session_from_which_nothing_is_heard_is_ended_and_its_lock_is_free(
    scratch: databases.Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a process that is stopped, or a machine that is gone: another may start after the lease."""
    monkeypatch.setitem(postgresql._WRITER, "idle_session_timeout", "300ms")
    first = await asyncio.to_thread(Database.open, scratch.url)
    second = await asyncio.to_thread(Database.open, scratch.url)
    with pytest.raises(Exception, match="idle-session timeout") as lost:
        first.writer().exec_driver_sql("SELECT 1")
    assert first.is_lost(lost.value)
    first.close()
    second.close()


@pytest.mark.hard_case(11)
async def test_who_lost_its_session_to_another_engine_stops(scratch: databases.Scratch) -> None:
    async with opened(scratch) as coordinator:
        await add_disk(coordinator)
        end_sessions(scratch)
        with await asyncio.to_thread(Database.open, scratch.url):
            with pytest.raises(InterlockError):
                await coordinator.submit(AddDisk(disk_name="late"))
            with pytest.raises(NotOwner):
                await asyncio.wait_for(asyncio.shield(coordinator.failed), WAIT_S)


async def test_a_phase_whose_reading_was_cut_off_is_not_judged_by_it(scratch: databases.Scratch) -> None:
    async with opened(scratch) as coordinator:
        ref = await add_disk(coordinator)
        end_sessions(scratch, readers=True)
        for _ in range(3):
            try:
                work = await coordinator.submit(Work(disk=ref))
                break
            except Refused:
                raise
            except InterlockError:
                await asyncio.sleep(0)
        assert await work.result(WAIT_S) == 1


async def test_a_server_that_crashes_and_comes_back_is_waited_for(scratch: databases.Scratch) -> None:
    server, gate = databases.postgres().server, Gate()
    async with opened(scratch, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        work = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        result = asyncio.create_task(work.result(WAIT_S))
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        with pytest.raises(InterlockError, match="the engine stopped; submit again"):
            await coordinator.submit(AddDisk(disk_name="unlucky"))
        with pytest.raises(DatabaseLost):
            disk(coordinator, ref)
        server.start()  # in this thread, with which it would die
        await gate.wait_entered()
        gate.open.set()
        assert await result == 1
        assert [task.answer_json for task in tasks(coordinator, work.id)] == ['"through"']


async def test_a_server_that_goes_while_an_engine_enters_itself_was_told_as_an_error_of_the_driver(
    scratch: databases.Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_seen = engines.last_seen

    def after_the_end(connection: Connection) -> int | None:
        end_sessions(scratch)
        return last_seen(connection)

    async with opened(scratch):
        pass
    monkeypatch.setattr(engines, "last_seen", after_the_end)
    with pytest.raises(DatabaseLost, match="cannot be used: "):
        async with opened(scratch):
            raise AssertionError("it has begun")


@pytest.mark.hard_case(12)
async def test_a_connection_lost_in_the_commit_itself(
    scratch: databases.Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happened, its answer never came: what is true is read from the rows, on a session of its own."""
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        work = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await gate.wait_entered()
        result = asyncio.create_task(work.result(WAIT_S))
        dialect: Any = coordinator._database.writer().dialect
        original = dialect.do_commit

        def do_commit(connection: Any) -> None:
            monkeypatch.setattr(dialect, "do_commit", original)
            original(connection)
            end_sessions(scratch)
            connection.execute("SELECT 1")

        monkeypatch.setattr(dialect, "do_commit", do_commit)
        gate.open.set()
        assert await result == 1
        assert gate.entries == 1
        assert job(coordinator, work.id).term == 1
