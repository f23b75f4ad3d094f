"""Which index answers which query: asked of either database, for each that the planner of queries relies on."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event

from interlock.store.database import Database
from interlock.views.search import commands, entities, events, jobs, searching, steps
from interlock.views.search.sources import Collection
from tests.databases import DIALECTS, empty_url
from tests.views import crowd, picture

ID = "00000000-0000-0000-0000-000000000001"
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}
#: on a table of few rows PostgreSQL would read all of it, or sort
SETTINGS = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort")

QUERIES: tuple[tuple[Collection, str, str], ...] = (
    (jobs.JOBS, "", "job_by_start"),
    (jobs.JOBS, 'started > "2 hours ago" and progress > 5', "job_by_start"),
    (jobs.JOBS, "sortby ended", "job_by_end"),
    (jobs.JOBS, "ended > yesterday sortby ended desc", "job_by_end"),
    (jobs.JOBS, "status = failed", "job_by_status"),
    (jobs.JOBS, "result = cancelled", "job_by_status"),
    (jobs.JOBS, "status = pending", "job_unfinished"),
    (jobs.JOBS, "attention is set", "job_unfinished"),
    (jobs.JOBS, "user = ann and title = *x*", "job_by_user"),
    (jobs.JOBS, "action = vm.remove", "job_by_action"),
    (jobs.JOBS, "correlation_id = c", "job_by_correlation"),
    (jobs.JOBS, f"restart_of = {ID}", "job_by_origin"),
    (jobs.JOBS, "title = Remove*", "job_by_title"),
    (jobs.JOBS, "vm.name = web1", "job_subject_entity_by_entity"),
    (jobs.JOBS, "host = h1", "async_tasks_by_host"),
    (events.EVENTS, "", "audit_log_by_time"),
    (events.EVENTS, "kind = task_stalled", "audit_log_by_kind"),
    (events.EVENTS, "severity = error", "audit_log_by_severity"),
    (steps.STEPS, "status = failed", "step_by_status"),
    (steps.STEPS, f"job = {ID}", "step_by_job"),
    (commands.COMMANDS, "result = failed", "command_entities_by_result"),
    (commands.COMMANDS, "state = pending", "command_entities_unfinished"),
    (entities.of_type("vm"), "disk.name = d1", "entity_refs_by_target"),
)


@pytest.fixture(params=DIALECTS, scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with empty_url(request.param) as url, picture.paint(url) as opened:
        host = next(each for each in crowd.HOSTS if each.name == "h1")
        picture.write(opened, host)
        yield opened


def plans(connection: Connection, collection: Collection, query: str) -> str:
    """How the database carries out the statements of a search."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        seen.append((statement, values))

    event.listen(connection, "before_cursor_execute", note)
    searching.page(connection, searching.Search(collection, query, crowd.TYPES, crowd.NOW), limit=2)
    event.remove(connection, "before_cursor_execute", note)
    words = EXPLAIN[connection.dialect.name]
    found = [connection.exec_driver_sql(words + statement, values) for statement, values in seen]
    return "\n".join(" ".join(map(str, row)) for rows in found for row in rows)


@pytest.mark.parametrize(("collection", "query", "index"), QUERIES, ids=[query or c.name for c, query, _ in QUERIES])
def test_an_index_serves_it(database: Database, collection: Collection, query: str, index: str) -> None:
    with database.reader() as connection:
        if connection.dialect.name == "postgresql":
            for setting in SETTINGS:
                connection.exec_driver_sql(f"SET {setting} = off")
        told = plans(connection, collection, query)
    assert index in told
    assert f"SCAN {collection.table.name}\n" not in told
    assert "TEMP B-TREE FOR ORDER BY" not in told
