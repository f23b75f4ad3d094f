"""Signals, reports, answers and calls over the API."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from interlock.coordinator.answers import EVERYTHING
from interlock.model.calls import CallOrder
from interlock.model.errors import Missing, NotAllowed, Refused
from interlock.model.refs import Ref
from tests.rest.fake import QUESTION, FakeCoordinator, Job
from tests.rest.test_api import JOB
from tests.views import picture

ID = str(UUID(int=5))
CALL = {"commands": [{"command": "vm.remove", "parameters": {"vm": "web1"}}, {"command": "vm.start", "version": 1}]}


async def test_a_call_is_submitted_whole(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    more = {"order": "one by one", "correlation_id": "c-1", "idempotency_key": "k", "priority": 3}
    answer = await client.post("/calls", json=CALL | more)
    assert (answer.status_code, answer.json()) == (201, {"job_ids": [JOB, JOB], "repeated": False})
    assert answer.headers["correlation-id"] == "c-1"
    assert coordinator.asked == [
        {"wanted": [("vm.remove", {"vm": "web1"}, None), ("vm.start", {}, 1)], "order": CallOrder.ONE_BY_ONE,
         "correlation_id": "c-1", "idempotency_key": "k", "user": "ann", "priority": 3},
    ]  # fmt: skip
    coordinator.reply = Job(picture.RUNNING_JOB, repeated=True)
    assert (await client.post("/calls", json=CALL)).status_code == 200
    coordinator.reply = Refused("VM web1 is UP", "so is web2", job_id=picture.FAILED_JOB)
    answer = await client.post("/calls", json=CALL)
    assert (answer.status_code, answer.json()["reasons"]) == (409, ["VM web1 is UP", "so is web2"])
    coordinator.reply = Missing("vm: none")
    assert (await client.post("/calls", json=CALL)).status_code == 422


async def test_a_signal_is_accepted(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    body = {"kind": "host.booted", "about": "host:h1", "job_id": JOB, "data": {"n": 1}, "id": ID}
    answer = await client.post("/signals", json=body)
    assert (answer.status_code, answer.json()) == (201, {"id": str(UUID(int=9))})
    assert (await client.post("/signals", json={"kind": "tick"})).status_code == 201
    assert coordinator.asked == [
        {"kind": "host.booted", "about": Ref("host", UUID(int=7)), "job_id": picture.RUNNING_JOB, "data": {"n": 1},
         "by": "ann", "signal_id": UUID(ID)},
        {"kind": "tick", "about": None, "job_id": None, "data": None, "by": "ann", "signal_id": None},
    ]  # fmt: skip


async def test_a_monitor_is_told(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    answer = await client.post("/reports", json={"monitor": "seen", "about": "vm:web1", "report": {"status": "UP"}})
    assert (answer.status_code, answer.json()) == (200, {"about": f"vm:{UUID(int=7)}"})
    assert coordinator.asked == [{"monitor": "seen", "subject": Ref("vm", UUID(int=7)), "told": {"status": "UP"},
                                  "by": "ann"}]  # fmt: skip


async def test_a_question_is_shown_and_answered(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    assert (await client.get(f"/jobs/{JOB}/questions")).json() == {"questions": [QUESTION]}
    answer = await client.post(f"/jobs/{JOB}/answer", json={"answer": {"approve": True}, "task_id": ID})
    assert (answer.status_code, answer.json()) == (200, {"job_id": JOB})
    assert coordinator.asked == [
        {"job_id": picture.RUNNING_JOB, "form": {"approve": True}, "by": "ann", "holds": EVERYTHING,
         "task_id": UUID(ID)},
    ]  # fmt: skip
    coordinator.reply = NotAllowed("it takes the permission go; ann lacks it")
    answer = await client.post(f"/jobs/{JOB}/answer", json={"answer": {"approve": True}})
    assert (answer.status_code, answer.json()["error"]) == (403, "not_allowed")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/calls", {}), ("/calls", {"commands": []}), ("/calls", {"commands": [{"command": ""}]}),
        ("/calls", {"commands": [{"command": "a", "by": "eve"}]}), ("/calls", CALL | {"order": "backwards"}),
        ("/calls", {"commands": [{"command": "a"}] * 1001}),
        ("/signals", {}), ("/signals", {"kind": ""}), ("/signals", {"kind": "a", "about": "x"}),
        ("/signals", {"kind": "a", "by": "eve"}), ("/signals", {"kind": "a", "job_id": "5"}),
        ("/reports", {"monitor": "seen"}), ("/reports", {"monitor": "seen", "about": "vm:web1", "by": "eve"}),
        (f"/jobs/{JOB}/answer", {}), (f"/jobs/{JOB}/answer", {"answer": 1, "by": "eve"}),
        (f"/jobs/{JOB}/answer", {"answer": 1, "task_id": "x"}), ("/jobs/5/answer", {"answer": 1}),
    ],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_is_refused_before_anybody_hears_of_it(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, path: str, body: dict[str, Any]
) -> None:
    answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")
    assert coordinator.asked == []
