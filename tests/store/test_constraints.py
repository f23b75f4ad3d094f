"""CHECK constraints: what no row may say, whoever writes it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from interlock.store.database import Database
from tests.databases import DIALECTS
from tests.store.rows import EVERYTHING, stored

IMPOSSIBLE = [
    ("command_entities_state", "UPDATE command_entities SET state = 'ODD' WHERE state = 'PENDING'"),
    (
        "command_entities_result",
        "UPDATE command_entities SET state = 'ENDED', result = 'ODD', ended_at = 1 WHERE result IS NULL",
    ),
    ("command_entities_role", "UPDATE command_entities SET role = 'odd'"),
    ("command_entities_undo", "UPDATE command_entities SET undo = 'odd' WHERE undo = 'done'"),
    ("command_entities_phase", "UPDATE command_entities SET phase = 'odd'"),
    ("command_entities_has_result", "UPDATE command_entities SET result = 'FAILED' WHERE state = 'PENDING'"),
    ("command_entities_has_result", "UPDATE command_entities SET state = 'ENDED', ended_at = 1"),
    ("command_entities_has_end", "UPDATE command_entities SET ended_at = 5 WHERE state = 'PENDING'"),
    ("command_entities_root", "UPDATE command_entities SET parent_id = NULL"),
    ("command_entities_root", "UPDATE command_entities SET parent_id = id WHERE parent_id IS NULL"),
    ("command_entities_undone", "UPDATE command_entities SET undo = 'done' WHERE state = 'PENDING'"),
    ("command_entities_counters", "UPDATE command_entities SET open = -1"),
    ("command_entities_counters", "UPDATE command_entities SET attempts = -1"),
    ("command_entities_weight_positive", "UPDATE command_entities SET weight = 0"),
    ("async_tasks_state", "UPDATE async_tasks SET state = 'ODD' WHERE state = 'Initializing'"),
    (
        "async_tasks_outcome",
        "UPDATE async_tasks SET state = 'Ended', outcome = 'ODD', ended_at = 1 WHERE outcome IS NULL",
    ),
    ("async_tasks_has_outcome", "UPDATE async_tasks SET outcome = 'FAILED' WHERE outcome IS NULL"),
    ("async_tasks_has_outcome", "UPDATE async_tasks SET state = 'Ended', ended_at = 1 WHERE outcome IS NULL"),
    ("async_tasks_has_end", "UPDATE async_tasks SET ended_at = 5 WHERE outcome IS NULL"),
    ("async_tasks_host", "UPDATE async_tasks SET host_id = NULL WHERE host_id IS NOT NULL"),
    ("async_tasks_progress", "UPDATE async_tasks SET progress = 101"),
    ("async_tasks_progress", "UPDATE async_tasks SET progress = -1"),
    ("job_status", "UPDATE job SET status = 'ODD'"),
    ("job_ended", "UPDATE job SET ended_at = NULL"),
    ("job_ended", "UPDATE job SET result = NULL"),
    ("job_shown", "UPDATE job SET status = 'STARTED'"),
    ("job_progress", "UPDATE job SET progress = 101"),
    ("job_counters", "UPDATE job SET term = 0"),
    ("step_status", "UPDATE step SET status = 'ODD'"),
    ("step_shown", "UPDATE step SET status = 'PENDING' WHERE ended_at IS NOT NULL"),
    ("step_progress", "UPDATE step SET progress = 101"),
    ("audit_log_severity", "UPDATE audit_log SET severity = 'loud'"),
    ("audit_log_counted", "UPDATE audit_log SET seq = 0 WHERE seq = 1"),
    ("leftovers_cleared", "UPDATE leftovers SET cleared_at = NULL"),
    ("entity_locks_mode", "UPDATE entity_locks SET mode = 'odd'"),
    ("entities_counters", "UPDATE entities SET version = -1"),
    ("engines_counters", "INSERT INTO engines VALUES ((SELECT id FROM job), 0, 0, 1, NULL, 'h', 1, NULL)"),
]


@pytest.fixture(scope="module", params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with stored(request.param, *EVERYTHING) as database:
        yield database


@pytest.mark.parametrize(("name", "statement"), IMPOSSIBLE)
def test_it_is_refused(database: Database, name: str, statement: str) -> None:
    with database.writer().begin() as transaction:
        with pytest.raises(IntegrityError, match=rf'constraint (failed: |"){name}["\n]'):
            database.writer().execute(text(statement))
        transaction.rollback()
