"""Counts what a command costs the database: statements, rows, commits."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from bench.workload import drive, opened

#: how statements are told apart: by their first word
KINDS = {
    "INSERT": "write",
    "UPDATE": "write",
    "DELETE": "write",
    "SELECT": "read",
    "BEGIN": "transaction",
    "SAVEPOINT": "transaction",
    "RELEASE": "transaction",
    "ROLLBACK": "transaction",
}


@dataclass(frozen=True)
class Counts:
    """Per command. A statement executed for many rows at once counts as one; `rows_written` counts the rows."""

    commands: int
    statements: float
    writes: float
    reads: float
    transaction_statements: float
    rows_written: float
    commits: float
    #: rows written per command, by verb and table
    rows_by_table: dict[str, float]


class _Counter:
    """Listens to every connection of the process; statements come from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.kinds: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.commits = 0

    def executed(
        self, _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        words = statement.split(maxsplit=3)
        verb = words[0].upper()
        with self._lock:
            self.kinds[KINDS[verb]] += 1
            if KINDS[verb] == "write":
                table = words[1] if verb == "UPDATE" else words[2]
                self.rows[f"{verb} {table}"] += len(parameters) if many else 1

    def committed(self, _connection: Connection) -> None:
        with self._lock:
            self.commits += 1


@contextmanager
def _counting() -> Iterator[_Counter]:
    counter = _Counter()
    event.listen(Engine, "before_cursor_execute", counter.executed)
    event.listen(Engine, "commit", counter.committed)
    try:
        yield counter
    finally:
        event.remove(Engine, "before_cursor_execute", counter.executed)
        event.remove(Engine, "commit", counter.committed)


async def measure(folder: Path, commands: int) -> Counts:
    """Counts over a run of that many commands, not counting the opening of the database."""
    async with opened(folder / "statements.db") as coordinator:
        await drive(coordinator, commands // 4)
        with _counting() as counter:
            done = await drive(coordinator, commands)
    kinds = {kind: counter.kinds[kind] / done for kind in ("write", "read", "transaction")}
    commits = counter.commits / done
    return Counts(
        done, sum(kinds.values()) + commits, kinds["write"], kinds["read"], kinds["transaction"] + commits,
        counter.rows.total() / done, commits,
        {name: round(rows / done, 3) for name, rows in sorted(counter.rows.items())},
    )  # fmt: skip
