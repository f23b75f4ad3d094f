"""The database itself refuses illegal moves, whoever writes: every pair of states, by plain SQL."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from interlock.model.records import CommandRecord, TaskRecord
from interlock.model.states import (
    COMMAND_MOVES,
    TASK_MOVES,
    Outcome,
    Result,
    State,
    TaskState,
    row_moves,
)
from interlock.store.database import Database
from tests.databases import DIALECTS
from tests.store.rows import JOB, PLACEHOLDER, ROOT, insert, stored

COMMAND_PAIRS = [(a, b) for a in State for b in State if a is not b]
TASK_PAIRS = [(a, b) for a in TaskState for b in TaskState if a is not b]
TASK_OVER = (TaskState.ENDED, TaskState.CLEAR_FAILED, TaskState.CLEARED)


@pytest.fixture(scope="module", params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with stored(request.param, JOB) as database:
        yield database


def command_in(state: State) -> CommandRecord:
    if state is not State.ENDED:
        return replace(ROOT, state=state)
    return replace(ROOT, state=state, result=Result.FAILED, ended_at=5)


def task_in(state: TaskState) -> TaskRecord:
    if state not in TASK_OVER:
        return replace(PLACEHOLDER, state=state)
    return replace(PLACEHOLDER, state=state, outcome=Outcome.SUCCEEDED, ended_at=5)


def run(database: Database, *statements: str) -> int:
    """Executes plain SQL and undoes it; returns how many rows the last statement changed."""
    writer = database.writer()
    changed = 0
    with writer.begin() as transaction:
        for statement in statements:
            changed = writer.execute(text(statement)).rowcount
        transaction.rollback()
    return changed


@pytest.fixture(autouse=True)
def empty(database: Database) -> Iterator[None]:
    yield
    with database.writer().begin():
        for table in ("async_tasks", "command_assoc_entities", "command_entities"):
            database.writer().execute(text(f"DELETE FROM {table}"))


@pytest.mark.parametrize(("origin", "target"), COMMAND_PAIRS)
def test_a_command_moves_only_as_the_table_says(database: Database, origin: State, target: State) -> None:
    insert(database, [command_in(origin)])
    end = "result = 'FAILED', ended_at = 5" if target is State.ENDED else "result = result"
    move = f"UPDATE command_entities SET state = '{target}', {end}"
    if (origin, target) in row_moves(COMMAND_MOVES):
        assert run(database, move) == 1
    else:
        with pytest.raises(IntegrityError, match=f"a command cannot go from {origin} to {target}"):
            run(database, move)


@pytest.mark.parametrize(("origin", "target"), TASK_PAIRS)
def test_a_task_moves_only_as_the_table_says(database: Database, origin: TaskState, target: TaskState) -> None:
    insert(database, [command_in(State.EXECUTING), task_in(origin)])
    over = target in TASK_OVER and origin not in TASK_OVER
    end = "outcome = 'SUCCEEDED', ended_at = 5" if over else "outcome = outcome"
    move = f"UPDATE async_tasks SET state = '{target}', {end}"
    if (origin, target) in row_moves(TASK_MOVES):
        assert run(database, move) == 1
    else:
        with pytest.raises(IntegrityError, match=f"a task cannot go from {origin} to {target}"):
            run(database, move)


@pytest.mark.parametrize("state", State)
def test_a_command_may_be_written_again_where_it_stands(database: Database, state: State) -> None:
    insert(database, [command_in(state)])
    assert run(database, f"UPDATE command_entities SET state = '{state}', attempts = 3") == 1


@pytest.mark.parametrize("change", ["result = 'SUCCEEDED'", "ended_at = 6"])
def test_the_end_of_a_command_stays(database: Database, change: str) -> None:
    insert(database, [command_in(State.ENDED)])
    with pytest.raises(IntegrityError, match="the end of a command cannot be changed"):
        run(database, f"UPDATE command_entities SET {change}")
    assert run(database, "UPDATE command_entities SET has_leftovers = TRUE") == 1


@pytest.mark.parametrize("state", TASK_OVER)
@pytest.mark.parametrize("change", ["outcome = 'FAILED'", "ended_at = 6"])
def test_the_outcome_of_a_task_stays(database: Database, state: TaskState, change: str) -> None:
    insert(database, [command_in(State.EXECUTING), task_in(state)])
    with pytest.raises(IntegrityError, match="the end of a task cannot be changed"):
        run(database, f"UPDATE async_tasks SET {change}")
    assert run(database, "UPDATE async_tasks SET message = 'x'") == 1
