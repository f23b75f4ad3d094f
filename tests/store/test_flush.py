"""Flush and load: whole rows, in any order, with guards."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import IntegrityError

from interlock.model.changes import Change, Record
from interlock.model.errors import Bug, NameTaken
from interlock.model.records import EntityRecord, EventRecord, StepRecord
from interlock.model.refs import Ref
from interlock.model.states import State, StepStatus, TaskState
from interlock.store.codec import MAPPED, columns_of, row_function
from interlock.store.database import Database
from interlock.store.flush import Conflict
from interlock.store.queries import entities, flows
from interlock.store.queries.rows import with_refs
from tests.databases import DIALECTS
from tests.store.rows import (
    CHILD,
    CREATED,
    DISK,
    DONE,
    ENTITY_DISK,
    ENTITY_VM,
    EVENT,
    EVERYTHING,
    FLOW,
    FORMER,
    HELD_BACK,
    JOB,
    KEPT_LOCK,
    LEFT,
    LINK,
    LOCK,
    OTHER,
    OVER,
    PLACEHOLDER,
    PLAIN_EVENT,
    ROOT,
    SNAPSHOT,
    STEP,
    SUBSTEP,
    TICKET,
    USE,
    VM,
    stored,
    write,
)

WHOLE_FLOW = flows.FlowRows(
    JOB, (ROOT, DONE), (PLACEHOLDER, OVER), (STEP, SUBSTEP), (KEPT_LOCK, LOCK), (TICKET,), (SNAPSHOT, CREATED), (LEFT,),
    (FORMER,), (USE,), (HELD_BACK,),
)  # fmt: skip


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with stored(request.param, *EVERYTHING) as database:
        yield database


def all_events(database: Database) -> list[EventRecord]:
    table = MAPPED[EventRecord].table
    with database.reader() as reader:
        return with_refs(reader, EventRecord, select(table).order_by(table.c.id))


def loaded(database: Database) -> flows.FlowRows:
    with database.reader() as reader:
        (rows,) = flows.load(reader, [FLOW])
    return rows


def test_every_record_comes_back_whole(database: Database) -> None:
    assert loaded(database) == WHOLE_FLOW
    with database.reader() as reader:
        assert entities.get(reader, [VM, DISK, OTHER]) == {VM: ENTITY_VM, DISK: ENTITY_DISK}
        assert entities.refs_from(reader, [VM, DISK]) == [LINK]
    assert all_events(database) == [EVENT, PLAIN_EVENT]


@pytest.mark.parametrize("record", EVERYTHING, ids=lambda record: type(record).__name__)
def test_the_fast_rows_are_what_sqlalchemy_would_bind(database: Database, record: Record) -> None:
    """Codec and column types say the same thing twice: a row bound by SQLAlchemy reads the same as ours."""
    kind: type = type(record)
    mapped = MAPPED[kind]
    dialect = database.writer().dialect
    row = row_function(kind, tuple(("n", field.name) for field in mapped.fields), dialect.name)(None, record)
    columns = columns_of(mapped.fields)
    with database.reader() as reader:
        names = ", ".join(f'"{name}"' for name in columns)
        raw = {tuple(each) for each in reader.execute(text(f"SELECT {names} FROM {mapped.table.name}"))}
        converted = reader.execute(select(*(mapped.table.c[name] for name in columns))).all()
    processors = [mapped.table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]
    bound = {tuple(p(v) if p else v for p, v in zip(processors, each, strict=True)) for each in converted}
    assert row in raw
    assert {tuple(bytes(v) if isinstance(v, memoryview) else v for v in each) for each in bound} == raw


@pytest.mark.hard_case(16)
def test_an_update_writes_only_what_changed(database: Database) -> None:
    """Somebody else's change of another column survives."""
    with database.writer().begin():
        database.writer().execute(text("UPDATE job SET visible = TRUE, term = 7"))
    write(database, [Change(JOB, replace(JOB, progress=41, updated_at=10))])
    assert loaded(database).job == replace(JOB, progress=41, updated_at=10, visible=True, term=7)


def test_rows_with_different_changes_are_told_apart(database: Database) -> None:
    sent = replace(PLACEHOLDER, state=TaskState.POLLING, host_task_id="h2", sent_at=3)
    cleared = replace(OVER, state=TaskState.CLEARED)
    begun = replace(ROOT, state=State.EXECUTING, started_at=2, open=2, phase_ran=True)
    write(
        database,
        [Change(OVER, cleared), Change(ROOT, begun), Change(PLACEHOLDER, sent), Change(LOCK, None)],
    )
    assert loaded(database) == replace(WHOLE_FLOW, commands=(begun, DONE), tasks=(sent, cleared), locks=(KEPT_LOCK,))


def test_one_statement_per_table_and_set_of_columns(database: Database) -> None:
    """However many rows: what must never happen is a round trip per row."""
    steps = [
        StepRecord(UUID(int=n), FLOW, FLOW, "s", "part", n, StepStatus.PENDING, "ticket-42", refs=(VM, DISK))
        for n in range(1, 41)
    ]
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, _p: object, _x: object, _many: bool) -> None:
        seen.append(statement.split("(")[0].split(" SET ")[0].split(" WHERE ")[0].strip())

    event.listen(database.writer(), "before_cursor_execute", note)
    write(database, [Change(None, step) for step in steps])
    write(database, [Change(step, replace(step, progress=step.position)) for step in steps])
    begun = [replace(step, progress=step.position) for step in steps]
    write(database, [Change(step, None) for step in begun])
    assert [each for each in seen if each != "BEGIN IMMEDIATE"] == [
        "INSERT INTO step", "INSERT INTO step_subject_entity",
        "UPDATE step",
        "DELETE FROM step_subject_entity", "DELETE FROM step",
    ]  # fmt: skip


def test_several_changes_of_one_row_count_as_one(database: Database) -> None:
    second, third = replace(ENTITY_VM, version=4, name="web2"), replace(ENTITY_VM, version=5, status="up")
    brief = EntityRecord(OTHER, 1, 0, "brief", None, 1, "{}")
    write(
        database,
        [
            Change(ENTITY_VM, second),
            Change(None, brief),
            Change(second, third),
            Change(brief, replace(brief, version=2)),
            Change(replace(brief, version=2), None),
            Change(LINK, None),
            Change(None, LINK),
        ],
    )
    with database.reader() as reader:
        assert entities.get(reader, [VM, DISK, OTHER]) == {VM: third, DISK: ENTITY_DISK}
        assert entities.refs_from(reader, [VM]) == [LINK]


def test_a_name_is_free_again_in_the_transaction_that_gives_it_up(database: Database) -> None:
    taker = EntityRecord(Ref("vm", UUID(int=77)), 1, 0, "web1", None, 1, "{}")
    write(database, [Change(None, taker), Change(ENTITY_VM, replace(ENTITY_VM, version=4, name="old"))])
    with database.reader() as reader:
        assert entities.by_name(reader, "vm", "web1") == taker
        assert entities.by_name(reader, "vm", "old") == replace(ENTITY_VM, version=4, name="old")


@pytest.mark.hard_case(15)
@pytest.mark.parametrize("gone", [False, True], ids=["update", "delete"])
def test_a_stale_entity_is_a_conflict(database: Database, gone: bool) -> None:
    stale = replace(ENTITY_VM, version=2)
    write(database, [Change(LINK, None)])
    with pytest.raises(Conflict, match=f"{VM}: at least one has another version") as raised:
        write(database, [Change(stale, None if gone else replace(stale, version=3, status="up"))])
    assert raised.value.refs == (VM,)
    with database.reader() as reader:
        assert entities.versions(reader, [VM]) == {VM: (3, 1)}


@pytest.mark.hard_case(15)
def test_two_flows_that_read_the_same_version_conflict(database: Database) -> None:
    one, two = replace(ENTITY_VM, version=4, status="up"), replace(ENTITY_VM, version=4, status="gone")
    with pytest.raises(Conflict):
        write(database, [Change(ENTITY_VM, one), Change(ENTITY_VM, two)])


def test_a_missing_row_is_a_bug(database: Database) -> None:
    absent = replace(STEP, id=UUID(int=5))
    with pytest.raises(Bug, match="step: 1 rows were to be written, at least one is gone"):
        write(database, [Change(absent, replace(absent, progress=3))])
    with pytest.raises(Bug, match="entity_locks"):
        write(database, [Change(replace(LOCK, ref=OTHER), None)])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (JOB, replace(JOB, refs=(VM,)), "refs cannot be changed"),
        (EVENT, replace(EVENT, message="other"), "a line cannot be changed"),
        (LOCK, replace(LOCK, ref=OTHER), "delete and insert it"),
    ],
)
def test_what_cannot_change_is_a_bug(database: Database, old: Record, new: Record, words: str) -> None:
    with pytest.raises(Bug, match=words):
        write(database, [Change(old, new)])


def test_a_taken_name_is_said_by_name(database: Database) -> None:
    """Whether the other stands in the table or in the same transaction."""
    twin = EntityRecord(Ref("vm", UUID(int=77)), 1, 0, "web1", None, 1, "{}")
    with pytest.raises(NameTaken, match="already a vm named 'web1'"):
        write(database, [Change(None, twin)])
    pair = [replace(twin, ref=Ref("vm", UUID(int=n)), name="new") for n in (78, 79)]
    with pytest.raises(NameTaken, match="already a vm named 'new'"):
        write(database, [Change(None, each) for each in pair])
    renamed = replace(ENTITY_DISK, version=2, name="d")
    other = EntityRecord(OTHER, 1, 0, "d", None, 1, "{}")
    write(database, [Change(None, other)])
    with pytest.raises(NameTaken, match="already a disk named 'd'"):
        write(database, [Change(ENTITY_DISK, renamed)])


def test_names_may_be_missing_many_times(database: Database) -> None:
    nameless = EntityRecord(OTHER, 1, 0, None, None, 1, "{}")
    write(database, [Change(None, nameless)])
    with database.reader() as reader:
        assert entities.get(reader, [OTHER, DISK]) == {OTHER: nameless, DISK: ENTITY_DISK}


def test_an_idempotency_key_is_used_once(database: Database) -> None:
    second = replace(JOB, id=UUID(int=9))
    with pytest.raises(IntegrityError, match=r"job[._]idempotency_key"):
        write(database, [Change(None, second)])


@pytest.mark.hard_case(15)
def test_two_exclusive_holders_are_impossible(database: Database) -> None:
    other = replace(JOB, id=UUID(int=9), idempotency_key=None)
    root = replace(ROOT, id=other.id, flow_id=other.id)
    lock = replace(KEPT_LOCK, flow_id=other.id, command_id=other.id, leftover_id=None)
    with pytest.raises(IntegrityError, match=r"entity_locks\.ref_type|entity_locks_alone"):
        write(database, [Change(None, other), Change(None, root), Change(None, lock)])


def test_a_row_without_its_parent_is_refused_at_once(database: Database) -> None:
    orphan = replace(DONE, id=UUID(int=9), parent_id=UUID(int=10), undoes=None)
    with pytest.raises(IntegrityError, match=r"(?i)FOREIGN KEY"):
        write(database, [Change(None, orphan)])


def test_a_failed_flush_leaves_nothing(database: Database) -> None:
    with pytest.raises(Bug):
        write(database, [Change(JOB, replace(JOB, progress=99)), Change(replace(STEP, id=CHILD), None),
                         Change(replace(LOCK, ref=OTHER), None)])  # fmt: skip
    assert loaded(database) == WHOLE_FLOW


@pytest.mark.hard_case(18)
def test_events_have_a_global_number_that_only_grows(database: Database) -> None:
    log = MAPPED[EventRecord].table
    with database.writer().begin():
        database.writer().execute(text("DELETE FROM audit_log"))
        database.writer().execute(insert(log).values(dict(_columns(PLAIN_EVENT))))
        numbers = list(database.writer().scalars(select(log.c.id)))
    assert numbers == [3]


def _columns(event_: EventRecord) -> Iterator[tuple[str, object]]:
    for field in MAPPED[EventRecord].fields:
        yield field.name, getattr(event_, field.name)
