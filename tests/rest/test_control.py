"""The routes by which people steer a job: what reaches the coordinator, what is refused before."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from interlock.model.errors import Refused
from tests.rest.fake import FakeCoordinator, Job
from tests.views import picture

JOB = str(picture.RUNNING_JOB)
STEP = UUID(int=5)


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("cancel", {}, {"what": "cancel", "reason": "", "target": None, "force": False}),
        (
            "cancel",
            {"reason": "wrong disk", "target": str(STEP), "force": True},
            {"what": "cancel", "reason": "wrong disk", "target": STEP, "force": True},
        ),
        ("stop", {"target": str(STEP)}, {"what": "stop_tasks", "reason": "", "target": STEP}),
        ("pause", {"reason": "backup"}, {"what": "pause", "reason": "backup"}),
        ("resume", {}, {"what": "resume", "reason": ""}),
        ("hide", {}, {"what": "set_visible", "visible": False, "reason": ""}),
        ("unhide", {}, {"what": "set_visible", "visible": True, "reason": ""}),
        ("priority", {"priority": -3}, {"what": "set_priority", "priority": -3, "reason": ""}),
    ],
)
async def test_a_wish_is_the_users_who_asks(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, path: str, body: dict[str, Any], asked: dict[str, Any]
) -> None:
    answer = await client.post(f"/jobs/{JOB}/{path}", json=body)
    assert (answer.status_code, answer.json()["id"]) == (200, JOB)
    assert coordinator.asked == [{"job_id": picture.RUNNING_JOB, "by": "ann", **asked}]
    coordinator.reply = Refused("it is too late, it has ended SUCCEEDED")
    answer = await client.post(f"/jobs/{JOB}/{path}", json=body)
    assert (answer.status_code, answer.json()["reasons"]) == (409, ["it is too late, it has ended SUCCEEDED"])


async def test_a_restart_answers_the_new_job(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    coordinator.reply = Job(UUID(int=9))
    answer = await client.post(f"/jobs/{JOB}/restart", json={"reason": "again", "idempotency_key": "k"})
    assert (answer.status_code, answer.json()) == (201, {"job_id": str(UUID(int=9)), "repeated": False})
    assert answer.headers["location"].endswith(f"/jobs/{UUID(int=9)}")
    coordinator.reply = Job(UUID(int=9), repeated=True)
    answer = await client.post(f"/jobs/{JOB}/restart", json={})
    assert (answer.status_code, answer.json()["repeated"]) == (200, True)
    assert coordinator.asked == [
        {"what": "restart", "job_id": picture.RUNNING_JOB, "by": "ann", "reason": "again", "idempotency_key": "k"},
        {"what": "restart", "job_id": picture.RUNNING_JOB, "by": "ann", "reason": "", "idempotency_key": None},
    ]


async def test_a_restart_names_the_new_job_however_the_former_was_written(
    client: httpx.AsyncClient, coordinator: FakeCoordinator
) -> None:
    coordinator.reply = Job(UUID(int=9))
    for written in (JOB.upper(), UUID(JOB).hex, f"urn:uuid:{JOB}"):
        answer = await client.post(f"/jobs/{written}/restart", json={})
        assert answer.status_code == 201
        assert answer.headers["location"].endswith(f"/jobs/{UUID(int=9)}")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("cancel", {"force": "yes"}), ("cancel", {"target": "5"}), ("cancel", {"by": "eve"}), ("stop", {"force": True}),
        ("pause", {"reason": 5}), ("resume", {"reason": "x" * 1001}), ("priority", {}), ("priority", {"priority": 11}),
        ("priority", {"priority": 1.5}), ("restart", {"idempotency_key": ""}), ("hide", {"visible": True}),
    ],
)  # fmt: skip
async def test_a_wish_that_is_not_clear_is_refused(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, path: str, body: dict[str, Any]
) -> None:
    answer = await client.post(f"/jobs/{JOB}/{path}", json=body)
    assert (answer.status_code, answer.json()["error"], coordinator.asked) == (422, "invalid_input", [])
