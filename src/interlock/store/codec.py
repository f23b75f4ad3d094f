"""How records become rows and back: functions generated once per record class and dialect.

The writing of rows is the hot path. The types of store/types.py say the same for statements that
SQLAlchemy binds itself; a test holds the two together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Table

from interlock.model.changes import Record
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
from interlock.model.refs import Ref
from interlock.model.schedules import ScheduleRecord
from interlock.store import tables
from interlock.store.fields import Field, Kind
from interlock.store.types import positions_text, refs_text

#: one row's parameters, in the order of the statement's placeholders
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Mapped:
    """A record class with its table; `key` are the fields that identify a row."""

    record: type
    table: Table
    key: tuple[str, ...]
    refs_table: Table | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        return tables.FIELDS[self.record]


MAPPED: Mapping[type, Mapped] = {
    mapped.record: mapped
    for mapped in (
        Mapped(JobRecord, tables.job, ("id",), tables.job_subject_entity),
        Mapped(CommandRecord, tables.command_entities, ("id",), tables.command_assoc_entities),
        Mapped(TaskRecord, tables.async_tasks, ("id",), tables.async_task_entities),
        Mapped(StepRecord, tables.step, ("id",), tables.step_subject_entity),
        Mapped(EventRecord, tables.audit_log, ("flow_id", "seq")),
        Mapped(ActionRecord, tables.actions, ("id",)),
        Mapped(ScheduleRecord, tables.schedules, ("id",)),
        Mapped(LeftoverRecord, tables.leftovers, ("id",)),
        Mapped(LockRecord, tables.entity_locks, ("ref", "flow_id")),
        Mapped(TicketRecord, tables.lock_tickets, ("command_id", "ref")),
        Mapped(FormerRecord, tables.job_formers, ("flow_id", "former_id")),
        Mapped(LimitRecord, tables.limits, ("key",)),
        Mapped(LimitUseRecord, tables.limit_uses, ("command_id", "key")),
        Mapped(LimitTicketRecord, tables.limit_tickets, ("command_id", "key")),
        Mapped(SignalRecord, tables.signals, ("id",)),
        Mapped(SnapshotRecord, tables.business_entity_snapshot, ("command_id", "ref")),
        Mapped(EntityRecord, tables.entities, ("ref",)),
        Mapped(EntityRefRecord, tables.entity_refs, ("origin", "field", "target")),
    )
}


def columns_of(fields: Sequence[Field]) -> tuple[str, ...]:
    """The columns of those fields, in order."""
    return tuple(column for field in fields for column, _ in field.columns)


@lru_cache(maxsize=4096)
def row_function(record: type, sources: tuple[tuple[str, str], ...], dialect: str) -> Callable[..., Row]:
    """A function of records to a row: `sources` are pairs of an argument and a field of it.

    The arguments are called `o` and `n` (the old record and the new one).
    """
    by_name = {field.name: field for field in tables.FIELDS[record]}
    parts = [text for argument, name in sources for text in _expressions(by_name[name], argument, dialect)]
    code = f"lambda o, n: ({''.join(part + ', ' for part in parts)})"
    function: Callable[..., Row] = eval(code, {"positions_text": positions_text, "refs_text": refs_text})
    return function


def _expressions(field: Field, argument: str, dialect: str) -> list[str]:
    """What to compute for each of a field's columns."""
    value = f"{argument}.{field.name}"
    sqlite = dialect == "sqlite"
    bytes_ = ".bytes" if sqlite else ""
    texts = {
        Kind.PLAIN: [value],
        Kind.FLAG: [f"+{value}" if sqlite else value],
        Kind.ID: [f"{value}{bytes_}"],
        Kind.WORD: [f"{value}._value_"],
        Kind.REF: [f"{value}.type", f"{value}.id{bytes_}"],
        Kind.REFS: [],
        Kind.REF_LIST: [f"refs_text({value})"],
        Kind.POSITIONS: [f"positions_text({value})"],
    }[field.kind]
    if field.nullable and field.kind is not Kind.PLAIN:
        return [f"None if {value} is None else {text}" for text in texts]
    return texts


#: what identifies a record's row, hashable
KEY_OF: Mapping[type, Callable[[Record], Any]] = {record: attrgetter(*mapped.key) for record, mapped in MAPPED.items()}
#: all fields of a record, in order
VALUES_OF: Mapping[type, Callable[[Record], Row]] = {
    record: attrgetter(*(field.name for field in mapped.fields)) for record, mapped in MAPPED.items()
}


def read(record: type, row: Mapping[str, Any], refs: tuple[Ref[Any], ...] = ()) -> Any:
    """A record from a row that SQLAlchemy has converted, and the refs of its association rows."""
    values: dict[str, Any] = {}
    for field in tables.FIELDS[record]:
        if field.kind is Kind.REFS:
            values[field.name] = refs
        elif field.kind is Kind.REF:
            kind, id = (row[column] for column, _ in field.columns)
            values[field.name] = None if kind is None else Ref(kind, id)
        else:
            values[field.name] = row[field.columns[0][0]]
    return record(**values)
