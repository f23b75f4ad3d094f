"""A database of very many jobs that have ended, with their commands, tasks, steps and events: written in bulk."""

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Dialect
from sqlalchemy.schema import CreateIndex

from interlock.model.changes import Record
from interlock.model.records import (
    CommandRecord,
    EntityRecord,
    EventRecord,
    JobRecord,
    Role,
    Severity,
    StepRecord,
    TaskRecord,
)
from interlock.model.refs import Ref
from interlock.model.states import Outcome, Result, State, StepStatus, TaskState
from interlock.store.codec import MAPPED, Row, columns_of, row_function
from interlock.store.tables import metadata

#: what each job has; 1 of each except these
STEPS, EVENTS = 2, 4
#: jobs written at a time
CHUNK = 20_000
VMS, HOSTS = 20_000, 50
YEAR_US = 365 * 86_400 * 1_000_000
#: shares of how jobs end; what is left has succeeded
FAILED_SHARE, CANCELLED_SHARE = 0.03, 0.01
#: jobs that have not ended
OPEN_JOBS = 200
ACTIONS = (
    "vm.start", "vm.stop", "disk.backup", "disk.copy", "vm.migrate", "snapshot.add", "snapshot.remove", "disk.move",
    "vm.add", "vm.remove", "template.create", "host.maintenance",
)  # fmt: skip
#: most jobs are a machine's; people share the rest
USERS = ("nightly", *(f"user{n}" for n in range(40)))


@dataclass(frozen=True)
class Site:
    """What the jobs are about; the same for the same seed."""

    now: int
    jobs: int
    random: random.Random

    @property
    def vms(self) -> list[EntityRecord]:
        return [_entity("vm", 1, n, f"{'web' if n % 4 else 'db'}{n}", "UP") for n in range(VMS)]

    @property
    def hosts(self) -> list[EntityRecord]:
        return [_entity("host", 2, n, f"h{n}", "UP") for n in range(HOSTS)]


def _entity(type: str, space: int, number: int, name: str, status: str) -> EntityRecord:
    return EntityRecord(Ref(type, UUID(int=space << 64 | number)), 1, 0, name, status, 1, f'{{"name":"{name}"}}')


def records(site: Site) -> Iterator[list[Record]]:
    """All rows, chunk by chunk, the oldest first."""
    vms, hosts = site.vms, site.hosts
    yield [*vms, *hosts]
    for start in range(0, site.jobs, CHUNK):
        chunk: list[Record] = []
        for number in range(start, min(start + CHUNK, site.jobs)):
            chunk += _job(site, number, site.random.choice(vms), site.random.choice(hosts))
        yield chunk


def _job(site: Site, number: int, vm: EntityRecord, host: EntityRecord) -> list[Record]:
    chance, at = site.random.random(), site.now - YEAR_US + YEAR_US * (number + 1) // (site.jobs + 1)
    id, took = _id(at, number, 0), round(site.random.expovariate(1 / 60) * 1e6)
    is_open = number >= site.jobs - OPEN_JOBS
    result, status = Result.SUCCEEDED, StepStatus.FINISHED
    if chance < FAILED_SHARE:
        result, status = Result.FAILED, StepStatus.FAILED
    elif chance < FAILED_SHARE + CANCELLED_SHARE:
        result, status = Result.CANCELLED, StepStatus.ABORTED
    if is_open:
        status = StepStatus.STARTED
    over = None if is_open else at + took
    ended: dict[str, Any] = {} if is_open else {"ended_at": over, "result": result}
    action = ACTIONS[min(int(site.random.expovariate(0.4)), len(ACTIONS) - 1)]
    user = USERS[0] if site.random.random() < 0.4 else site.random.choice(USERS[1:])
    title, correlation, refs = f"{action} {vm.name}", f"ticket-{number * 2 // 3}", (vm.ref,)
    step_status = StepStatus.STARTED if is_open else status
    executing, task = _id(at, number, 1), _id(at, number, 2)
    loud = Severity.ERROR if result is Result.FAILED else Severity.INFO
    rows: list[Record] = [
        JobRecord(id, action, title, status, correlation, user, "{}", refs, at, over or at, progress=100, events=EVENTS,
                  attention="it cannot go on" if is_open and number % 20 == 0 else None, change_no=number + 1, **ended),
        CommandRecord(id, id, None, correlation, action, 1, "{}", refs, title, 0, Role.FORWARD, action, 0, (), None, 1,
                      False, at, state=State.EXECUTING if is_open else State.ENDED, started_at=at, **ended),
        StepRecord(executing, id, None, "EXECUTING", "Executing", 1, step_status, correlation, started_at=at,
                   ended_at=over),
        StepRecord(task, id, executing, "WORK", title, 0, step_status, correlation, started_at=at, ended_at=over),
        EventRecord(id, 1, at, Severity.INFO, "job_accepted", title, correlation, user),
        EventRecord(id, 2, at, Severity.INFO, "step_started", f"WORK started: {title}", correlation),
        EventRecord(id, 3, at + took, loud, "step_ended", f"WORK ended: {title}", correlation),
        EventRecord(id, 4, at + took, loud, "task_stalled" if number % 1000 == 0 else "job_ended", title, correlation),
    ]  # fmt: skip
    outcome = Outcome.SUCCEEDED if result is Result.SUCCEEDED else Outcome.FAILED
    rows.append(
        TaskRecord(task, id, id, correlation, Role.FORWARD, None, 0, host.ref, "Volume.copy", "{}", refs, True, True,
                   None, 1, False, at, TaskState.POLLING if is_open else TaskState.CLEARED,
                   None if is_open else outcome, "j", str(task), sent_at=at, ended_at=over)
    )  # fmt: skip
    return rows


def _id(at: int, number: int, part: int) -> UUID:
    """Ordered by time, as real ones are."""
    return UUID(int=(at // 1000) << 80 | 7 << 76 | 2 << 62 | number << 8 | part)


def _rows(chunk: Sequence[Record], dialect: str) -> dict[str, tuple[tuple[str, ...], list[Row]]]:
    """Per table its columns, and the rows as the driver takes them."""
    found: dict[str, tuple[tuple[str, ...], list[Row]]] = {}
    by_class: dict[type, list[Any]] = {}
    for record in chunk:
        by_class.setdefault(type(record), []).append(record)
    for cls, mapped in MAPPED.items():
        listed = by_class.get(cls, [])
        row = row_function(cls, tuple(("n", field.name) for field in mapped.fields), dialect)
        found[mapped.table.name] = columns_of(mapped.fields), [row(None, record) for record in listed]
        if mapped.refs_table is not None:
            found[mapped.refs_table.name] = (
                tuple(mapped.refs_table.columns.keys()),
                [(each.id, position, ref.type, ref.id) for each in listed for position, ref in enumerate(each.refs)],
            )
            if dialect == "sqlite":
                columns, rows = found[mapped.refs_table.name]
                found[mapped.refs_table.name] = columns, [(a.bytes, b, c, d.bytes) for a, b, c, d in rows]
    return found


def _indexes(dialect: Dialect) -> dict[str, str]:
    """Each index by its name, with the statement that makes it."""
    return {
        str(index.name): str(CreateIndex(index).compile(dialect=dialect))
        for table in metadata.sorted_tables
        for index in table.indexes
    }


def fill_sqlite(path: Path, site: Site, dialect: Dialect) -> None:
    """Fills a database that has the schema; indexes are made at the end, which is quicker."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        for name in _indexes(dialect):
            connection.execute(f"DROP INDEX {name}")
        for chunk in records(site):
            connection.execute("BEGIN")
            for table, (columns, rows) in _rows(chunk, "sqlite").items():
                names, places = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
                connection.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({places})', rows)
            connection.execute("COMMIT")
        for statement in _indexes(dialect).values():
            connection.execute(statement)
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill_postgresql(url: str, site: Site, dialect: Dialect) -> None:
    """As `fill_sqlite`; `url` is a superuser's, whose foreign keys can be left unchecked."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '256MB'")
        for name in _indexes(dialect):
            connection.execute(f"DROP INDEX {name}")
        for chunk in records(site):
            with connection.transaction():
                for table, (columns, rows) in _rows(chunk, "postgresql").items():
                    names = ", ".join(f'"{name}"' for name in columns)
                    with connection.cursor().copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
                        for row in rows:
                            copy.write_row(row)
        for statement in _indexes(dialect).values():
            connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
