"""A database left by version 1 in the middle of its work: later code opens it and brings all to a true end."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from interlock import invariants
from interlock.coordinator.coordinator import Coordinator
from interlock.coordinator.settings import Settings
from interlock.coordinator.watched import Patience
from interlock.model.records import CommandRecord, TaskRecord
from interlock.model.states import Result
from interlock.store.database import Database
from interlock.store.schema import NEWEST, version_of
from tests.store.test_database import schema_of
from tests.store.version_1 import CATALOG, FIXTURE, ScriptedHost, reached

WAIT_S = 20.0
SETTINGS = Settings(patience=Patience(poll_s_min=0.05, poll_s_max=0.1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database as version 1 left it."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIXTURE.read_text(encoding="utf-8"))
    assert rows(path, "SELECT version_num FROM alembic_version") == [("0001",)]
    return path


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def violations(path: Path) -> list[invariants.Violation]:
    with Database.open_reading(f"sqlite:///{path}") as database, database.reader() as reader:
        return invariants.check(reader)


def under_way(path: Path) -> dict[str, str]:
    """What the host is doing: verb → its task."""
    found = rows(path, "SELECT method, host_task_id FROM async_tasks WHERE state = 'Polling'")
    assert sorted(method for method, _ in found) == ["Image.delete", "Volume.create"]
    return dict(found)


def disks(path: Path) -> dict[str, str]:
    return dict(rows(path, "SELECT name, status FROM entities WHERE type = 'disk'"))


def test_it_is_what_it_should_be(path: Path) -> None:
    assert rows(path, "SELECT action, status FROM job ORDER BY id") == [
        ("host.add", "FINISHED"),
        ("storage.add", "FINISHED"),
        ("vm.add", "FINISHED"),
        ("disk.add", "FAILED"),
        ("vm.remove", "STARTED"),
        ("test.add_two_disks", "STARTED"),
    ]
    assert disks(path) == {"lost": "ILLEGAL", "web1_disk2": "LOCKED", "first": "OK", "second": "LOCKED"}
    assert len(rows(path, "SELECT * FROM entity_locks WHERE leftover_id IS NULL")) > 4
    assert len(rows(path, "SELECT * FROM business_entity_snapshot")) > 4
    assert len(rows(path, "SELECT * FROM leftovers WHERE cleared_at IS NULL")) == 1


def test_it_is_migrated_and_its_invariants_hold(path: Path) -> None:
    with Database.open(f"sqlite:///{path}") as database, database.reader() as reader:
        assert version_of(reader) == NEWEST
        assert invariants.check(reader) == []
        migrated = schema_of(reader)
    with Database.open("sqlite://") as new, new.reader() as reader:
        assert migrated == schema_of(reader), "as if it had been made today"


async def taken_over(path: Path, host: ScriptedHost) -> dict[str, CommandRecord]:
    """Takes it over and waits until all has ended; command → how."""
    unfinished = rows(path, "SELECT action, id FROM job WHERE ended_at IS NULL")
    with reached(host):
        async with Coordinator.open(f"sqlite:///{path}", CATALOG, settings=SETTINGS) as coordinator:
            return {name: await coordinator.wait_ended(UUID(bytes=id), WAIT_S) for name, id in unfinished}


def always_success(_task: TaskRecord) -> str:
    return "success"


async def test_what_the_host_brings_to_an_end_is_a_success(path: Path) -> None:
    tasks = under_way(path)
    host = ScriptedHost(always_success)
    host.tasks = dict.fromkeys(tasks.values(), "success")
    ended = await taken_over(path, host)
    assert {name: each.result for name, each in ended.items()} == {
        "vm.remove": Result.SUCCEEDED,
        "test.add_two_disks": Result.SUCCEEDED,
    }
    assert host.started == [], "nothing is done twice"
    assert disks(path) == {"lost": "ILLEGAL", "first": "OK", "second": "OK"}
    assert rows(path, "SELECT * FROM entities WHERE type = 'vm'") == []
    nothing_open(path)


async def test_what_the_host_failed_to_do_is_undone_and_said(path: Path) -> None:
    tasks = under_way(path)
    [(first,)] = rows(path, "SELECT body_json FROM entities WHERE name = 'first'")
    host = ScriptedHost(always_success)
    host.tasks = dict.fromkeys(tasks.values(), "failed")
    ended = await taken_over(path, host)
    assert {name: each.result for name, each in ended.items()} == {
        "vm.remove": Result.FAILED,
        "test.add_two_disks": Result.FAILED,
    }
    assert all("the disk is full" in str(each.failure_json) for each in ended.values())
    [(method, id)] = host.started
    assert method == "Image.delete", "the completed part is undone, once"
    [(arguments,)] = rows(path, f"SELECT arguments_json FROM async_tasks WHERE id = X'{UUID(id).hex}'")
    assert json.loads(arguments)["imageID"] == json.loads(first)["image_id"]
    assert disks(path) == {"lost": "ILLEGAL", "web1_disk2": "ILLEGAL"}
    assert rows(path, "SELECT name, status FROM entities WHERE type = 'vm'") == [("web1", "ILLEGAL")]
    nothing_open(path)


async def test_what_the_host_has_lost_is_no_success(path: Path) -> None:
    under_way(path)
    ended = await taken_over(path, ScriptedHost(always_success))
    assert {name: each.result for name, each in ended.items()} == {
        "vm.remove": Result.FAILED,
        "test.add_two_disks": Result.FAILED,
    }
    assert all("was lost" in str(each.failure_json) for each in ended.values())
    assert len(rows(path, "SELECT * FROM leftovers WHERE cleared_at IS NULL")) == 3
    assert disks(path)["web1_disk2"] == disks(path)["second"] == "ILLEGAL"
    assert violations(path) == []


def nothing_open(path: Path) -> None:
    """Nothing but the leftover of old, which still refuses its disk to others."""
    assert violations(path) == []
    assert rows(path, "SELECT count(*) FROM command_entities WHERE state <> 'ENDED'") == [(0,)]
    assert rows(path, "SELECT count(*) FROM job WHERE ended_at IS NULL") == [(0,)]
    left = rows(path, "SELECT ref_type, ref_id FROM entity_locks")
    assert left == rows(path, "SELECT type, id FROM entities WHERE name = 'lost'")
    assert len(rows(path, "SELECT * FROM leftovers WHERE cleared_at IS NULL")) == 1
