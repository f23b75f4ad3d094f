"""The ceiling: what SQLite alone can do with the same rows, written by hand with nothing to decide.

Nobody who keeps these rows in this file can be faster; what lies between is the price of the coordinator.
"""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from bench.runs import Measured, Stopwatch, timing
from bench.workload import drive, opened
from interlock.store.database import Database

#: commands per transaction of the hand-written batches
BATCH = 256
#: the tables of a flow, in an order that satisfies foreign keys, with the column that names the flow
TABLES = {
    "job": "id",
    "command_entities": "flow_id",
    "async_tasks": "flow_id",
    "step": "job_id",
    "audit_log": "flow_id",
}
FINAL_PROMISES = "none: each command's last rows, once, 256 commands to a transaction; a crash before it loses all"
REPLAY_PROMISES = "none: the statements and commits that the coordinator made for these commands, with nothing decided"

#: a statement for the driver: its text, and its rows; a commit has neither
Step = tuple[str, list[Any]] | None


@dataclass
class _Recorder:
    """Remembers what the writer's thread hands to the driver."""

    steps: list[Step] = field(default_factory=list)

    def executed(
        self, _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if threading.current_thread().name == "interlock-writer":
            self.steps.append((statement, list(parameters) if many else [parameters]))

    def committed(self, _connection: Connection) -> None:
        if threading.current_thread().name == "interlock-writer":
            self.steps.append(None)


async def measure(folder: Path, commands: int, runs: int) -> list[Measured]:
    """Runs the commands once to have their rows and statements, then writes them by hand, several times."""
    recorder, source = _Recorder(), folder / "source.db"
    async with opened(source) as coordinator:
        event.listen(Engine, "before_cursor_execute", recorder.executed)
        event.listen(Engine, "commit", recorder.committed)
        try:
            done = await drive(coordinator, commands)
        finally:
            event.remove(Engine, "before_cursor_execute", recorder.executed)
            event.remove(Engine, "commit", recorder.committed)
    batches = _batches(source)
    return [
        _repeat(folder, "sqlite3, last rows", FINAL_PROMISES, done, runs, lambda new: _insert(new, batches)),
        _repeat(folder, "sqlite3, replayed", REPLAY_PROMISES, done, runs, lambda new: _replay(new, recorder.steps)),
    ]


def _repeat(
    folder: Path, name: str, promises: str, commands: int, runs: int, write: Callable[[sqlite3.Connection], None]
) -> Measured:
    watch = Stopwatch(commands)
    for number in range(runs):
        connection = _fresh(folder / f"{name.replace(', ', '-').replace(' ', '-')}-{number}.db")
        try:
            with timing(watch):
                write(connection)
        finally:
            connection.close()
    return Measured(name, promises, tuple(watch.runs))


def _fresh(path: Path) -> sqlite3.Connection:
    """An empty database with the coordinator's own schema, indexes and triggers, and its own settings."""
    Database.open(f"sqlite:///{path}").close()
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    return connection


def _batches(source: Path) -> list[list[tuple[str, list[Any]]]]:
    """Per transaction: a statement and its rows for each table."""
    connection = sqlite3.connect(source)
    try:
        flows = [row[0] for row in connection.execute("SELECT id FROM job ORDER BY id")]
        rows = {table: _rows_by_flow(connection, table, column) for table, column in TABLES.items()}
    finally:
        connection.close()
    return [
        [
            (f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", [row for flow in some for row in by_flow[flow]])
            for table, (width, by_flow) in rows.items()
        ]
        for some in (flows[start : start + BATCH] for start in range(0, len(flows), BATCH))
    ]


def _rows_by_flow(
    connection: sqlite3.Connection, table: str, column: str
) -> tuple[int, dict[bytes, list[tuple[Any, ...]]]]:
    """How wide the table is, and its rows by flow."""
    cursor = connection.execute(f"SELECT * FROM {table}")
    place = [each[0] for each in cursor.description].index(column)
    found: dict[bytes, list[tuple[Any, ...]]] = {}
    for row in cursor:
        found.setdefault(row[place], []).append(row)
    return len(cursor.description), found


def _insert(connection: sqlite3.Connection, batches: list[list[tuple[str, list[Any]]]]) -> None:
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        for statement, rows in batch:
            connection.executemany(statement, rows)
        connection.execute("COMMIT")


def _replay(connection: sqlite3.Connection, steps: list[Step]) -> None:
    for step in steps:
        if step is None:
            connection.execute("COMMIT")
        elif len(step[1]) == 1:
            connection.execute(step[0], step[1][0])
        else:
            connection.executemany(*step)
