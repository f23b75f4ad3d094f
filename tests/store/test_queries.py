"""What the writer, the recovery and the phases read."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection, select, text

from interlock.model.changes import Change
from interlock.model.errors import Bug
from interlock.model.records import EntityRecord, EntityRefRecord, SignalRecord
from interlock.model.refs import Ref
from interlock.model.states import Result, State, StepStatus, TaskState
from interlock.store.database import Database
from interlock.store.queries import deadlines, engines, entities, flows, jobs, leftovers, locks, signals, tasks
from interlock.store.queries.rows import PIECE
from interlock.store.statements import execute
from interlock.store.tables import engines as engines_table
from interlock.store.tables import job
from tests.databases import DIALECTS
from tests.store.rows import (
    DISK,
    ENTITY_DISK,
    ENTITY_VM,
    EVERYTHING,
    FLOW,
    HOST,
    JOB,
    KEPT_LOCK,
    LEFT,
    LINK,
    LOCK,
    OTHER,
    OVER,
    PLACEHOLDER,
    ROOT,
    VM,
    insert,
    stored,
    write,
)

ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with stored(request.param, *EVERYTHING) as database:
        yield database


@pytest.fixture
def sqlite_database() -> Iterator[Database]:
    with stored("sqlite", *EVERYTHING) as database:
        yield database


def test_a_new_engine_ends_the_old_ones_and_is_fenced_by_its_epoch(database: Database) -> None:
    writer = database.writer()
    with writer.begin():
        assert engines.register(writer, ONE, 10, "a", 100) == 1
        assert engines.begin_batch(writer, ONE, 1, 0, 11)
        assert engines.begin_batch(writer, ONE, 1, 1, 12)
        assert engines.register(writer, TWO, 20, "b", 200) == 2
        rows = writer.execute(select(engines_table).order_by(engines_table.c.epoch)).all()
    assert rows == [(ONE, 1, 2, 10, 20, "a", 100, 12), (TWO, 2, 0, 20, None, "b", 200, 20)]


@pytest.mark.hard_case(11)
@pytest.mark.parametrize(("engine", "epoch", "seq"), [(ONE, 1, 0), (TWO, 1, 0), (TWO, 2, 1), (UUID(int=9), 2, 0)])
def test_a_batch_of_another_begins_nothing(database: Database, engine: UUID, epoch: int, seq: int) -> None:
    writer = database.writer()
    with writer.begin():
        engines.register(writer, ONE, 10, "a", 100)
        engines.register(writer, TWO, 20, "b", 200)
        before = writer.execute(text("SELECT * FROM engines")).all()
        assert not engines.begin_batch(writer, engine, epoch, seq, 21)
        assert writer.execute(text("SELECT * FROM engines")).all() == before


def test_an_engine_that_stopped_begins_nothing(database: Database) -> None:
    writer = database.writer()
    with writer.begin():
        engines.register(writer, ONE, 10, "a", 100)
        engines.end(writer, ONE, 11)
        engines.end(writer, ONE, 12)
        assert not engines.begin_batch(writer, ONE, 1, 0, 13)
        assert writer.execute(text("SELECT ended_at FROM engines")).all() == [(11,)]


def test_who_was_seen_last_is_the_latest_engine(database: Database) -> None:
    writer = database.writer()
    with writer.begin():
        assert engines.last_seen(writer) is None
        engines.register(writer, TWO, 30, "a", 100)
        engines.register(writer, ONE, 20, "b", 200)  # the clock was set back meanwhile
        assert engines.last_seen(writer) == 20
        engines.begin_batch(writer, ONE, 2, 0, 21)
        assert engines.last_seen(writer) == 21
        engines.end(writer, ONE, 22)
        assert engines.last_seen(writer) == 22


def test_the_deadlines_of_what_has_not_ended_are_moved(database: Database) -> None:
    job = replace(JOB, id=ONE, ended_at=None, result=None, status=StepStatus.STARTED, idempotency_key=None)
    root = replace(
        ROOT, id=ONE, flow_id=ONE, state=State.EXECUTING, result=None, ended_at=None, ended_seq=None, deadline_at=50
    )
    over = replace(
        root, id=TWO, parent_id=ONE, depth=1, state=State.ENDED, result=Result.SUCCEEDED, ended_at=9, ended_seq=1
    )
    free = replace(root, id=UUID(int=3), parent_id=ONE, depth=1, position=1, deadline_at=None)
    waiting = replace(PLACEHOLDER, id=UUID(int=4), flow_id=ONE, command_id=ONE, undoes=None, deadline_at=60)
    done = replace(OVER, id=UUID(int=5), flow_id=ONE, command_id=ONE, undoes=None, deadline_at=60)
    insert(database, [job, root, over, free, waiting, done])
    writer = database.writer()
    with writer.begin():
        deadlines.move(writer, -7)
    with database.reader() as reader:
        [rows] = flows.load(reader, [ONE])
    assert {row.id: row for row in rows.commands} == {ONE: replace(root, deadline_at=43), TWO: over, free.id: free}
    assert {row.id: row for row in rows.tasks} == {waiting.id: replace(waiting, deadline_at=53), done.id: done}


def test_unfinished_flows_come_oldest_first(database: Database) -> None:
    young, old = (
        replace(JOB, id=id, started_at=at, ended_at=None, result=None, status=StepStatus.STARTED,
                idempotency_key=None)
        for id, at in ((ONE, 7), (TWO, 6))
    )  # fmt: skip
    insert(database, [young, old])
    with database.reader() as reader:
        assert flows.unfinished(reader) == [TWO, ONE]
        assert flows.load(reader, [ONE, UUID(int=99), TWO]) == [
            flows.FlowRows(each, *[()] * 10) for each in (young, old)
        ]


def test_flows_are_loaded_in_pieces(database: Database) -> None:
    many = [replace(JOB, id=UUID(int=n), idempotency_key=None) for n in range(1000, 1000 + PIECE + 3)]
    insert(database, many)
    with database.reader() as reader:
        assert [rows.job for rows in flows.load(reader, [job.id for job in many])] == many


def test_what_hosts_may_still_remember(database: Database) -> None:
    """Ended with a host and not cleared, of flows that have ended; and every clearing that failed."""
    ended = replace(OVER, id=ONE, state=TaskState.ENDED, ended_at=4)
    hostless = replace(ended, id=TWO, host=None)
    running = replace(JOB, id=UUID(int=3), ended_at=None, result=None, status=StepStatus.STARTED, idempotency_key=None)
    root = replace(ROOT, id=running.id, flow_id=running.id)
    later = replace(ended, id=UUID(int=4), flow_id=running.id, command_id=running.id, undoes=None)
    failed = replace(later, id=UUID(int=5), state=TaskState.CLEAR_FAILED, ended_at=9)
    cleared = replace(ended, id=UUID(int=6), state=TaskState.CLEARED)
    insert(database, [ended, hostless, running, root, later, failed, cleared])
    with database.reader() as reader:
        assert flows.uncleared(reader, 10) == [ended, OVER, failed]
        assert flows.uncleared(reader, 2) == [ended, OVER]


def test_entities_by_name_and_by_what_they_refer_to(database: Database) -> None:
    second = EntityRecord(Ref("vm", UUID(int=0x10)), 1, 0, "web2", None, 1, "{}")
    insert(database, [second, EntityRefRecord(second.ref, "disks", DISK), EntityRefRecord(VM, "boot", DISK)])
    with database.reader() as reader:
        assert entities.by_name(reader, "vm", "web1") == ENTITY_VM
        assert entities.by_name(reader, "disk", "web1") is None
        assert entities.referring(reader, "vm", "disks", DISK) == [second, ENTITY_VM]
        assert entities.referring(reader, "vm", "boot", DISK) == [ENTITY_VM]
        assert entities.referring(reader, "disk", "disks", DISK) == []
        assert entities.versions(reader, [DISK, VM, OTHER]) == {VM: (3, 1), DISK: (1, 0)}
        assert entities.refs_from(reader, [VM, DISK]) == [EntityRefRecord(VM, "boot", DISK), LINK]


def test_the_same_id_under_another_type_is_another_entity(database: Database) -> None:
    twin = EntityRecord(Ref("disk", VM.id), 8, 0, None, None, 1, "{}")
    insert(database, [twin])
    with database.reader() as reader:
        assert entities.get(reader, [VM, twin.ref]) == {VM: ENTITY_VM, twin.ref: twin}
        assert entities.versions(reader, [twin.ref]) == {twin.ref: (8, 0)}


def test_many_refs_are_asked_in_pieces(database: Database) -> None:
    absent: list[Ref[Any]] = [Ref("vm", UUID(int=n)) for n in range(5000, 5000 + 2 * PIECE)]
    with database.reader() as reader:
        assert entities.get(reader, [*absent, VM, DISK, VM]) == {VM: ENTITY_VM, DISK: ENTITY_DISK}
        assert entities.get(reader, []) == {}
        assert locks.on(reader, [*absent, VM]) == [locks.HeldLock(LOCK, JOB.title, None)]


def test_locks_name_their_holder_and_the_leftover(database: Database) -> None:
    with database.reader() as reader:
        assert locks.on(reader, [VM, DISK, OTHER]) == [
            locks.HeldLock(KEPT_LOCK, JOB.title, LEFT.reason),
            locks.HeldLock(LOCK, JOB.title, None),
        ]


def test_who_works_on_an_entity(database: Database) -> None:
    with database.reader() as reader:
        assert tasks.unfinished_on(reader, [OTHER, *PLACEHOLDER.refs]) == [
            tasks.TaskOnRef(ref, FLOW, PLACEHOLDER.method, JOB.title)
            for ref in sorted(PLACEHOLDER.refs, key=lambda ref: ref.type)
        ]
        assert OVER.outcome is not None


def test_a_job_by_its_key(database: Database) -> None:
    with database.reader() as reader:
        assert jobs.by_key(reader, "once") == JOB
        assert jobs.by_key(reader, "twice") is None


def test_a_row_that_changed_is_read_as_it_is_now(database: Database) -> None:
    sent = replace(PLACEHOLDER, state=TaskState.POLLING, sent_at=4)
    write(database, [Change(PLACEHOLDER, sent)])
    with database.reader() as reader:
        (rows,) = flows.load(reader, [FLOW])
    assert rows.tasks == (sent, OVER)


def test_links_are_counted_once_for_each_entity(database: Database) -> None:
    with database.writer().begin():
        entities.raise_links(database.writer(), [VM, DISK, VM, OTHER])
        entities.raise_links(database.writer(), [])
    with database.reader() as reader:
        assert entities.get(reader, [VM, DISK]) == {
            VM: replace(ENTITY_VM, links=2),
            DISK: replace(ENTITY_DISK, links=1),
        }


def test_a_statement_with_a_value_of_its_own_is_not_run_without_it(database: Database) -> None:
    statement = select(job).where(job.c.term == 1)
    with database.reader() as reader, pytest.raises(Bug, match=r"term_1.*bind them by name"):
        execute(reader, statement, {})


@pytest.mark.parametrize(
    ("ask", "wanted"),
    [
        (lambda reader: flows.unfinished(reader), {"SCAN job USING INDEX job_unfinished"}),
        (
            lambda reader: entities.referring(reader, "vm", "disks", DISK),
            {
                "SEARCH entities USING INDEX sqlite_autoindex_entities_1 (type=? AND id=?)",
                "SEARCH entity_refs USING COVERING INDEX entity_refs_by_target "
                "(target_type=? AND target_id=? AND origin_type=? AND field=?)",
            },
        ),
        (
            lambda reader: entities.by_name(reader, "vm", "web1"),
            {"SEARCH entities USING INDEX sqlite_autoindex_entities_2 (type=? AND name=?)"},
        ),
        (
            lambda reader: signals.about(reader, "tick", None, 5, 5, FLOW),
            {
                "SEARCH signals USING INDEX signals_to_all (kind=? AND about_type=? AND about_id=? AND number>?)",
                "SEARCH signals USING INDEX signals_to_job "
                "(job_id=? AND kind=? AND about_type=? AND about_id=? AND number>?)",
            },
        ),
        (
            lambda reader: signals.about(reader, "tick", HOST, 5, 5, FLOW),
            {
                "SEARCH signals USING INDEX signals_to_all (kind=? AND about_type=? AND about_id=? AND number>?)",
                "SEARCH signals USING INDEX signals_to_job "
                "(job_id=? AND kind=? AND about_type=? AND about_id=? AND number>?)",
            },
        ),
        (lambda reader: signals.last_number(reader), {"SEARCH signals"}),
        (
            lambda reader: tasks.unfinished_on(reader, [VM]),
            {
                "SEARCH async_task_entities USING COVERING INDEX async_task_entities_by_entity "
                "(entity_type=? AND entity_id=?)",
                "SEARCH async_tasks USING INDEX sqlite_autoindex_async_tasks_1 (id=?)",
                "SEARCH job USING INDEX sqlite_autoindex_job_1 (id=?)",
            },
        ),
    ],
)
def test_no_query_walks_through_a_whole_table(
    sqlite_database: Database, ask: Callable[[Connection], object], wanted: set[str]
) -> None:
    """However long the history: what is asked often is found by an index that holds little else."""
    asked: list[str] = []
    with sqlite_database.reader() as reader:
        driver: Any = reader.connection.dbapi_connection
        driver.set_trace_callback(asked.append)
        ask(reader)
        driver.set_trace_callback(None)
        plans = [driver.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in asked if sql.startswith("SELECT")]
    assert {row[3] for plan in plans for row in plan if row[3] != "LIST SUBQUERY 1"} == wanted


@pytest.mark.parametrize(
    "ask",
    [
        lambda reader: flows.unfinished(reader),
        lambda reader: flows.load(reader, [FLOW]),
        lambda reader: entities.get(reader, [VM, DISK]),
        lambda reader: entities.versions(reader, [VM]),
        lambda reader: entities.by_name(reader, "vm", "web1"),
        lambda reader: entities.referring(reader, "vm", "disks", DISK),
        lambda reader: entities.refs_from(reader, [VM]),
        lambda reader: locks.on(reader, [VM, DISK]),
        lambda reader: jobs.by_key(reader, "once"),
        lambda reader: jobs.by_id(reader, FLOW),
        lambda reader: jobs.root_of(reader, FLOW),
        lambda reader: leftovers.flow_of(reader, LEFT.id),
        lambda reader: signals.about(reader, "tick", HOST, 5, 5, FLOW),
        lambda reader: signals.by_id(reader, FLOW),
        lambda reader: tasks.unfinished_on(reader, [VM, DISK]),
    ],
    ids=[
        "unfinished", "load", "get", "versions", "by_name", "referring", "refs_from", "locks", "by_key", "by_id",
        "root_of", "leftover", "signals", "signal", "unfinished_on",
    ],
)  # fmt: skip
def test_no_query_walks_through_a_whole_table_of_postgresql(ask: Callable[[Connection], object]) -> None:
    """As far as it has a choice: with sequential scans priced out, each scan is by an index and a condition."""
    asked: list[tuple[Any, Any]] = []

    class Noting(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            asked.append((query, params))
            return super().execute(query, params, **options)

    with stored("postgresql", *EVERYTHING) as database, database.reader() as reader:
        driver: Any = reader.connection.dbapi_connection
        driver.execute("SET enable_seqscan = off")
        driver.cursor_factory = Noting
        ask(reader)
        driver.cursor_factory = psycopg.Cursor
        plans = [
            driver.execute(f"EXPLAIN (FORMAT JSON) {query}", params).fetchone()[0][0]["Plan"]
            for query, params in asked
            if query.startswith("SELECT")
        ]
    scans = [node for plan in plans for node in nodes(plan) if node["Node Type"].endswith("Scan")]
    assert scans
    for scan in scans:
        assert "Index Cond" in scan or scan.get("Index Name") == "job_unfinished" or "Plans" in scan, scan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, from the top."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_signals_are_found_by_what_they_are_about_and_to_whom(database: Database) -> None:
    rows = [
        SignalRecord(UUID(int=number), kind, about, job_id, "{}", "", 1, taken_by)
        for number, (kind, about, job_id, taken_by) in enumerate(
            [("a", None, None, None), ("a", HOST, None, None), ("b", None, None, None), ("a", None, FLOW, None),
             ("a", None, FLOW, VM.id), ("a", None, VM.id, None), ("a", None, None, None)], 1,
        )
    ]  # fmt: skip
    insert(database, rows)
    with database.reader() as reader:
        first = signals.last_number(reader) - len(rows) + 1

        def found(about: Ref[Any] | None, begun_after: int, passed: int, job_id: UUID) -> list[int]:
            return [row.id.int for _, row in signals.about(reader, "a", about, begun_after, passed, job_id)]

        assert found(None, 0, 0, FLOW) == [1, 4, 7]
        assert found(None, first, 0, FLOW) == [4, 7]
        assert found(None, first, first + 3, FLOW) == [7]
        assert found(HOST, 0, 0, VM.id) == [2]
        assert signals.by_id(reader, rows[3].id) == rows[3]
        assert signals.by_id(reader, FLOW) is None
