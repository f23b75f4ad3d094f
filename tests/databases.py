"""Databases for tests, on either dialect: made quickly, looked at past the store, copied as a crash leaves them."""

import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import quote
from uuid import UUID

import psycopg
from sqlalchemy import Connection, NullPool, create_engine

from interlock.store.database import Database
from interlock.store.tables import metadata
from interlock.testing.postgres import PostgresServer

DIALECTS = ("sqlite", "postgresql")
#: the database that new ones are copied from: it has the newest schema and no rows
_TEMPLATE = "interlock_template"
_TABLES = [f'"{table.name}"' for table in metadata.sorted_tables]
#: empties a database, though not of the dead rows: forty times cheaper than TRUNCATE
_DELETE = "".join(f"DELETE FROM {table};" for table in reversed(_TABLES)) + "".join(
    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), 1, false);"
    for table, column in (("audit_log", "id"), ("signals", "number"))
)
#: after so many tests the dead rows are too many
_TESTS_MAX = 30


class Scratch(Protocol):
    """One database of a test."""

    @property
    def dialect(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def key_file(self) -> Path: ...

    def copy(self, name: str) -> "Scratch":
        """What a crash at this moment would leave of a live database that is quiet, and its key."""

    def held(self) -> AbstractContextManager[None]:
        """Within it no batch can begin: what is submitted meanwhile is committed together."""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Executes a statement with `?` for values, past the store; its rows, ids as UUIDs."""

    def all_bytes(self) -> bytes:
        """Everything that it holds."""


class SqliteScratch:
    """A file."""

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.key_file = path.with_name(path.name + ".key")

    def copy(self, name: str) -> "SqliteScratch":
        copy = SqliteScratch(self.path.with_name(f"{name}.db"))
        for suffix in ("", "-wal", ".key"):
            source = self.path.with_name(self.path.name + suffix)
            if source.exists():
                shutil.copyfile(source, copy.path.with_name(copy.path.name + suffix))
        return copy

    @contextmanager
    def held(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            bound = [each.bytes if isinstance(each, UUID) else each for each in values]
            found = connection.execute(statement, bound).fetchall()
        return [tuple(UUID(bytes=each) if isinstance(each, bytes) else each for each in row) for row in found]

    def all_bytes(self) -> bytes:
        return b"".join(
            path.read_bytes() for path in self.path.parent.glob(f"{self.path.name}*") if path.suffix != ".key"
        )


class PostgresScratch:
    """A database on this process's server."""

    dialect = "postgresql"

    def __init__(self, made: "Databases", name: str) -> None:
        self._made = made
        self.name = name
        self.url = made.server.url(name)

    @property
    def key_file(self) -> Path:
        return Path(os.environ["XDG_STATE_HOME"]) / "interlock" / f"{quote(self.name)}.key"

    def copy(self, name: str) -> "PostgresScratch":
        copy = PostgresScratch(self._made, self._made.take())
        with psycopg.connect(self.url) as source, psycopg.connect(copy.url) as target:
            source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for table in metadata.sorted_tables:
                reading = source.cursor().copy(f'COPY "{table.name}" TO STDOUT (FORMAT binary)')
                writing = target.cursor().copy(f'COPY "{table.name}" FROM STDIN (FORMAT binary)')
                with reading as out, writing as into:
                    for data in out:
                        into.write(data)
            for numbered, number in (("audit_log", "id"), ("signals", "number")):
                target.execute(
                    f"SELECT setval(pg_get_serial_sequence('{numbered}', '{number}'), max({number})) "
                    f"FROM {numbered} HAVING max({number}) > 0"
                )
        if self.key_file.exists():
            shutil.copyfile(self.key_file, copy.key_file)
        return copy

    @contextmanager
    def held(self) -> Iterator[None]:
        with psycopg.connect(self.url) as connection:
            connection.execute("SELECT * FROM engines FOR UPDATE")
            yield
            connection.rollback()

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            done = connection.execute(statement.replace("?", "%s"), values or None)
            return done.fetchall() if done.description is not None else []

    def all_bytes(self) -> bytes:
        found = b""
        with psycopg.connect(self.url) as connection:
            for table in metadata.sorted_tables:
                with connection.cursor().copy(f'COPY "{table.name}" TO STDOUT') as copy:
                    found += b"".join(bytes(data) for data in copy)
        return found


class Databases:
    """The databases of this process's PostgreSQL server, which is started when first needed. They are used again
    and again, emptied, for that is quicker than making new ones."""

    def __init__(self) -> None:
        self.server = PostgresServer()
        self._free: list[str] = []
        self._numbers = count(1)
        self._taken: list[str] = []
        self._given_back = Counter[str]()
        self.server.start()
        Database.open(self.server.create(_TEMPLATE)).close()

    def take(self) -> str:
        """The name of an empty database of the newest schema; for the test under way."""
        name = self._free.pop() if self._free else self.new(template=_TEMPLATE)
        self._taken.append(name)
        return name

    def urls_taken(self) -> list[str]:
        """Those of the test under way."""
        return [self.server.url(name) for name in self._taken]

    def new(self, template: str = "template1") -> str:
        """The name of a database of its own, which is not used again; without any table, unless there is a template."""
        name = f"t{next(self._numbers)}"
        self.server.create(name, template)
        return name

    @contextmanager
    def borrowing(self) -> Iterator[None]:
        """What is taken within it is given back, and emptied, at its end."""
        before = len(self._taken)
        yield
        for name in self._taken[before:]:
            self._given_back[name] += 1
            thoroughly = self._given_back[name] % _TESTS_MAX == 0
            with psycopg.connect(self.server.url(name)) as connection:
                connection.execute(f"TRUNCATE {', '.join(_TABLES)} RESTART IDENTITY" if thoroughly else _DELETE)
        self._free += self._taken[before:]
        del self._taken[before:]


#: which database `looking` looks at
_looked_at = ""
_LOOKERS = {
    "sqlite": create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(_looked_at.removeprefix("sqlite:///")), poolclass=NullPool
    ),
    "postgresql": create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(_looked_at), poolclass=NullPool
    ),
}


@contextmanager
def looking(url: str) -> Iterator[Connection]:
    """A connection past the store. Its engine is the same for all databases of a dialect: what it has compiled once is
    not compiled again for each test."""
    global _looked_at
    _looked_at = url
    with _LOOKERS[url.partition(":")[0]].connect() as connection:
        yield connection


_databases: Databases | None = None
#: where a file is kept in memory
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def postgres() -> Databases:
    """This process's server, started."""
    global _databases
    if _databases is None:
        _databases = Databases()
    return _databases


def stop() -> None:
    """Stops the server, if there is one."""
    global _databases
    if _databases is not None:
        _databases.server.remove()
        _databases = None


@cache
def _empty_file() -> bytes:
    """A database of the newest schema without rows: copying it is fifty times quicker than making one."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Database.open(f"sqlite:///{path}").close()
        return path.read_bytes()


def new_file(path: Path) -> str:
    """The URL of a new database in that file, as opening it would make it."""
    path.touch(mode=0o600)
    path.write_bytes(_empty_file())
    return f"sqlite:///{path}"


@contextmanager
def scratch(dialect: str, folder: Path) -> Iterator[Scratch]:
    """A new database: on SQLite a file in the folder."""
    if dialect == "sqlite":
        new_file(folder / "state.db")
        yield SqliteScratch(folder / "state.db")
    else:
        with postgres().borrowing():
            yield PostgresScratch(postgres(), postgres().take())


@contextmanager
def empty_url(dialect: str) -> Iterator[str]:
    """The URL of a database without rows, for one that looks at it through the store alone."""
    if dialect == "sqlite":
        with TemporaryDirectory(dir=_MEMORY) as folder:
            yield new_file(Path(folder) / "empty.db")
    else:
        with postgres().borrowing():
            yield postgres().server.url(postgres().take())


def for_dialect(dialect: str, statement: str) -> str:
    """A statement with ids as SQLite writes them, `x'…'`, for that dialect."""
    return statement if dialect == "sqlite" else re.sub(r"x'([0-9a-f]{32})'", r"'\1'::uuid", statement)
