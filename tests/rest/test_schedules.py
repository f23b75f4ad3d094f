"""Schedules over the API."""

from typing import Any

import httpx
import pytest

from interlock.model.errors import InvalidInput, Missing, NameTaken
from interlock.model.schedules import LATE_S, Missed
from tests.rest.fake import FakeCoordinator
from tests.views import picture

BODY = {"name": "nightly", "command": "vm.remove", "parameters": {"vm": "web1"}, "cron": "0 2 * * *"}
NIGHTLY = {
    "id": str(picture.SCHEDULE), "name": "nightly", "command": "vm.remove", "version": 2, "parameters": {"vm": "web1"},
    "user": "ann", "correlation_id": "ticket-3", "priority": 0, "cron": "0 2 * * *", "zone": "Europe/Berlin",
    "missed": "run", "late_s_max": 3600, "next_at": "2026-01-01T01:00:00.000000Z", "paused_by": None,
    "last_job_id": str(picture.FAILED_JOB), "runs": 1, "failures": 1, "skipped": 2,
    "skipped_at": "2026-01-01T00:00:00.000000Z", "skipped_reason": "it was late",
    "created_at": "2026-01-01T00:00:00.000000Z", "updated_at": "2026-01-01T00:00:00.000000Z",
}  # fmt: skip


async def test_a_schedule_is_made(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    answer = await client.post("/schedules", json=BODY | {"zone": "Europe/Berlin", "missed": "skip"})
    assert (answer.status_code, answer.json()["name"]) == (201, "nightly")
    assert coordinator.asked == [
        {"name": "nightly", "command": "vm.remove", "parameters": {"vm": "web1"}, "version": None, "user": "ann",
         "cron": "0 2 * * *", "at": None, "zone": "Europe/Berlin", "missed": Missed.SKIP, "late_s_max": LATE_S,
         "priority": 0, "correlation_id": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"), [(Missing("vm: none"), 422), (InvalidInput("cron"), 422), (NameTaken("nightly"), 409)], ids=str
)
async def test_a_wrong_schedule_is_refused(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, error: Exception, status: int
) -> None:
    coordinator.reply = error
    assert (await client.post("/schedules", json=BODY)).status_code == status


async def test_schedules_are_listed_and_shown_with_what_comes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/schedules")).json() == {"schedules": [NIGHTLY], "next": None}
    assert (await client.get("/schedules", params={"after": "nightly"})).json()["schedules"] == []
    job = {"id": str(picture.FAILED_JOB), "status": "FAILED", "result": "FAILED",
           "started_at": "2026-01-01T00:00:00.000000Z"}  # fmt: skip
    runs = [f"2026-01-0{day}T01:00:00.000000Z" for day in range(1, 6)]
    for which in ("nightly", str(picture.SCHEDULE)):
        assert (await client.get(f"/schedules/{which}")).json() == NIGHTLY | {"next_runs": runs, "jobs": [job]}
    assert (await client.get("/schedules/daily")).status_code == 404


async def test_a_schedule_is_changed_paused_resumed_and_removed(
    client: httpx.AsyncClient, coordinator: FakeCoordinator
) -> None:
    assert (await client.patch("/schedules/nightly", json={"cron": "0 3 * * *", "reason": "x"})).status_code == 200
    assert (await client.post("/schedules/nightly/pause", json={"reason": "y"})).status_code == 200
    assert (await client.post("/schedules/nightly/resume", json={})).status_code == 200
    assert (await client.delete("/schedules/nightly", params={"reason": "z"})).json() == {"removed": "nightly"}
    assert coordinator.asked == [
        {"change": "nightly", "by": "ann", "reason": "x", "cron": "0 3 * * *", "at": None, "zone": None,
         "missed": None, "late_s_max": None, "priority": None},
        {"pause": "nightly", "by": "ann", "reason": "y"},
        {"resume": "nightly", "by": "ann", "reason": ""},
        {"remove": "nightly", "by": "ann", "reason": "z"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [{}, BODY | {"name": ""}, BODY | {"by": "eve"}, BODY | {"missed": "never"}, BODY | {"late_s_max": -1},
     BODY | {"priority": 11}, BODY | {"cron": 5}, BODY | {"correlation_id": "a b"}],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_is_refused_before_anybody_hears_of_it(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, body: dict[str, Any]
) -> None:
    answer = await client.post("/schedules", json=body)
    assert (answer.status_code, coordinator.asked) == (422, [])


async def test_a_name_that_no_row_can_hold_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/schedules/night%00ly")).status_code == 422
