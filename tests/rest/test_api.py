"""The API: answers, refusals, bounds, and never a stack trace."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from interlock.model.decisions import Decision
from interlock.model.errors import Bug, InvalidInput, KeyReused, Locked, Missing, NotArchived, NotOwner, Refused
from interlock.rest.bodies import BODY_SIZE_MAX
from tests.rest.fake import FakeCoordinator, Job
from tests.views import picture

WAIT_S = 10.0
JOB = str(picture.RUNNING_JOB)
BODY = {"command": "vm.remove", "parameters": {"vm": "web1"}}


async def test_a_command_is_submitted(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    body = BODY | {"version": 1, "idempotency_key": "k", "correlation_id": "ticket-9", "timeout_s": 2.5}
    body |= {"after": [JOB], "after_policy": "failed"}
    answer = await client.post("/jobs", json=body)
    assert (answer.status_code, answer.json()) == (201, {"job_id": JOB, "repeated": False})
    assert answer.headers["Location"] == f"/api/v1/jobs/{JOB}"
    assert answer.headers["Correlation-Id"] == "ticket-9"
    assert coordinator.asked == [
        {
            "name": "vm.remove",
            "parameters": {"vm": "web1"},
            "version": 1,
            "correlation_id": "ticket-9",
            "idempotency_key": "k",
            "user": "ann",
            "priority": 0,
            "timeout_s": 2.5,
            "ask": False,
            "wait_for_locks": False,
            "after": [UUID(JOB)],
            "after_policy": "failed",
        }
    ]


async def test_the_header_is_the_correlation_id_too(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    answer = await client.post("/jobs", json=BODY, headers={"Correlation-Id": "ticket_7-b"})
    assert answer.headers["Correlation-Id"] == "ticket_7-b"
    assert coordinator.asked[0]["correlation_id"] == "ticket_7-b"


async def test_without_one_a_correlation_id_is_made_and_used(
    client: httpx.AsyncClient, coordinator: FakeCoordinator
) -> None:
    answer = await client.post("/jobs", json=BODY)
    assert coordinator.asked[0]["correlation_id"] == answer.headers["Correlation-Id"] != ""


@pytest.mark.parametrize("timeout_s", [0, -1, 366 * 86_400 + 1, "60", True])
async def test_a_time_that_no_command_can_be_given_is_refused(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, timeout_s: Any
) -> None:
    answer = await client.post("/jobs", json=BODY | {"timeout_s": timeout_s})
    assert (answer.status_code, answer.json()["error"], coordinator.asked) == (422, "invalid_input", [])


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 51, "a\u00e9", "a;b"])
async def test_a_wrong_correlation_id_is_refused(client: httpx.AsyncClient, wrong: str) -> None:
    answer = await client.get("/jobs", headers={b"Correlation-Id": wrong.encode("latin-1")})
    assert answer.status_code == 422
    assert answer.json() == {
        "error": "invalid_input",
        "reasons": ["Correlation-Id: 1 to 50 of 0-9 A-Z a-z _ -"],
    }
    in_body = await client.post("/jobs", json=BODY | {"correlation_id": wrong})
    assert (in_body.status_code, in_body.json()["error"]) == (422, "invalid_input")


async def test_a_repeated_key_is_200(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    coordinator.reply = Job(picture.RUNNING_JOB, repeated=True)
    answer = await client.post("/jobs", json=BODY | {"idempotency_key": "k"})
    assert (answer.status_code, answer.json()) == (200, {"job_id": JOB, "repeated": True})


async def test_a_plan_is_answered_and_nothing_is_submitted(
    client: httpx.AsyncClient, coordinator: FakeCoordinator
) -> None:
    answer = await client.post("/plans", json=BODY | {"version": 1})
    assert coordinator.asked == [{"name": "vm.remove", "parameters": {"vm": "web1"}, "version": 1}]
    assert (answer.status_code, answer.json()["refusals"], answer.json()["waits"]) == (200, [], [])
    command = answer.json()["command"]
    part, later = command.pop("parts")
    assert command == {
        "kind": "command", "name": "vm.remove", "title": "Remove VM web1", "key": "vm.remove", "role": "forward",
        "step": None, "begins": "at once", "result": None, "failure": None, "after": [], "choice": None, "pool": None,
        "at_most": None, "stop_on_failure": False, "retry": None, "no_return": False, "best_effort": False,
        "timeout_s": None,
        "locks": [
            {"ref": f"vm:{UUID(int=1)}", "name": "web1", "mode": "exclusive", "free": True},
            {"ref": f"disk:{UUID(int=2)}", "name": None, "mode": "shared", "free": False},
        ],
    }  # fmt: skip
    assert part["retry"] == {"attempts": 3, "pause_s": 1.0, "pause_max_s": 60.0}
    assert part["parts"] == [
        {"kind": "task", "method": "Image.delete", "host": f"host:{UUID(int=3)}", "host_name": "h1",
         "step": "DELETE_IMAGE", "best_effort": False, "timeout_s": 90.0},
    ]  # fmt: skip
    assert (later["begins"], later["after"], later["choice"]) == ("later", ["disk.remove#0"], 1)


async def test_a_plan_of_a_refused_command_has_its_refusals(
    client: httpx.AsyncClient, coordinator: FakeCoordinator
) -> None:
    coordinator.preview = replace(coordinator.preview, refusals=("it is up", "stop it"))
    answer = await client.post("/plans", json=BODY)
    assert (answer.status_code, answer.json()["refusals"]) == (200, ["it is up", "stop it"])
    coordinator.reply = Missing("vm: none")
    answer = await client.post("/plans", json=BODY)
    assert (answer.status_code, answer.json()) == (422, {"error": "missing", "reasons": ["vm: none"]})
    answer = await client.post("/plans", json=BODY | {"idempotency_key": "k"})
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")


async def test_attention_is_settled_by_the_user_who_asks(
    client: httpx.AsyncClient, coordinator: FakeCoordinator
) -> None:
    body = {"decision": "force-failure", "reason": "gone", "command_id": str(UUID(int=5)), "leave_tasks": True}
    answer = await client.post(f"/jobs/{JOB}/settle", json=body)
    assert (answer.status_code, answer.json()["id"]) == (200, JOB)
    assert coordinator.asked == [
        {"job_id": picture.RUNNING_JOB, "decision": Decision.FORCE_FAILURE, "by": "ann", "reason": "gone",
         "command_id": UUID(int=5), "leave_tasks": True},
    ]  # fmt: skip
    coordinator.reply = Refused("tasks may still run", "wait")
    answer = await client.post(f"/jobs/{JOB}/settle", json={"decision": "retry", "reason": "x"})
    assert (answer.status_code, answer.json()["reasons"]) == (409, ["tasks may still run", "wait"])


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"decision": "retry"}, {"decision": "retry", "reason": ""}, {"decision": "force", "reason": "x"},
        {"decision": "retry", "reason": "x", "by": "eve"}, {"decision": "retry", "reason": "x", "command_id": "5"},
        {"decision": "retry", "reason": "x", "leave_tasks": "yes"},
    ],
)  # fmt: skip
async def test_a_decision_that_is_not_clear_is_refused(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, wrong: dict[str, Any]
) -> None:
    answer = await client.post(f"/jobs/{JOB}/settle", json=wrong)
    assert (answer.status_code, answer.json()["error"], coordinator.asked) == (422, "invalid_input", [])


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            InvalidInput("size: no", "name: no"),
            422,
            {"error": "invalid_input", "reasons": ["size: no", "name: no"]},
        ),
        (Missing("vm: none"), 422, {"error": "missing", "reasons": ["vm: none"]}),
        (KeyReused("other parameters"), 409, {"error": "key_reused", "reasons": ["other parameters"]}),
        (Locked("by job 1"), 409, {"error": "locked", "reasons": ["by job 1"]}),
        (
            Refused("it is up", "stop it", job_id=picture.FAILED_JOB),
            409,
            {"error": "refused", "reasons": ["it is up", "stop it"], "job_id": str(picture.FAILED_JOB)},
        ),
        (NotOwner("taken over"), 503, {"error": "unavailable", "reasons": ["taken over"]}),
        (NotArchived("no room"), 503, {"error": "not_archived", "reasons": ["no room"]}),
    ],
)
async def test_refusals_carry_all_reasons(
    client: httpx.AsyncClient,
    coordinator: FakeCoordinator,
    error: Exception,
    status: int,
    body: dict[str, Any],
) -> None:
    coordinator.reply = error
    answer = await client.post("/jobs", json=BODY)
    assert (answer.status_code, answer.json()) == (status, body)


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), Bug("secret detail"), RecursionError("x")])
async def test_our_own_failure_shows_nothing_of_itself(
    client: httpx.AsyncClient,
    coordinator: FakeCoordinator,
    error: Exception,
    logged: list[MutableMapping[str, Any]],
) -> None:
    coordinator.reply = error
    answer = await client.post("/jobs", json=BODY)
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [(each["event"], each["path"], each["log_level"]) for each in logged] == [
        ("request_failed", "/api/v1/jobs", "error")
    ]


async def test_a_view_that_fails_shows_nothing_of_itself(
    client: httpx.AsyncClient, coordinator: FakeCoordinator
) -> None:
    coordinator.broken = True
    answer = await client.get("/jobs")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "secret" not in answer.text


BAD_BODIES = {
    "empty": b"",
    "no object": b"[]",
    "no command": b"{}",
    "wrong type": b'{"command": 1}',
    "guessed type": b'{"command": "a", "version": "1"}',
    "a flag as a version": b'{"command": "a", "version": true}',
    "unknown key": b'{"command": "a", "more": 1}',
    "parameters not an object": b'{"command": "a", "parameters": []}',
    "cut": b'{"command": "a"',
    "two values": b'{"command": "a"} {}',
    "key twice": b'{"command": "a", "command": "b"}',
    "nan": b'{"command": "a", "parameters": {"x": NaN}}',
    "infinity": b'{"command": "a", "parameters": {"x": 1e999}}',
    "huge integer": b'{"command": "a", "parameters": {"x": ' + b"9" * 5000 + b"}}",
    "not utf-8": b'{"command": "\xff"}',
    "half a pair": b'{"command": "\\ud800"}',
    "deep": b'{"command": "a", "parameters": {"x": ' + b"[" * 40 + b"]" * 40 + b"}}",
    "very deep": b"[" * 200_000,
    "empty key": b'{"command": "a", "idempotency_key": ""}',
    "long command": b'{"command": "' + b"a" * 201 + b'"}',
}


@pytest.mark.parametrize("data", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_body_is_refused(client: httpx.AsyncClient, coordinator: FakeCoordinator, data: bytes) -> None:
    answer = await client.post("/jobs", content=data, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")
    assert answer.json()["reasons"]
    assert coordinator.asked == []


async def test_brackets_in_text_are_not_depth(client: httpx.AsyncClient) -> None:
    answer = await client.post("/jobs", json=BODY | {"parameters": {"x": "[" * 100 + '\\"' + "{" * 100}})
    assert answer.status_code == 201


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_body_is_refused(client: httpx.AsyncClient, announced: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * (BODY_SIZE_MAX // 16)

    content: Any = b" " * (BODY_SIZE_MAX + 1) if announced else chunks()
    answer = await client.post("/jobs", content=content)
    assert answer.status_code == 413
    assert answer.json() == {
        "error": "too_large",
        "reasons": [f"the body is larger than {BODY_SIZE_MAX} bytes; send less at once"],
    }


async def test_another_content_type_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/jobs", data={"command": "vm.remove"})
    assert answer.status_code == 422
    assert answer.json()["reasons"] == ["the body is application/x-www-form-urlencoded; send application/json"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs?limit=0",
        "/jobs?limit=201",
        "/jobs?limit=x",
        "/jobs?status=RUNNING",
        "/jobs?before=1",
        "/jobs?more=1",
        "/jobs/1",
        f"/jobs/{JOB}?x=1",
        f"/jobs/{JOB}/events?wait_s=31",
        f"/jobs/{JOB}/events?wait_s=nan",
        f"/jobs/{JOB}/events?after=-1",
        f"/jobs/{JOB}/events?after={10**30}",
        "/locks?x=1",
        "/entities/vm?limit=0",
    ],
)
async def test_a_bad_query_is_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (f"/jobs/{UUID(int=99)}", "missing"),
        (f"/jobs/{UUID(int=99)}/events", "missing"),
        ("/entities/vm/nobody", "missing"),
        (f"/entities/vm/{UUID(int=99)}", "missing"),
        ("/entities/vm/a%2Fb", "missing"),
        ("/entities/vm/%00", "missing"),
        ("/entities/cat", "missing"),
        ("/nothing", "not_found"),
        ("/docs", "not_found"),
    ],
)
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, path: str, error: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (404, error)


async def test_a_wrong_method_is_405(client: httpx.AsyncClient) -> None:
    answer = await client.put("/jobs", json={})
    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")


async def test_jobs_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    first = (await client.get("/jobs", params={"limit": 1})).json()
    second = (await client.get("/jobs", params={"limit": 1, "before": first["next"]})).json()
    assert [each["id"] for each in first["jobs"] + second["jobs"]] == [JOB, str(picture.FAILED_JOB)]
    assert second["next"] is None
    failed = (await client.get("/jobs", params={"status": "FAILED"})).json()
    assert [each["id"] for each in failed["jobs"]] == [str(picture.FAILED_JOB)]


async def test_a_job_is_shown(client: httpx.AsyncClient) -> None:
    found = (await client.get(f"/jobs/{JOB}")).json()
    assert (found["title"], found["status"], found["events_total"]) == ("Remove VM web1", "STARTED", 3)
    brief = (await client.get(f"/jobs/{JOB}", params={"brief": True})).json()
    left_out = {"commands", "tasks", "locks", "after", "actions", "events"}
    assert brief == {key: value for key, value in found.items() if key not in left_out}


async def test_events_wait_for_the_next(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    asking = asyncio.create_task(client.get(f"/jobs/{JOB}/events", params={"after": 3, "wait_s": 30}))
    await asyncio.wait_for(coordinator.waited.wait(), WAIT_S)
    assert not asking.done()
    await asyncio.to_thread(picture.end_running_job, coordinator.database)
    coordinator.news.set()
    answer = await asyncio.wait_for(asking, WAIT_S)
    found = answer.json()
    assert [each["seq"] for each in found["events"]] == [4]
    assert (found["total"], found["ended"]) == (4, True)
    assert coordinator.waits == [(picture.RUNNING_JOB, 3)]


async def test_events_that_are_there_do_not_wait(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    answer = await client.get(f"/jobs/{JOB}/events", params={"after": 1, "limit": 1, "wait_s": 30})
    assert [each["seq"] for each in answer.json()["events"]] == [2]
    assert coordinator.waits == []


async def test_nothing_is_waited_for_after_the_end(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    answer = await client.get(f"/jobs/{picture.FAILED_JOB}/events", params={"after": 2, "wait_s": 30})
    assert answer.json() == {"events": [], "total": 2, "ended": True}
    assert coordinator.waits == []


async def test_a_wait_ends_at_its_time(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/jobs/{JOB}/events", params={"after": 3, "wait_s": 0.01})
    assert answer.json() == {"events": [], "total": 3, "ended": False}


async def test_a_server_that_stops_ends_all_waits(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, app: FastAPI
) -> None:
    asking = asyncio.create_task(client.get(f"/jobs/{JOB}/events", params={"after": 3, "wait_s": 30}))
    await asyncio.wait_for(coordinator.waited.wait(), WAIT_S)
    app.state.stopping.set()
    answer = await asyncio.wait_for(asking, WAIT_S)
    assert answer.json() == {"events": [], "total": 3, "ended": False}


async def test_commands_are_listed_with_their_schemas(client: httpx.AsyncClient) -> None:
    found = (await client.get("/commands")).json()["commands"]
    assert [(each["name"], each["version"], each["doc"]) for each in found] == [
        ("vm.remove", 2, "Remove a stopped VM.\n\nIts disks go with it."),
        ("vm.start", 1, ""),
    ]
    vm = {"type": "string", "format": "ref", "entity": "vm", "title": "Vm"}
    assert found[0]["schema"]["properties"]["vm"] == vm
    assert found[0]["schema"]["required"] == ["vm"]
    assert found[1]["schema"]["required"] == ["vm"]


async def test_an_entity_is_found_by_id_and_by_name(client: httpx.AsyncClient) -> None:
    by_name = (await client.get("/entities/vm/web1")).json()
    by_id = (await client.get(f"/entities/vm/{picture.VM.id}")).json()
    assert by_name == by_id
    assert (by_name["ref"], by_name["name"], by_name["status"]) == (str(picture.VM), "web1", "REMOVING")
    listed = (await client.get("/entities/vm")).json()
    assert [each["name"] for each in listed["entities"]] == ["web1"]


async def test_an_empty_type_is_an_empty_list_and_an_unknown_one_is_missing(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/entities/host")).json() == {"entities": [], "next": None}
    unknown = await client.get("/entities/cat")
    assert unknown.json()["reasons"] == ["there is no entity type 'cat'; there are: host, vm"]
    without_class = (await client.get("/entities/disk")).json()
    assert [each["name"] for each in without_class["entities"]] == ["d1"]


async def test_locks_and_leftovers_are_listed(client: httpx.AsyncClient) -> None:
    locks = (await client.get("/locks")).json()
    assert [(each["name"], each["job_title"]) for each in locks["locks"]] == [
        ("d1", "Remove disk d1"),
        ("web1", "Remove VM web1"),
    ]
    leftovers = (await client.get("/leftovers")).json()
    assert [each["id"] for each in leftovers["leftovers"]] == [str(picture.LEFTOVER)]


async def test_a_leftover_is_cleared_by_name_and_reason(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/leftovers/{picture.LEFTOVER}/clear", json={"reason": "looked"})
    assert answer.status_code == 200
    assert (answer.json()["cleared_by"], answer.json()["cleared_reason"]) == ("ann", "looked")
    assert (await client.get("/leftovers")).json() == {"leftovers": [], "more": False}


async def test_a_leftover_is_not_cleared_without_a_reason(client: httpx.AsyncClient) -> None:
    path = f"/leftovers/{picture.LEFTOVER}/clear"
    for body in ({}, {"reason": ""}, {"reason": "x", "by": "eve"}):
        assert (await client.post(path, json=body)).status_code == 422
    unknown = await client.post(f"/leftovers/{UUID(int=98)}/clear", json={"reason": "x"})
    assert (unknown.status_code, unknown.json()["error"]) == (404, "missing")


async def test_hosts_are_shown(client: httpx.AsyncClient) -> None:
    assert (await client.get("/hosts")).json() == {
        "hosts": [
            {
                "address": "h1:54321",
                "connected": True,
                "incarnation": str(UUID(int=7)),
                "running": 1,
                "host": str(picture.HOST),
                "last_error": None,
            }
        ]
    }


async def test_the_description_of_the_api_is_there(client: httpx.AsyncClient) -> None:
    found = (await client.get("/openapi.json")).json()
    assert sorted(found["paths"]) == sorted([
        "/api/v1/actions",
        "/api/v1/calls",
        "/api/v1/commands",
        "/api/v1/entities/{type}",
        "/api/v1/entities/{type}/{name}",
        "/api/v1/events",
        "/api/v1/host-tasks",
        "/api/v1/hosts",
        "/api/v1/jobs",
        "/api/v1/jobs/{job_id}",
        "/api/v1/jobs/{job_id}/answer",
        "/api/v1/jobs/{job_id}/events",
        "/api/v1/jobs/{job_id}/cancel",
        "/api/v1/jobs/{job_id}/hide",
        "/api/v1/jobs/{job_id}/pause",
        "/api/v1/jobs/{job_id}/priority",
        "/api/v1/jobs/{job_id}/questions",
        "/api/v1/jobs/{job_id}/restart",
        "/api/v1/jobs/{job_id}/resume",
        "/api/v1/jobs/{job_id}/stop",
        "/api/v1/jobs/{job_id}/unhide",
        "/api/v1/jobs/{job_id}/settle",
        "/api/v1/jobs/{job_id}/why",
        "/api/v1/leftovers",
        "/api/v1/leftovers/{leftover_id}/clear",
        "/api/v1/limits",
        "/api/v1/limits/remove",
        "/api/v1/locks",
        "/api/v1/plans",
        "/api/v1/reports",
        "/api/v1/retention",
        "/api/v1/retention/run",
        "/api/v1/schedules",
        "/api/v1/schedules/{which}",
        "/api/v1/schedules/{which}/pause",
        "/api/v1/schedules/{which}/resume",
        "/api/v1/search/entities/{type}",
        "/api/v1/search/entities/{type}/complete",
        "/api/v1/search/entities/{type}/fields",
        "/api/v1/search/{searched}",
        "/api/v1/search/{searched}/complete",
        "/api/v1/search/{searched}/fields",
        "/api/v1/signals",
        "/api/v1/verify",
    ])  # fmt: skip


async def test_a_limit_is_set_listed_and_removed(client: httpx.AsyncClient, coordinator: FakeCoordinator) -> None:
    body = {"key": "command:vm.remove", "at_most": 2, "starts_max": 10, "window_s": 60.0}
    assert (await client.post("/limits", json=body | {"reason": "slow"})).json() == {"key": "command:vm.remove"}
    assert (await client.post("/limits/remove", json={"key": "key:k"})).json() == {"key": "key:k"}
    assert coordinator.asked == [
        {
            "limit": "command:vm.remove",
            "at_most": 2,
            "starts_max": 10,
            "window_s": 60.0,
            "by": "ann",
            "reason": "slow",
        },
        {"no limit": "key:k", "by": "ann", "reason": ""},
    ]
    assert (await client.get("/limits")).json() == {"limits": [], "more": False}


@pytest.mark.parametrize("change", [{"at_most": -1}, {"window_s": 0}, {"starts_max": 0}, {"key": ""}, {"more": 1}])
async def test_a_limit_out_of_its_bounds_is_refused(
    client: httpx.AsyncClient, coordinator: FakeCoordinator, change: dict[str, Any]
) -> None:
    answer = await client.post("/limits", json={"key": "key:k", "at_most": 1} | change)
    assert (answer.status_code, coordinator.asked) == (422, [])
