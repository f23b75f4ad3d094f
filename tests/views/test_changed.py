"""What has changed since a cursor, from rows made by hand."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from interlock.model.changes import Change
from interlock.model.errors import InvalidInput
from interlock.store.database import Database
from interlock.views import changed
from tests.databases import DIALECTS, empty_url
from tests.views import picture
from tests.views.test_views import FAILED_SUMMARY, RUNNING_SUMMARY


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with empty_url(request.param) as url, picture.paint(url) as opened:
        yield opened


def test_jobs_of_one_commit_come_page_by_page(database: Database) -> None:
    """All of the picture have one number, that of what was there before numbers were given; 0 lists them too."""
    numbered = [replace(each, change_no=7) for each in (picture.failed_job, picture.running_job)]
    for old, new in zip((picture.failed_job, picture.running_job), numbered, strict=True):
        picture.change(database, Change(old, new))
    with database.reader() as connection:
        first = changed.jobs(connection, "0", limit=1)
        second = changed.jobs(connection, first["next"], limit=1)
        third = changed.jobs(connection, second["next"], limit=1)
        assert first == {"jobs": [{**FAILED_SUMMARY, "visible": True}], "next": f"7.{picture.FAILED_JOB.hex}"}
        assert second == {"jobs": [{**RUNNING_SUMMARY, "visible": True}], "next": f"7.{picture.RUNNING_JOB.hex}"}
        assert third == {"jobs": [], "next": second["next"]}
        assert changed.jobs(connection, changed.NOW)["next"] == changed.cursor_at(7)
    picture.change(database, Change(numbered[0], replace(numbered[0], visible=False, change_no=8)))
    with database.reader() as connection:
        again = changed.jobs(connection, second["next"])
        assert again == {
            "jobs": [{**FAILED_SUMMARY, "visible": False}],
            "next": f"8.{picture.FAILED_JOB.hex}",
        }


def test_what_was_there_before_numbers_were_given_is_listed_too(database: Database) -> None:
    with database.reader() as connection:
        assert len(changed.jobs(connection, "0")["jobs"]) == 2


@pytest.mark.parametrize("wrong", ["", "x", "-1", "1.2", "1.", f"{1 << 63}", "1" * 30, "00", f"1.{UUID(int=1)}"])
def test_another_text_is_no_cursor(database: Database, wrong: str) -> None:
    with database.reader() as connection, pytest.raises(InvalidInput, match="is no cursor; take the former answer"):
        changed.jobs(connection, wrong)


def test_events_of_all_jobs_come_in_the_order_of_the_log(database: Database) -> None:
    with database.reader() as connection:
        assert changed.newest_event(connection) == 5
        found = changed.events(connection, 3, limit=1)
        assert found == {
            "events": [
                {
                    "number": 4, "job_id": str(picture.RUNNING_JOB), "seq": 2, "at": "2026-01-01T00:00:11.000000Z",
                    "severity": "info", "kind": "step_started", "message": "DELETE_IMAGE started", "user": None,
                    "command_id": str(picture.CHILD), "task_id": None,
                }
            ],
            "next": 4,
        }  # fmt: skip
        assert changed.events(connection, 5) == {"events": [], "next": 5}


@pytest.mark.parametrize("limit", [0, changed.PAGE_MAX + 1])
def test_a_page_has_bounds(database: Database, limit: int) -> None:
    with database.reader() as connection:
        with pytest.raises(ValueError, match="limit"):
            changed.jobs(connection, "0", limit=limit)
        with pytest.raises(ValueError, match="limit"):
            changed.events(connection, 0, limit=limit)
