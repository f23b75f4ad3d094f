"""Each check finds what it looks for, and nothing where all is well."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from interlock.invariants import OF_A_FLOW, OF_ALL, Violation, check
from interlock.invariants.checking import TOLD_MAX
from interlock.model.changes import Change
from interlock.store.database import Database
from interlock.store.flush import flush
from interlock.store.tables import metadata
from interlock.store.triggers import SQLITE_TRIGGERS
from tests.databases import DIALECTS, empty_url, for_dialect, postgres
from tests.invariants.healthy import (
    BAD,
    DISK,
    DONE,
    FAILED,
    FIRST,
    GOOD,
    GOOD_TASK,
    LOST,
    OPEN,
    POLLED,
    RUNNING,
    SECOND,
    UNDO_TASK,
    UNDOING,
    VM,
    healthy,
    submitted,
)
from tests.invariants.planted_actions import PLANTED_ACTIONS

WAITING = UUID(int=0xC3)
NOBODY = UUID(int=0xFF)


def hex_of(id: UUID) -> str:
    return f"x'{id.hex}'"


def row(table: str, id: UUID, change: str) -> str:
    return f"UPDATE {table} SET {change} WHERE id = {hex_of(id)}"


LOST_SUCCEEDED = row("async_tasks", LOST, "outcome = 'SUCCEEDED', progress = 100")

#: what is planted, and all that must then be said
PLANTED: list[tuple[str, list[tuple[int, str]]]] = [
    (
        row("command_entities", RUNNING, "result = 'FAILED'"),
        [(2, f"command {RUNNING} is EXECUTING with result FAILED and end time None")],
    ),
    (
        row("async_tasks", POLLED, "ended_at = 7"),
        [(2, f"task {POLLED} is Polling with outcome None and end time 7")],
    ),
    (
        f"INSERT INTO job_formers VALUES ({hex_of(OPEN)}, {hex_of(NOBODY)}, 'ended', NULL)",
        [
            (13, f"job {OPEN} comes after job {NOBODY}, which is gone"),
            (13, f"job {OPEN} has begun but comes after job {NOBODY}, of whose end it was not told"),
        ],
    ),
    (
        row("command_entities", WAITING, "ended_seq = 1"),
        [(3, f"command {WAITING} is PENDING and has place 1 in the order of ends")],
    ),
    (
        row("command_entities", SECOND, "ended_seq = 1"),
        [(3, f"2 commands of flow {GOOD} have place 1 in the order of ends")],
    ),
    (
        f"UPDATE audit_log SET kind = 'job_ended' WHERE flow_id = {hex_of(GOOD)}",
        [(3, f"the end of job {GOOD} is told 2 times in its events")],
    ),
    (
        f"UPDATE audit_log SET kind = 'job_ended' WHERE flow_id = {hex_of(OPEN)}",
        [(3, f"the end of job {OPEN} is told 1 times in its events")],
    ),
    (
        row("async_tasks", UNDO_TASK, "state = 'Polling', outcome = NULL, ended_at = NULL, progress = 9"),
        [
            (4, f"command {BAD} has ended and its task {UNDO_TASK} is Polling"),
        ],
    ),
    (
        "; ".join(
            (
                row(
                    "command_entities",
                    RUNNING,
                    "state = 'ENDED', result = 'CANCELLED', ended_at = 9, ended_seq = 1, open = 0",
                ),
                row("command_entities", OPEN, "open = 1"),
                row("step", RUNNING, "status = 'ABORTED'"),
            )
        ),
        [
            (4, f"command {RUNNING} has ended and its task {POLLED} is Polling"),
            (5, f"command {RUNNING} counts 0 open parts and has 1"),
        ],
    ),
    (row("command_entities", OPEN, "open = 0"), [(5, f"command {OPEN} counts 0 open parts and has 2")]),
    (row("command_entities", WAITING, "open = 3"), [(5, f"command {WAITING} counts 3 open parts and has 0")]),
    (
        row("command_entities", OPEN, "stopping = 'enough'"),
        [
            (16, f"command {OPEN} is being stopped and its child {RUNNING} is EXECUTING, and is not"),
            (16, f"command {OPEN} is being stopped and its child {WAITING} is PENDING, and is not"),
        ],
    ),
    (
        row("command_entities", RUNNING, "stopping = 'enough'"),
        [(16, f"command {RUNNING} is being stopped and its task {POLLED} is Polling, and is not")],
    ),
    (
        row("command_entities", OPEN, "state = 'FINALIZING'"),
        [(5, f"command {OPEN} counts 2 open parts and has 0")],
    ),
    (
        row("async_tasks", GOOD_TASK, "outcome = 'FAILED'"),
        [(6, f"command {FIRST} succeeded and its task {GOOD_TASK} did not")],
    ),
    (
        row("command_entities", SECOND, "result = 'CANCELLED'"),
        [(6, f"command {GOOD} succeeded and its child {SECOND} did not")],
    ),
    (
        LOST_SUCCEEDED,
        [(6, f"command {FAILED} failed and all of its parts succeeded")],
    ),
    (
        f"INSERT INTO entity_locks VALUES ('vm', {hex_of(VM.id)}, {hex_of(BAD)}, 'shared', {hex_of(FAILED)}, 2, "
        f"{hex_of(LOST)}, 'command')",
        [(10, f"{VM} is held exclusive by flow {OPEN} and shared by flow {BAD}")],
    ),
    (
        f"UPDATE entity_locks SET leftover_id = NULL WHERE flow_id = {hex_of(BAD)}",
        [(11, f"{DISK} is held by flow {BAD}, which has ended")],
    ),
    (
        "; ".join(
            (
                f"UPDATE entity_locks SET scope = 'execution', command_id = {hex_of(FIRST)}, "
                f"flow_id = {hex_of(GOOD)} WHERE flow_id = {hex_of(OPEN)}",
                row("command_entities", FIRST, "phase = 'end_successfully'"),
            )
        ),
        [
            (11, f"{VM} is held by flow {GOOD}, which has ended"),
            (11, f"{VM} is held for the execution of command {FIRST}, which is over"),
        ],
    ),
    (
        row("leftovers", LOST, "cleared_at = 9"),
        [(11, f"{DISK} is held for leftover {LOST}, which is cleared")],
    ),
    (
        row("command_entities", WAITING, "state = 'EXECUTING'"),
        [(13, f"command {WAITING} is EXECUTING but comes after {RUNNING}, which has not succeeded")],
    ),
    (
        row("command_entities", SECOND, "\"after\" = '[7]'"),
        [(13, f"command {SECOND} comes after position 7, where there is nothing")],
    ),
    (
        row("command_entities", FIRST, "ended_seq = 9"),
        [(13, f"command {SECOND} ended before {FIRST}, which it comes after")],
    ),
    (
        row("command_entities", FAILED, "undo = 'done'"),
        [(14, f"command {FAILED} is undone (done) and its result is FAILED")],
    ),
    (
        row("command_entities", FIRST, "undo = 'done'"),
        [(14, f"command {FIRST} is undone (done) and nothing above it failed")],
    ),
    (
        row("command_entities", FAILED, "result = 'SUCCEEDED'") + "; " + LOST_SUCCEEDED,
        [
            (6, f"command {BAD} failed and all of its parts succeeded"),
            (14, f"command {DONE} is undone before {FAILED}, which ended later"),
        ],
    ),
    (
        "; ".join(
            (
                row("command_entities", FAILED, "result = 'SUCCEEDED', undo = 'done'"),
                row("command_entities", DONE, "undo = NULL"),
                LOST_SUCCEEDED,
            )
        ),
        [
            (6, f"command {BAD} failed and all of its parts succeeded"),
            (14, f"command {DONE} is not said to be undone, and {UNDOING} undoes it"),
            (14, f"command {DONE} is not said to be undone, and {UNDO_TASK} undoes it"),
            (14, f"command {BAD} has compensated but left {DONE}, which had completed"),
        ],
    ),
    (
        f"UPDATE audit_log SET task_id = {hex_of(NOBODY)} WHERE flow_id = {hex_of(OPEN)}",
        [(18, f"audit_log names async_tasks {NOBODY}, which does not exist")],
    ),
    (
        row("leftovers", LOST, f"task_id = {hex_of(NOBODY)}"),
        [
            (17, f"task {LOST} ended LOST (no result), and no leftover says so"),
            (18, f"leftovers names async_tasks {NOBODY}, which does not exist"),
        ],
    ),
    (
        row("command_entities", FAILED, "superseded = TRUE"),
        [
            (6, f"command {BAD} failed and all of its parts succeeded"),
            (17, f"command {FAILED} was tried again, and left leftover {LOST}"),
        ],
    ),
    (
        f"UPDATE command_assoc_entities SET command_id = {hex_of(NOBODY)} WHERE command_id = {hex_of(FIRST)}",
        [(18, f"command_assoc_entities names command_entities {NOBODY}, which does not exist")],
    ),
    (
        f"UPDATE entity_refs SET origin_id = {hex_of(NOBODY)}",
        [(18, f"entity_refs names entities vm {NOBODY}, which does not exist")],
    ),
    (
        f'INSERT INTO job SELECT {hex_of(NOBODY)}, action, title, status, correlation_id, "user", parameters_json, '
        "started_at, updated_at, ended_at, result, progress, NULL, NULL, 1, 0, 0, NULL, TRUE, 0, NULL, NULL, NULL, 0 "
        f"FROM job WHERE id = {hex_of(OPEN)}",
        [(18, f"job {NOBODY} has no command")],
    ),
    (
        f"UPDATE business_entity_snapshot SET flow_id = {hex_of(GOOD)}",
        [(18, f"business_entity_snapshot has a row of flow {GOOD} for command {OPEN} of flow {OPEN}")],
    ),
    (
        row("command_entities", WAITING, f"flow_id = {hex_of(GOOD)}, correlation_id = 'ticket-{GOOD.int}'"),
        [
            (5, f"command {OPEN} counts 2 open parts and has 1"),
            (18, f"command {WAITING} of flow {GOOD} has a parent of flow {OPEN}"),
        ],
    ),
    (
        row("job", OPEN, "result = 'FAILED'"),
        [(19, f"job {OPEN} shows result FAILED and end time None, its command is EXECUTING None")],
    ),
    (row("job", GOOD, "status = 'ABORTED'"), [(19, f"job {GOOD} is ABORTED, its command ended SUCCEEDED")]),
    (
        row("step", BAD, "status = 'STARTED', ended_at = NULL"),
        [(19, f"step {BAD} is STARTED and its job {BAD} has ended")],
    ),
    (
        row("step", RUNNING, "status = 'FAILED'"),
        [(19, f"step {RUNNING} is FAILED, what it shows is EXECUTING")],
    ),
    (row("job", OPEN, "progress = 101"), [(20, f"job {OPEN} shows a progress of 101")]),
    (row("async_tasks", POLLED, "progress = -1"), [(20, f"async_tasks {POLLED} shows a progress of -1")]),
    (row("step", FIRST, "progress = 99"), [(20, f"step {FIRST} shows a progress of 99")]),
    (
        f"DELETE FROM audit_log WHERE flow_id = {hex_of(BAD)} AND seq = 2",
        [(21, f"job {BAD} counts 3 events; there are 2, the last numbered 3")],
    ),
    (row("job", OPEN, "events = 2"), [(21, f"job {OPEN} counts 2 events; there are 1, the last numbered 1")]),
    (
        f"UPDATE audit_log SET id = 999 WHERE flow_id = {hex_of(GOOD)} AND seq = 1",
        [(21, f"event 2 of flow {GOOD} stands in the log before the one that precedes it")],
    ),
    *(
        (
            row(table, id, "correlation_id = 'other'"),
            [(22, f"{table} {id} bears correlation id 'other', its job {flow} bears 'ticket-{flow.int}'")],
        )
        for table, id, flow in (
            ("command_entities", FIRST, GOOD),
            ("async_tasks", POLLED, OPEN),
            ("step", RUNNING, OPEN),
            ("leftovers", LOST, BAD),
        )
    ),
    (
        f"UPDATE audit_log SET correlation_id = 'other' WHERE flow_id = {hex_of(OPEN)}",
        [(22, f"audit_log 6 bears correlation id 'other', its job {OPEN} bears 'ticket-{OPEN.int}'")],
    ),
]


@pytest.fixture(scope="module", params=DIALECTS)
def unguarded(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A healthy database whose own guards are down, so that violations can be planted; nobody uses it afterwards."""
    is_sqlite = request.param == "sqlite"
    with healthy("sqlite://" if is_sqlite else postgres().server.url(postgres().new())) as database:
        if is_sqlite:
            _unguard_sqlite(database.writer())
        else:
            _unguard_postgresql(database.writer())
        yield database


def _unguard_sqlite(writer: Connection) -> None:
    with writer.begin():
        for name in SQLITE_TRIGGERS:
            writer.execute(text(f"DROP TRIGGER {name}"))
    driver: Any = writer.connection.dbapi_connection
    for pragma in ("foreign_keys = OFF", "ignore_check_constraints = ON"):
        driver.execute(f"PRAGMA {pragma}").close()


def _unguard_postgresql(writer: Connection) -> None:
    constraints = (
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype IN ('c', 'f')"
        " AND connamespace = 'public'::regnamespace"
    )
    with writer.begin():
        for table in metadata.sorted_tables:
            writer.execute(text(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER'))
        for name, constraint in writer.execute(text(constraints)).all():
            writer.execute(text(f"ALTER TABLE {name} DROP CONSTRAINT {constraint}"))


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with empty_url(request.param) as url:
        yield url


def test_a_healthy_database_has_none(url: str) -> None:
    with healthy(url) as database, database.reader() as reader:
        assert check(reader) == []


def test_an_empty_database_has_none(url: str) -> None:
    with Database.open(url) as database, database.reader() as reader:
        assert check(reader) == []


@pytest.mark.parametrize(("statements", "said"), PLANTED + PLANTED_ACTIONS)
def test_what_is_planted_is_found(unguarded: Database, statements: str, said: list[tuple[int, str]]) -> None:
    writer = unguarded.writer()
    with writer.begin() as transaction:
        for statement in statements.split("; "):
            writer.execute(text(for_dialect(writer.dialect.name, statement)))
        found = check(writer)
        transaction.rollback()
    assert found == [Violation(number, message) for number, message in said]


def test_a_digest_that_was_noted_elsewhere_must_still_be_there(unguarded: Database) -> None:
    writer = unguarded.writer()
    with writer.begin() as transaction:
        noted = writer.scalar(text("SELECT digest FROM actions WHERE number = 2"))
        assert check(writer, noted_digest=noted) == []
        writer.execute(text("DELETE FROM actions"))
        writer.execute(text("DELETE FROM actions_head"))
        flush(writer, [Change(None, submitted(id)) for id in (GOOD, OPEN, BAD)])  # a chain that is whole, and another
        words = f"no action has the digest {noted}: what was written up to it has been changed since"
        assert check(writer, noted_digest=noted) == [Violation(24, words)]
        transaction.rollback()


def test_every_check_has_a_violation_planted() -> None:
    assert {number for number, _, _ in (*OF_A_FLOW, *OF_ALL)} == {
        number for _, said in PLANTED + PLANTED_ACTIONS for number, _ in said
    }


def test_a_flood_is_told_in_part(unguarded: Database) -> None:
    writer = unguarded.writer()
    with writer.begin() as transaction:
        columns = "correlation_id, flow_id, at, severity, kind, message"
        count = f"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {TOLD_MAX + 50})"
        writer.execute(
            text(
                f"{count} INSERT INTO audit_log ({columns}, seq) "
                f"SELECT 'other', flow_id, at, severity, kind, message, i FROM audit_log, n "
                + for_dialect(writer.dialect.name, f"WHERE flow_id = {hex_of(OPEN)}")
            )
        )
        writer.execute(text(for_dialect(writer.dialect.name, row("job", OPEN, f"events = {TOLD_MAX + 50}"))))
        found = check(writer)
        transaction.rollback()
    assert [violation.number for violation in found] == [22] * TOLD_MAX
