"""A database that is open: one writer, many readers, and the proof that nobody else owns it."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool, QueuePool

from interlock.model.errors import Bug, InvalidInput, Missing, NotOwner
from interlock.store.schema import migrate, require_newest

#: connections of readers kept open, and how many more there may be at once
READERS_KEPT, READERS_MORE_MAX = 8, 24
#: how long a reader waits for a connection, and a statement for SQLite's own locks
READER_WAIT_S, BUSY_WAIT_MS = 30, 10_000
_MEMORY = Path("/dev/shm")


class Database:
    """Opened by `open` (owning it) or `open_reading`. Closed by `close`; also a context manager."""

    def __init__(self, path: Path, *, owned: "_Ownership | None", temporary: Path | None) -> None:
        self.path = path
        self._owned = owned
        self._temporary = temporary
        self._write_engine = None if owned is None else _engine(path, writes=True)
        self._read_engine = _engine(path, writes=False)
        self._writer: Connection | None = None

    @classmethod
    def open(cls, url: str) -> "Database":
        """Opens, creates or migrates the database and owns it until `close`.

        `sqlite:///path` names a file (made with mode 0600); `sqlite://` is one that goes when it is closed.
        Raises NotOwner where another process has it, Refused where its schema is newer than this code,
        InvalidInput for another kind of URL.
        """
        path, temporary = _place(url)
        owned = _Ownership(path)
        try:
            _make_file(path)
            database = cls(path, owned=owned, temporary=temporary)
        except BaseException:
            owned.release()
            raise
        try:
            with database.writer().begin():
                migrate(database.writer(), str(path))
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_reading(cls, url: str) -> "Database":
        """Opens a database, owned by somebody or not, for reading only.

        Raises Missing where there is none, Refused where its schema is not the one that this code knows.
        """
        path = _file_of(make_url(url))
        if path is None:
            raise InvalidInput("a database in memory cannot be read by another; name a file: sqlite:///path")
        if not path.exists():
            raise Missing(f"there is no database {path}; check the path")
        database = cls(path, owned=None, temporary=None)
        try:
            with database.reader() as connection:
                require_newest(connection, str(path))
        except BaseException:
            database.close()
            raise
        return database

    def writer(self) -> Connection:
        """The one connection that writes, always the same; each transaction begins with BEGIN IMMEDIATE.

        For one thread at a time. Raises Bug on a database that was opened for reading.
        """
        if self._write_engine is None:
            raise Bug(f"{self.path} was opened for reading and has no writer; open it with Database.open")
        if self._writer is None:
            self._writer = self._write_engine.connect()
        return self._writer

    def reader(self) -> Connection:
        """A connection for the calling thread, which closes it; it sees the state of its first SELECT
        until its transaction ends, and can write nothing."""
        return self._read_engine.connect()

    def close(self) -> None:
        """Gives up the connections, then the ownership; nothing happens the second time."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._read_engine.dispose()
        if self._write_engine is not None:
            self._write_engine.dispose()
        if self._owned is not None:
            self._owned.release()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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


class _Ownership:
    """An exclusive flock on `<path>.lock`, which holds the owner's pid; it goes with the process."""

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        self._descriptor: int | None = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise NotOwner(
                f"{path} is in use by process {holder} (it holds {lock}); stop that process, "
                "or talk to it instead of opening the file"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _place(url: str) -> tuple[Path, Path | None]:
    """The database's file, and the folder that goes with it where it is only for now."""
    path = _file_of(make_url(url))
    if path is not None:
        return path, None
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="interlock-", dir=memory))
    return folder / "state.db", folder


def _file_of(url: URL) -> Path | None:
    """The file that a URL names; None = memory."""
    if url.get_backend_name() != "sqlite":
        raise InvalidInput(f"{url.render_as_string()}: only sqlite:///path is known; write it so")
    if url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database)).absolute()


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


def _engine(path: Path, *, writes: bool) -> Engine:
    """An engine whose transactions begin when SQLAlchemy says so, not when sqlite3 guesses."""
    options: dict[str, Any] = {"poolclass": NullPool} if writes else _READERS
    mode = "rw" if writes else "ro"
    url = URL.create("sqlite", database=f"file:{path}", query={"mode": mode, "uri": "true"})
    engine = create_engine(url, connect_args={"check_same_thread": False}, **options)
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        pragmas = [f"busy_timeout = {BUSY_WAIT_MS}", "foreign_keys = ON", "synchronous = FULL"]
        pragmas += ["journal_mode = WAL"] if writes else ["query_only = ON"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


_READERS: dict[str, Any] = {
    "poolclass": QueuePool,
    "pool_size": READERS_KEPT,
    "max_overflow": READERS_MORE_MAX,
    "pool_timeout": READER_WAIT_S,
}
