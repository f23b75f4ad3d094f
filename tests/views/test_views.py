"""Views show the rows as they are, whole, in words that people use."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from interlock.model.changes import Change
from interlock.model.records import JobRecord
from interlock.model.refs import Ref
from interlock.model.states import StepStatus
from interlock.store.database import Database
from interlock.views import entities, events, job, jobs, leftovers, loading, locks, words
from tests.databases import DIALECTS, empty_url
from tests.views import picture


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with empty_url(request.param) as url, picture.paint(url) as opened:
        yield opened


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.reader() as reader:
        yield reader


FAILED_SUMMARY = {
    "id": str(picture.FAILED_JOB),
    "action": "disk.remove",
    "title": "Remove disk d1",
    "status": "FAILED",
    "result": "FAILED",
    "progress": 40,
    "correlation_id": "ticket-1",
    "user": "ann",
    "refs": [str(picture.DISK)],
    "started_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-01T00:00:03.000000Z",
    "ended_at": "2026-01-01T00:00:03.000000Z",
    "attention": None,
    "priority": 0,
    "paused_by": None,
    "visible": True,
    "restart_of": None,
    "has_leftovers": True,
    "has_warnings": False,
}
RUNNING_SUMMARY = {
    "id": str(picture.RUNNING_JOB),
    "action": "vm.remove",
    "title": "Remove VM web1",
    "status": "STARTED",
    "result": None,
    "progress": 42,
    "correlation_id": "ticket-2",
    "user": "ann",
    "refs": [str(picture.VM)],
    "started_at": "2026-01-01T00:00:10.000000Z",
    "updated_at": "2026-01-01T00:00:12.000000Z",
    "ended_at": None,
    "attention": None,
    "priority": 0,
    "paused_by": None,
    "visible": True,
    "restart_of": None,
    "has_leftovers": False,
    "has_warnings": False,
}
LEFTOVER = {
    "id": str(picture.LEFTOVER),
    "job_id": str(picture.FAILED_JOB),
    "command_id": str(picture.FAILED_JOB),
    "task_id": None,
    "host": "h1",
    "refs": [str(picture.DISK)],
    "reason": "half an image may remain",
    "remedy": "look at h1, then clear it",
    "created_at": "2026-01-01T00:00:03.000000Z",
    "cleared_at": None,
    "cleared_by": None,
    "cleared_reason": None,
}
VM_LOCK = {
    "ref": str(picture.VM),
    "name": "web1",
    "mode": "exclusive",
    "scope": "command",
    "job_id": str(picture.RUNNING_JOB),
    "job_title": "Remove VM web1",
    "command_id": str(picture.RUNNING_JOB),
    "taken_at": "2026-01-01T00:00:10.000000Z",
    "leftover_id": None,
    "leftover_reason": None,
}
DISK_LOCK = {
    "ref": str(picture.DISK),
    "name": "d1",
    "mode": "exclusive",
    "scope": "command",
    "job_id": str(picture.FAILED_JOB),
    "job_title": "Remove disk d1",
    "command_id": str(picture.FAILED_JOB),
    "taken_at": "2026-01-01T00:00:00.000000Z",
    "leftover_id": str(picture.LEFTOVER),
    "leftover_reason": "half an image may remain",
}


def step(id: UUID, name: str, title: str, status: str, progress: int, times: tuple[Any, Any], **more: Any) -> Any:
    """A step as it is shown."""
    return {
        "id": str(id),
        "name": name,
        "title": title,
        "status": status,
        "progress": progress,
        "weight": 1,
        "started_at": times[0],
        "ended_at": times[1],
        "external_system": None,
        "external_id": None,
        "refs": [],
        "steps": [],
    } | more


def test_times_are_iso_8601_in_utc() -> None:
    assert words.moment(picture.START + 1) == "2026-01-01T00:00:00.000001Z"
    assert words.moment(None) is None


def test_jobs_are_listed_newest_first(connection: Connection) -> None:
    assert jobs.page(connection) == {"jobs": [RUNNING_SUMMARY, FAILED_SUMMARY], "next": None}


def test_jobs_are_read_page_by_page(connection: Connection) -> None:
    first = jobs.page(connection, limit=1)
    assert first == {"jobs": [RUNNING_SUMMARY], "next": str(picture.RUNNING_JOB)}
    second = jobs.page(connection, limit=1, before=UUID(first["next"]))
    assert second == {"jobs": [FAILED_SUMMARY], "next": None}


def test_a_job_that_needs_a_person_stands_first_and_only_once(database: Database) -> None:
    picture.change(database, Change(picture.running_job, replace(picture.running_job, attention="look")))
    with database.reader() as connection:
        first = jobs.page(connection, limit=1)
        assert [each["id"] for each in first["jobs"]] == [str(picture.RUNNING_JOB), str(picture.FAILED_JOB)]
        assert first["jobs"][0]["attention"] == "look"
        assert first["next"] is None


def test_jobs_are_filtered_by_status(connection: Connection) -> None:
    assert jobs.page(connection, status=StepStatus.FAILED)["jobs"] == [FAILED_SUMMARY]
    assert jobs.page(connection, status=StepStatus.ABORTED)["jobs"] == []


@pytest.mark.parametrize("limit", [0, 201])
def test_a_page_has_a_bound(connection: Connection, limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit {limit}; it must be 1 to 200"):
        jobs.page(connection, limit=limit)
    with pytest.raises(ValueError, match=f"limit {limit}; it must be 1 to 200"):
        entities.page(connection, "vm", limit=limit)


def test_hidden_jobs_are_not_listed(database: Database) -> None:
    picture.change(database, Change(picture.failed_job, replace(picture.failed_job, visible=False)))
    with database.reader() as connection:
        assert jobs.page(connection)["jobs"] == [RUNNING_SUMMARY]


def test_a_running_job_is_shown_whole(connection: Connection) -> None:
    found = job.one(connection, picture.RUNNING_JOB)
    at_10, at_11 = "2026-01-01T00:00:10.000000Z", "2026-01-01T00:00:11.000000Z"
    assert found is not None
    assert found.pop("steps") == [
        step(picture.STEP_VALIDATING, "VALIDATING", "Validating", "FINISHED", 100, (at_10, at_10)),
        step(
            picture.STEP_EXECUTING, "EXECUTING", "Executing", "STARTED", 42, (at_10, None),
            steps=[
                step(
                    picture.CHILD, "DELETE_IMAGE", "Remove image d1", "STARTED", 42, (at_11, None),
                    refs=[str(picture.DISK)],
                )
            ],
        ),
        step(picture.STEP_FINALIZING, "FINALIZING", "Finalizing", "PENDING", 0, (None, None)),
    ]  # fmt: skip
    assert found.pop("tasks") == [
        {
            "id": str(picture.TASK),
            "command_id": str(picture.CHILD),
            "role": "forward",
            "position": 0,
            "method": "Image.delete",
            "host": str(picture.HOST),
            "refs": [str(picture.DISK)],
            "state": "Polling",
            "status": "running",
            "result": "",
            "outcome": None,
            "code": 0,
            "message": "running job 1 of 1",
            "progress": 42,
            "best_effort": False,
            "host_task_id": "t-1",
            "waits_for": None,
            "deadline_at": None,
            "stopping": None,
            "stopped_by": None,
            "stalled_at": "2026-01-01T00:00:12.000000Z",
            "created_at": at_11,
            "sent_at": at_11,
            "ended_at": None,
        }
    ]
    commands = found.pop("commands")
    assert [(each["id"], each["depth"]) for each in commands] == [
        (str(picture.RUNNING_JOB), 0),
        (str(picture.CHILD), 1),
    ]
    assert commands[1] == {
        "id": str(picture.CHILD),
        "parent_id": str(picture.RUNNING_JOB),
        "depth": 1,
        "position": 0,
        "key": "disk.remove_image:0",
        "role": "forward",
        "name": "disk.remove_image",
        "version": 1,
        "title": "Remove image d1",
        "refs": [str(picture.DISK)],
        "state": "EXECUTING",
        "result": None,
        "best_effort": False,
        "undo": None,
        "phase": None,
        "attempts": 0,
        "retry_at": None,
        "deadline_at": None,
        "stopping": None,
        "stopped_by": None,
        "attention": None,
        "asking": None,
        "skipped_by": None,
        "forced_by": None,
        "failure": None,
        "created_at": at_10,
        "started_at": at_11,
        "ended_at": None,
    }
    assert [each["seq"] for each in found.pop("events")] == [1, 2, 3]
    assert [each["number"] for each in found.pop("actions")] == [2]
    assert found == {
        **RUNNING_SUMMARY,
        "idempotency_key": None,
        "schedule_id": None,
        "parameters": {"vm": "web1"},
        "failure": None,
        "value": None,
        "leftovers": [],
        "locks": [VM_LOCK],
        "after": [],
        "events_total": 3,
    }


def test_a_failed_job_says_why_and_what_remains(connection: Connection) -> None:
    found = job.one(connection, picture.FAILED_JOB)
    assert found is not None
    assert found["failure"] == {
        "message": "the image is gone",
        "causes": (
            {
                "message": "it was removed by hand",
                "path": ("vm.remove", "disk.remove"),
                "refs": (str(picture.DISK),),
                "host": "h1",
                "code": 268,
                "remedy": "look at h1",
                "leftover": True,
                "outcome": "FAILED",
            },
        ),
    }
    assert found["leftovers"] == [LEFTOVER]
    assert found["locks"] == [DISK_LOCK]


def test_a_step_that_an_ended_job_never_reached_is_not_started(connection: Connection) -> None:
    found = job.one(connection, picture.FAILED_JOB)
    assert found is not None
    assert [(each["name"], each["status"]) for each in found["steps"]] == [
        ("EXECUTING", "FAILED"),
        ("FINALIZING", "NOT_STARTED"),
    ]


def test_an_ended_job_shows_its_typed_result(database: Database) -> None:
    picture.end_running_job(database)
    with database.reader() as connection:
        found = job.one(connection, picture.RUNNING_JOB)
    assert found is not None
    assert (found["result"], found["value"], found["locks"]) == ("SUCCEEDED", {"freed": 1024}, [])


def test_no_job_is_none(connection: Connection) -> None:
    assert job.one(connection, UUID(int=99)) is None
    assert events.after(connection, UUID(int=99), 0) is None


def test_events_are_read_on_from_a_number(connection: Connection) -> None:
    found = events.after(connection, picture.RUNNING_JOB, 2)
    assert found == {
        "events": [
            {
                "seq": 3,
                "at": "2026-01-01T00:00:12.000000Z",
                "severity": "info",
                "kind": "task_answered",
                "message": "h1 took it",
                "user": None,
                "command_id": str(picture.CHILD),
                "task_id": str(picture.TASK),
            }
        ],
        "total": 3,
        "ended": False,
    }
    first = events.after(connection, picture.FAILED_JOB, 0, limit=1)
    assert first is not None
    assert ([each["seq"] for each in first["events"]], first["total"], first["ended"]) == ([1], 2, True)


def test_an_entity_shows_fields_locks_referrers_and_jobs(connection: Connection) -> None:
    assert entities.one(connection, picture.DISK) == {
        "ref": str(picture.DISK),
        "type": "disk",
        "id": str(picture.DISK.id),
        "name": "d1",
        "status": "ILLEGAL",
        "version": 1,
        "fields": {"name": "d1", "size": 1024},
        "locks": [DISK_LOCK],
        "referrers": [{"ref": str(picture.VM), "field": "disks"}],
        "jobs": [RUNNING_SUMMARY, FAILED_SUMMARY],
    }
    assert entities.named(connection, "disk", "d1") == picture.DISK.id
    assert entities.named(connection, "disk", "web1") is None


def test_a_job_that_touches_an_entity_only_through_a_task_is_found(database: Database) -> None:
    with database.reader() as connection:
        assert jobs.touching(connection, picture.VM) == [RUNNING_SUMMARY]
        assert jobs.touching(connection, picture.HOST) == []  # where a task runs is not what it touches
    other = replace(
        picture.task,
        id=UUID(int=23),
        flow_id=picture.FAILED_JOB,
        command_id=picture.FAILED_JOB,
        refs=(picture.VM,),
    )
    picture.write(database, other)
    with database.reader() as connection:
        assert jobs.touching(connection, picture.VM) == [RUNNING_SUMMARY, FAILED_SUMMARY]
        assert jobs.touching(connection, picture.VM, limit=1) == [RUNNING_SUMMARY]


def test_entities_are_read_page_by_page(database: Database) -> None:
    more = [replace(picture.entities[0], ref=Ref("vm", UUID(int=60 + n)), name=f"vm{n}") for n in range(2)]
    picture.write(database, *more)
    with database.reader() as connection:
        first = entities.page(connection, "vm", limit=2)
        assert [each["name"] for each in first["entities"]] == ["web1", "vm0"]
        second = entities.page(connection, "vm", limit=2, after=UUID(first["next"]))
    assert ([each["name"] for each in second["entities"]], second["next"]) == (["vm1"], None)


def test_locks_are_listed_longest_held_first(connection: Connection) -> None:
    assert locks.held(connection) == {"locks": [DISK_LOCK, VM_LOCK], "more": False}


def test_only_open_leftovers_are_listed(database: Database) -> None:
    with database.reader() as connection:
        assert leftovers.still_open(connection) == {"leftovers": [LEFTOVER], "more": False}
    cleared = replace(picture.leftover, cleared_at=picture.START, cleared_by="ann", cleared_reason="looked")
    picture.change(database, Change(picture.leftover, cleared))
    with database.reader() as connection:
        assert leftovers.still_open(connection) == {"leftovers": [], "more": False}
        assert leftovers.one(connection, picture.LEFTOVER) == LEFTOVER | {
            "cleared_at": "2026-01-01T00:00:00.000000Z",
            "cleared_by": "ann",
            "cleared_reason": "looked",
        }


def test_refs_of_many_jobs_are_not_mixed_up(database: Database) -> None:
    """More jobs than one IN list holds."""
    many = [replace(picture.running_job, id=UUID(int=1000 + n), refs=(Ref("vm", UUID(int=n)),)) for n in range(1, 602)]
    picture.write(database, *many)
    with database.reader() as connection:
        found = {each.id: each.refs for each in loading.records(connection, JobRecord)}
    assert {each.id: each.refs for each in many}.items() <= found.items()
