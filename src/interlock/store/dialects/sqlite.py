"""SQLite: a file, a lock beside it, WAL and synchronous=FULL."""

import fcntl
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from interlock.model.errors import InvalidInput, Missing, NotOwner
from interlock.store.dialects.pools import READERS

#: how long a statement waits for SQLite's own locks
BUSY_WAIT_MS = 10_000
_MEMORY = Path("/dev/shm")


class Reading(SQLiteDialect_pysqlite):
    """Begins transactions that see one state. A listener would do as well, but then SQLAlchemy looks for listeners at
    every statement."""

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: Any) -> None:
        dbapi_connection.execute("BEGIN").close()


class Writing(Reading):
    """Begins transactions that may write."""

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: Any) -> None:
        dbapi_connection.execute("BEGIN IMMEDIATE").close()


registry.register("sqlite.interlock_reading", __name__, "Reading")
registry.register("sqlite.interlock_writing", __name__, "Writing")


class SqlitePlace:
    """A file; or, for `sqlite://`, one that goes when it is released."""

    owner_check_s = None
    #: what a connection is
    session: type[sqlite3.Connection] = sqlite3.Connection

    def __init__(self, url: str) -> None:
        file = make_url(url).database
        self._is_temporary = file in (None, "", ":memory:")
        self._lock: int | None = None
        self._path = None if self._is_temporary else Path(str(file)).absolute()

    @property
    def path(self) -> Path:
        """The file; one that is only for now is made when first asked for."""
        if self._path is None:
            memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
            self._path = Path(tempfile.mkdtemp(prefix="interlock-", dir=memory)) / "state.db"
        return self._path

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def key_file(self) -> Path | None:
        return None if self._is_temporary else self.path.with_name(self.path.name + ".key")

    def own(self) -> None:
        """An exclusive flock on `<path>.lock`, which holds the owner's pid; it goes with the process."""
        lock = self.path.with_name(self.path.name + ".lock")
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise NotOwner(
                f"{self.path} is in use by process {holder} (it holds {lock}); stop that process, "
                "or talk to it instead of opening the file"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        _make_file(self.path)

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._is_temporary:
            shutil.rmtree(self.path.parent, ignore_errors=True)

    def require(self) -> None:
        if self._is_temporary:
            raise InvalidInput("a database in memory cannot be read by another; name a file: sqlite:///path")
        if not self.path.exists():
            raise Missing(f"there is no database {self.path}; check the path")

    def write_engine(self) -> Engine:
        return _engine(self.path, self.session, writes=True)

    def read_engine(self) -> Engine:
        return _engine(self.path, self.session, writes=False)

    def is_lost(self, error: BaseException) -> bool:
        return False


def settings(connection: Connection) -> dict[str, Any]:
    """What SQLite says of this connection: journal_mode, synchronous, foreign_keys, busy_timeout."""
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
    levels = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
    return {
        **found,
        "synchronous": levels[int(found["synchronous"] or 0)],
        "foreign_keys": bool(found["foreign_keys"]),
    }


def _make_file(path: Path) -> None:
    """A new file for nobody else's eyes; the journal beside it inherits the mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _engine(path: Path, session: type[sqlite3.Connection], *, writes: bool) -> Engine:
    """An engine whose transactions begin as its dialect says, not when sqlite3 guesses."""
    options: dict[str, Any] = {"poolclass": NullPool} if writes else READERS
    mode = "rw" if writes else "ro"
    driver = f"sqlite+{'interlock_writing' if writes else 'interlock_reading'}"
    url = URL.create(driver, database=f"file:{path}", query={"mode": mode, "uri": "true"})
    engine = create_engine(url, connect_args={"check_same_thread": False, "factory": session}, **options)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        pragmas = [f"busy_timeout = {BUSY_WAIT_MS}", "foreign_keys = ON", "synchronous = FULL"]
        pragmas += ["journal_mode = WAL"] if writes else ["query_only = ON"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    return engine
