"""What people did, over the API."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from interlock.model.actions import Action, leftover_ref
from interlock.model.changes import Change
from interlock.model.records import ActionRecord
from interlock.store.chain import FIRST, digest_of
from tests.rest.fake import FakeCoordinator
from tests.views import picture

CLEARED = ActionRecord(
    UUID(int=63), picture.START + 20 * picture.SECOND, "bob", Action.LEFTOVER_CLEAR, leftover_ref(picture.LEFTOVER),
    "ticket-1", "looked", '{"job":"1"}',
)  # fmt: skip


@pytest.fixture(autouse=True)
def cleared(coordinator: FakeCoordinator) -> None:
    picture.change(coordinator.database, Change(None, CLEARED))


async def numbers(client: httpx.AsyncClient, **query: Any) -> tuple[list[int], int | None]:
    found = (await client.get("/actions", params=query)).json()
    return [each["number"] for each in found["actions"]], found["next"]


async def test_actions_are_listed_whole_the_newest_first_by_pages(client: httpx.AsyncClient) -> None:
    found = (await client.get("/actions", params={"limit": 2})).json()
    first, second = picture.actions
    former = digest_of(2, second, digest_of(1, first, FIRST))
    assert found == {
        "actions": [
            {
                "number": 3, "id": str(UUID(int=63)), "at": "2026-01-01T00:00:20.000000Z", "by": "bob",
                "what": "leftover.clear", "subject": f"leftover:{picture.LEFTOVER}", "correlation_id": "ticket-1",
                "reason": "looked", "before": {"job": "1"}, "after": None, "digest": digest_of(3, CLEARED, former),
            },
            {
                "number": 2, "id": str(UUID(int=62)), "at": "2026-01-01T00:00:10.000000Z", "by": "ann",
                "what": "job.submit", "subject": f"job:{picture.RUNNING_JOB}", "correlation_id": "ticket-2",
                "reason": "it is old", "before": {"a": 1}, "after": {"a": 2}, "digest": former,
            },
        ],
        "next": 2,
    }  # fmt: skip
    assert await numbers(client, limit=2, before=2) == ([1], None)


async def test_actions_are_found_by_person_and_by_subject(client: httpx.AsyncClient) -> None:
    assert await numbers(client, by="ann") == ([2, 1], None)
    assert await numbers(client, subject=f"job:{picture.FAILED_JOB}") == ([1], None)
    assert await numbers(client, subject=f"job:{picture.FAILED_JOB}", by="bob") == ([], None)


async def test_a_job_shows_what_was_done_to_it_and_to_its_leftovers(client: httpx.AsyncClient) -> None:
    found = (await client.get(f"/jobs/{picture.FAILED_JOB}")).json()
    assert [each["what"] for each in found["actions"]] == ["job.submit", "leftover.clear"]


async def test_what_was_noted_of_the_chain_is_looked_for(client: httpx.AsyncClient) -> None:
    found = (await client.get("/verify")).json()
    last = found["last_action"]
    assert last["number"] == 3
    already = found["violations"]
    assert (await client.get("/verify", params={"digest": last["digest"]})).json() == found
    *others, violation = (await client.get("/verify", params={"digest": "0" * 64})).json()["violations"]
    assert others == already
    assert (violation["number"], violation["message"][:29]) == (24, "no action has the digest 0000")


@pytest.mark.parametrize(
    "path",
    ["/actions?limit=0", "/actions?limit=201", "/actions?before=0", "/actions?by=", "/actions?subject=x",
     "/actions?who=ann", "/verify?digest=abc", "/verify?more=1"],
)  # fmt: skip
async def test_a_wrong_question_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 422
