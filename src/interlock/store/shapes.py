"""How a record becomes a table: its columns, checks, and the associations of its refs."""

from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, MetaData, PrimaryKeyConstraint, Table, text
from sqlalchemy.schema import SchemaItem

from interlock.model.limits import LimitRecord, LimitTicketRecord, LimitUseRecord
from interlock.model.records import (
    ActionRecord,
    CommandRecord,
    EntityRecord,
    EntityRefRecord,
    EventRecord,
    FormerRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    SignalRecord,
    SnapshotRecord,
    StepRecord,
    TaskRecord,
    TicketRecord,
)
from interlock.model.schedules import ScheduleRecord
from interlock.store.fields import Field, fields_of
from interlock.store.types import Id, Text

metadata = MetaData()

#: the fields of each record class, as they are kept
FIELDS: dict[type, tuple[Field, ...]] = {
    record: fields_of(record) for record in (JobRecord, CommandRecord, TaskRecord, StepRecord, EventRecord)
} | {
    LockRecord: fields_of(LockRecord),
    TicketRecord: fields_of(TicketRecord),
    FormerRecord: fields_of(FormerRecord),
    LimitRecord: fields_of(LimitRecord),
    LimitUseRecord: fields_of(LimitUseRecord),
    LimitTicketRecord: fields_of(LimitTicketRecord),
    SignalRecord: fields_of(SignalRecord),
    ActionRecord: fields_of(ActionRecord),
    ScheduleRecord: fields_of(ScheduleRecord),
    SnapshotRecord: fields_of(SnapshotRecord),
    LeftoverRecord: fields_of(LeftoverRecord, refs_inside=True),
    EntityRecord: fields_of(EntityRecord, bare_ref=True),
    EntityRefRecord: fields_of(EntityRefRecord),
}


def table_of(
    name: str,
    record: type,
    *items: SchemaItem,
    key: tuple[str, ...],
    checks: dict[str, str] | None = None,
    foreign: dict[str, str] | None = None,
    **options: Any,
) -> Table:
    """The table of a record; `checks` by name, `foreign` from column to the column referred to."""
    columns = [
        Column(
            column,
            kind,
            *([ForeignKey(foreign[column])] if foreign and column in foreign else []),
            nullable=field.nullable,
        )
        for field in FIELDS[record]
        for column, kind in field.columns
    ]
    words = {field.name: _one_of(field.name, field.words) for field in FIELDS[record] if field.words}
    constraints = [
        CheckConstraint(condition, name=f"{name}_{rule}") for rule, condition in {**words, **(checks or {})}.items()
    ]
    primary = [PrimaryKeyConstraint(*key)] if key else []
    return Table(name, metadata, *columns, *primary, *constraints, *items, **options)


def _one_of(column: str, words: tuple[str, ...]) -> str:
    """A chain of comparisons: SQLite checks it several times quicker than an IN list, which it builds anew."""
    return " OR ".join(f"{column} = '{word}'" for word in words)


def refs_table(name: str, owner: str, owner_column: str) -> Table:
    """Which entities a row concerns, in their order."""
    return Table(
        name,
        metadata,
        Column(owner_column, Id(), ForeignKey(f"{owner}.id"), nullable=False),
        Column("position", Integer(), nullable=False),
        Column("entity_type", Text(), nullable=False),
        Column("entity_id", Id(), nullable=False),
        PrimaryKeyConstraint(owner_column, "position"),
        Index(f"{name}_by_entity", "entity_type", "entity_id", owner_column),
        sqlite_with_rowid=False,
    )


def where(condition: str) -> dict[str, Any]:
    """A partial index's condition, for both dialects."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
