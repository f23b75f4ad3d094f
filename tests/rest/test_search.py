"""Searching over the API, what has changed, and what may be written."""

from typing import Any

import httpx
import pytest

from interlock.views.search import cursors
from tests.rest.test_api import JOB
from tests.views import picture

FAILED = str(picture.FAILED_JOB)


@pytest.mark.parametrize(
    ("path", "query", "ids"),
    [
        ("jobs", "status = failed and started < now", [FAILED]),
        ("jobs", "", [JOB, FAILED]),
        ("steps", "status = started", [str(picture.CHILD), str(picture.STEP_EXECUTING)]),
        ("commands", "result = failed", [FAILED]),
        ("entities/vm", "name = web*", [str(picture.VM.id)]),
    ],
)
async def test_a_query_is_answered(client: httpx.AsyncClient, path: str, query: str, ids: list[str]) -> None:
    answer = await client.get(f"/search/{path}", params={"query": query})
    assert answer.status_code == 200
    page = answer.json()
    assert [each["id"] for each in page[path.partition("/")[0]]] == ids
    assert (page["next"], page["partial"]) == (None, False)


async def test_pages_go_on_by_their_cursor(client: httpx.AsyncClient) -> None:
    first = (await client.get("/search/jobs", params={"query": "user = ann", "limit": 1})).json()
    second = (await client.get("/search/jobs", params={"query": "user = ann", "after": first["next"]})).json()
    assert [each["id"] for each in first["jobs"] + second["jobs"]] == [JOB, FAILED]
    answer = await client.get("/search/jobs", params={"query": "user = bob", "after": first["next"]})
    assert (answer.status_code, answer.json()) == (
        422,
        {
            "error": "invalid_input",
            "reasons": ["this cursor belongs to another query; ask without it for the first page"],
        },
    )


async def test_why_a_job_waits_is_told(client: httpx.AsyncClient) -> None:
    told = (await client.get(f"/jobs/{JOB}/why")).json()
    words = f"Image.delete on {picture.HOST} reports no progress since 2026-01-01T00:00:12.000000Z"
    assert told["words"] == f"Remove image d1: {words}"
    assert [(each["command"], each["kind"]) for each in told["commands"]] == [
        (JOB, "parts"), (str(picture.CHILD), "host"),
    ]  # fmt: skip
    assert (await client.get(f"/jobs/{FAILED}/why")).json()["words"] == "it has ended"
    assert (await client.get(f"/jobs/{picture.CHILD}/why")).status_code == 404
    assert (await client.get(f"/jobs/{JOB}/why", params={"x": 1})).status_code == 422


async def test_a_mistake_says_its_column(client: httpx.AsyncClient) -> None:
    answer = await client.get("/search/jobs", params={"query": "user = ann and stauts = failed"})
    assert (answer.status_code, answer.json()) == (
        422,
        {
            "error": "invalid_input",
            "reasons": ["unknown field 'stauts'; did you mean status? (column 16)"],
            "column": 16,
        },
    )


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/search/jobs", {"query": "a" * 2001}), ("/search/jobs", {"limit": 0}), ("/search/jobs", {"limit": 201}),
        ("/search/jobs", {"q": "status = failed"}), ("/search/nothing", {}), ("/events", {"after": -1}),
        ("/events", {"query": "sortby at"}), ("/jobs", {"modified_since": "yesterday"}),
        ("/jobs", {"modified_since": "0", "status": "FAILED"}), ("/search/jobs/complete", {"position": -1}),
        ("/search/jobs/complete", {"text": "a" * 2001}),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_refused(client: httpx.AsyncClient, path: str, params: dict[str, Any]) -> None:
    assert (await client.get(path, params=params)).status_code == 422


async def test_entities_of_no_type_are_missing(client: httpx.AsyncClient) -> None:
    for path in ("/search/entities/disc", "/search/entities/disc/fields", "/search/entities/disc/complete"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["reasons"]) == (
            404, ["there is no entity type 'disc'; there are: host, vm"],
        )  # fmt: skip


async def test_what_changed_comes_after_the_cursor(client: httpx.AsyncClient) -> None:
    found = (await client.get("/jobs", params={"modified_since": "0"})).json()
    assert [(each["id"], each["visible"]) for each in found["jobs"]] == [(FAILED, True), (JOB, True)]
    assert (await client.get("/jobs", params={"modified_since": found["next"]})).json() == {
        "jobs": [], "next": found["next"],
    }  # fmt: skip


async def test_events_of_all_jobs_are_followed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/events")).json() == {"events": [], "next": 5}
    found = (await client.get("/events", params={"after": 0, "query": "kind = job_ended"})).json()
    assert ([(each["number"], each["job_id"]) for each in found["events"]], found["next"]) == ([(2, FAILED)], 5)


async def test_fields_and_candidates_are_told(client: httpx.AsyncClient) -> None:
    told = (await client.get("/search/jobs/fields")).json()
    assert (told["sorted_by"], told["entities"]) == ("started", ["host", "vm"])
    assert told["fields"][3] == {
        "name": "status", "kind": "word", "about": "how it stands",
        "words": ["pending", "started", "finished", "failed", "aborted", "unknown"],
        "operators": ["=", "!=", "in", "not in"],
    }  # fmt: skip
    told = (await client.get("/search/entities/vm/fields")).json()
    assert [each["name"] for each in told["fields"]] == ["id", "name", "status", "version"]
    params: dict[str, Any] = {"text": "status = fa and user = ann", "position": 11}
    assert (await client.get("/search/jobs/complete", params=params)).json() == {
        "from": 9, "to": 11, "candidates": [{"text": "failed", "kind": "value", "about": ""}],
    }  # fmt: skip
    told = (await client.get("/search/entities/vm/complete", params={"text": "na"})).json()
    assert told["candidates"] == [{"text": "name", "kind": "field", "about": "its name"}]


@pytest.mark.parametrize("key", [1 << 63, -(1 << 63), "a\0b", "\ud800"])
async def test_a_cursor_with_what_no_row_can_hold_made_the_server_fail(client: httpx.AsyncClient, key: Any) -> None:
    cursor = cursors.write(cursors.Cursor((key, picture.FAILED_JOB), 1), "jobs user = ann")
    answer = await client.get("/search/jobs", params={"query": "user = ann", "after": cursor})
    assert answer.status_code == 422
