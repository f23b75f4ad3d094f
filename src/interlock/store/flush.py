"""Writes many changes at once, table by table; the hot path.

One statement per table and set of columns, executed for all its rows. The SQL is compiled once from
SQLAlchemy's statements and handed to the driver with rows that are already in its own types.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import compress, count
from operator import is_not
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from interlock.model.changes import Change, Record
from interlock.model.errors import Bug, InterlockError, NameTaken
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
from interlock.store import chain, tables
from interlock.store.codec import KEY_OF, MAPPED, VALUES_OF, Row, columns_of, row_function
from interlock.store.fields import Kind
from interlock.store.statements import compiled

Pair = tuple[Record | None, Record | None]

#: what refers comes after what it refers to; deleted the other way round
INSERT_ORDER: tuple[type, ...] = (
    EntityRecord,
    EntityRefRecord,
    ScheduleRecord,
    JobRecord,
    CommandRecord,
    TaskRecord,
    StepRecord,
    LeftoverRecord,
    LockRecord,
    TicketRecord,
    FormerRecord,
    LimitRecord,
    LimitUseRecord,
    LimitTicketRecord,
    SnapshotRecord,
    SignalRecord,
    EventRecord,
    ActionRecord,
)
#: how many rows an error names
NAMED_MAX = 5


class Conflict(InterlockError):
    """An entity was changed by another since it was read: `refs` are those of the statement that missed.
    The transaction must be rolled back."""

    def __init__(self, refs: Sequence[Ref[Any]]) -> None:
        named = ", ".join(str(ref) for ref in refs[:NAMED_MAX])
        super().__init__(
            f"{named}{' …' if len(refs) > NAMED_MAX else ''}: at least one has another version than was read "
            "by now; roll back and run the phase again on the fresh rows"
        )
        self.refs = tuple(refs)


def flush(connection: Connection, changes: Sequence[Change]) -> None:
    """Writes the changes in an order that satisfies foreign keys and unique names.

    Several changes of one row count as one. A row that is inserted may come in any order with its parents.
    Raises Conflict where an entity's version is not the old one, NameTaken for an entity's name, Bug for
    another row that is missing or a change of what cannot change; IntegrityError of SQLAlchemy for the
    constraints. After any of them the transaction must be rolled back.
    """
    work = _by_type(changes)
    writing = _Writing(connection)
    for record in reversed(INSERT_ORDER):
        if record in work:
            writing.delete(record, [old for old, new in work[record] if old is not None and new is None])
    if EntityRecord in work:  # before inserts: a name that one gives up another may take
        writing.update(EntityRecord, work[EntityRecord])
    for record in INSERT_ORDER:
        if record in work:
            writing.insert(record, [new for old, new in work[record] if old is None and new is not None])
    for record in INSERT_ORDER:
        if record in work and record is not EntityRecord:
            writing.update(record, work[record])


def _by_type(changes: Sequence[Change]) -> dict[type, Iterable[Pair]]:
    """Per record class, one pair per row."""
    work: dict[type, dict[Any, Pair]] = {}
    for change in changes:
        old, new = change.old, change.new
        one = new if new is not None else old
        if one is None:
            continue
        record = type(one)
        rows = work.get(record)
        if rows is None:
            rows = work[record] = {}
        key = KEY_OF[record](one)
        if key in rows:
            first, between = rows[key]
            _follows(between, old)
            old = first
        elif old is not None and new is not None and KEY_OF[record](old) != key:
            raise Bug(f"{record.__name__} {KEY_OF[record](old)} cannot become {key}: delete and insert it")
        rows[key] = (old, new)
    return {record: rows.values() for record, rows in work.items()}


def _follows(between: Record | None, old: Record | None) -> None:
    """Two changes of one row: the second must start where the first ended."""
    if isinstance(between, EntityRecord) and isinstance(old, EntityRecord):
        if between.version != old.version:
            raise Conflict([old.ref])
    elif (between is None) is not (old is None):
        raise Bug(f"two changes do not follow each other: {between} then {old}")


class _Writing:
    """One flush: a connection and the statements of its dialect."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect

    def insert(self, record: type, records: list[Record]) -> None:
        if not records:
            return
        if record is ActionRecord:
            self._insert_actions(records)
            return
        if record is CommandRecord or record is StepRecord:
            records = _parents_first(records)
        mapped = MAPPED[record]
        columns = columns_of(mapped.fields)
        row = row_function(record, tuple(("n", field.name) for field in mapped.fields), self._dialect.name)
        try:
            with self._surviving(record):
                self._execute(_insert(mapped.table, columns, self._dialect), [row(None, new) for new in records])
        except IntegrityError as error:
            self._explain(record, records, error)
            raise
        if mapped.refs_table is not None:
            self._insert_refs(mapped.refs_table, records)

    def _insert_actions(self, records: list[Any]) -> None:
        """Each follows the one before it, in the chain that chain.py keeps."""
        mapped = MAPPED[ActionRecord]
        columns = columns_of(mapped.fields)
        row = row_function(ActionRecord, tuple(("n", field.name) for field in mapped.fields), self._dialect.name)
        linked = list(chain.links(self._connection, records))
        rows = [(number, *row(None, new), digest) for new, (number, digest) in zip(records, linked, strict=True)]
        self._execute(_insert(mapped.table, ("number", *columns, "digest"), self._dialect), rows)
        chain.note_last(self._connection, linked[-1])

    def _insert_refs(self, table: Table, records: list[Any]) -> None:
        if self._dialect.name == "sqlite":
            rows: list[Row] = [
                (record.id.bytes, position, ref.type, ref.id.bytes)
                for record in records
                for position, ref in enumerate(record.refs)
            ]
        else:
            rows = [
                (record.id, position, ref.type, ref.id)
                for record in records
                for position, ref in enumerate(record.refs)
            ]
        if rows:
            self._execute(_insert(table, tuple(table.columns.keys()), self._dialect), rows)

    def delete(self, record: type, records: list[Record]) -> None:
        if not records:
            return
        mapped = MAPPED[record]
        if mapped.refs_table is not None:
            rows = [(record.id.bytes if self._dialect.name == "sqlite" else record.id,) for record in records]  # type: ignore[union-attr]
            owner = mapped.refs_table.columns.keys()[0]
            self._execute(_delete(mapped.refs_table, (owner,), self._dialect), rows)
        guard = ("version",) if record is EntityRecord else ()
        names = mapped.key + guard
        row = row_function(record, tuple(("o", name) for name in names), self._dialect.name)
        columns = _key_columns(record, names)
        done = self._execute(_delete(mapped.table, columns, self._dialect), [row(old, None) for old in records])
        if done != len(records):
            raise self._missing(record, records)

    def update(self, record: type, pairs: Iterable[Pair]) -> None:
        groups: dict[tuple[int, ...], list[tuple[Any, Any]]] = {}
        values = VALUES_OF[record]
        for old, new in pairs:
            if old is None or new is None or old is new:
                continue
            before, after = values(old), values(new)
            changed = tuple(compress(count(), map(is_not, before, after)))
            changed = tuple([index for index in changed if before[index] != after[index]])
            if changed:
                groups.setdefault(changed, []).append((old, new))
        for changed, group in groups.items():
            sql, row = _update(record, changed, self._dialect)
            try:
                with self._surviving(record):
                    done = self._execute(sql, [row(old, new) for old, new in group])
            except IntegrityError as error:
                self._explain(record, [new for _, new in group], error)
                raise
            if done != len(group):
                raise self._missing(record, [old for old, _ in group])

    def _surviving(self, record: type) -> AbstractContextManager[object]:
        """On PostgreSQL an error ends the transaction up to its last savepoint; that of a name is still to be
        explained by asking."""
        if record is EntityRecord and self._dialect.name == "postgresql":
            return self._connection.begin_nested()
        return nullcontext()

    def _execute(self, sql: str, rows: list[Row]) -> int:
        return self._connection.exec_driver_sql(sql, rows).rowcount

    def _missing(self, record: type, records: Sequence[Record]) -> InterlockError:
        """Why fewer rows were written than meant."""
        if record is EntityRecord:
            return Conflict([each.ref for each in records if isinstance(each, EntityRecord)])
        mapped, key = MAPPED[record], KEY_OF[record]
        named = ", ".join(str(key(each)) for each in records[:NAMED_MAX])
        return Bug(
            f"{mapped.table.name}: {len(records)} rows were to be written, at least one is gone ({named} …); "
            "roll back and load the flow again"
        )

    def _explain(self, record: type, records: Sequence[Any], error: IntegrityError) -> None:
        """Raises NameTaken where that is what a constraint's error means."""
        if record is not EntityRecord:
            return
        table = tables.entities
        seen: dict[tuple[str, str], Ref[Any]] = {}
        for new in records:
            if new.name is None:
                continue
            query = select(table.c.id).where(table.c.type == new.ref.type, table.c.name == new.name)
            other = self._connection.execute(query).scalar()
            taken = seen.setdefault((new.ref.type, new.name), new.ref) != new.ref
            if taken or (other is not None and other != new.ref.id):
                raise NameTaken(f"there is already a {new.ref.type} named {new.name!r}; choose another name") from error


def _parents_first(records: list[Any]) -> list[Any]:
    """The same rows, each after the one that it refers to as its parent."""
    waiting = {record.id: record for record in records}
    ordered: list[Any] = []
    for record in records:
        chain = []
        while record is not None and waiting.pop(record.id, None) is not None:
            chain.append(record)
            parent = record.parent_id if isinstance(record, CommandRecord) else record.parent_step_id
            record = waiting.get(parent)
        ordered.extend(reversed(chain))
    return ordered


def _key_columns(record: type, names: Sequence[str]) -> tuple[str, ...]:
    by_name = {field.name: field for field in MAPPED[record].fields}
    return columns_of([by_name[name] for name in names])


@lru_cache(maxsize=256)
def _insert(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    return compiled(insert(table).values({name: bindparam(name) for name in columns}), columns, dialect)


@lru_cache(maxsize=256)
def _delete(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    where = and_(*(table.c[name] == bindparam(f"is_{name}") for name in columns))
    return compiled(delete(table).where(where), tuple(f"is_{name}" for name in columns), dialect)


@lru_cache(maxsize=2048)
def _update(record: type, changed: tuple[int, ...], dialect: Dialect) -> tuple[str, Callable[..., Row]]:
    """The statement that writes those fields, and the function that makes its rows of old and new."""
    mapped = MAPPED[record]
    fields = [mapped.fields[index] for index in changed]
    fixed = [field.name for field in fields if field.kind is Kind.REFS]
    if fixed or record in (EventRecord, ActionRecord):
        raise Bug(f"{record.__name__}: {', '.join(fixed) or 'a line'} cannot be changed once it is written")
    names = mapped.key + (("version",) if record is EntityRecord else ())
    wanted, columns, table = columns_of(fields), _key_columns(record, names), mapped.table
    where = and_(*(table.c[name] == bindparam(f"is_{name}") for name in columns))
    statement = update(table).where(where).values({name: bindparam(f"to_{name}") for name in wanted})
    order = tuple(f"to_{name}" for name in wanted) + tuple(f"is_{name}" for name in columns)
    sources = [("n", field.name) for field in fields] + [("o", name) for name in names]
    return compiled(statement, order, dialect), row_function(record, tuple(sources), dialect.name)
