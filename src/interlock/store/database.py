"""A database that is open: one writer, many readers, and the proof that nobody else owns it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine

from interlock import failpoints
from interlock.model.errors import Bug, DatabaseLost
from interlock.store.dialects import place_of
from interlock.store.dialects.place import Place
from interlock.store.schema import migrate, require_newest


class Database:
    """Opened by `open` (owning it) or `open_reading`. Closed by `close`; also a context manager."""

    def __init__(self, place: Place, *, owned: bool) -> None:
        self._place = place
        self._write_engine = place.write_engine() if owned else None
        self._read_engine = place.read_engine()
        self._writer: Connection | None = None

    @classmethod
    def open(cls, url: str) -> "Database":
        """Opens, creates or migrates the database and owns it until `close`.

        `sqlite:///path` names a file (made with mode 0600); `sqlite://` is one that goes when it is closed;
        `postgresql://…` is whatever libpq makes of it, an empty database or one of ours.
        Raises NotOwner where another process has it, Refused where its schema is newer than this code or the
        server is not durable, DatabaseLost where the server does not answer, InvalidInput for another kind of URL.
        """
        place = place_of(url)
        try:
            place.own()
            database = cls(place, owned=True)
        except BaseException:
            place.release()
            raise
        try:
            with database.writing("commit_schema") as connection:
                migrate(connection, database.name)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_reading(cls, url: str) -> "Database":
        """Opens a database, owned by somebody or not, for reading only.

        Raises Missing where there is none, Refused where its schema is not the one that this code knows,
        DatabaseLost where the server does not answer.
        """
        place = place_of(url)
        place.require()
        database = cls(place, owned=False)
        try:
            with database.reader() as connection:
                require_newest(connection, database.name)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def name(self) -> str:
        """How messages call it: the file, or the URL without a password."""
        return self._place.name

    @property
    def key_file(self) -> Path | None:
        """Where the key that seals its secrets lies unless somebody says otherwise; None = nowhere, in memory."""
        return self._place.key_file

    @property
    def owner_check_s(self) -> float | None:
        """How often an idle writer makes sure that it still owns it; None: nothing could have changed that."""
        return self._place.owner_check_s

    def writer(self) -> Connection:
        """The one connection that writes, always the same.

        For one thread at a time. After it was lost, or invalidated, its next transaction is on a new one, which
        owns the database again; NotOwner where another has taken it meanwhile, DatabaseLost where the server does
        not answer. Raises Bug on a database that was opened for reading.
        """
        if self._write_engine is None:
            raise Bug(f"{self.name} was opened for reading and has no writer; open it with Database.open")
        if self._writer is None:
            self._writer = self._connected(self._write_engine)
        return self._writer

    def reader(self) -> Connection:
        """A connection for the calling thread, which closes it; it sees the state of its first SELECT
        until its transaction ends, and can write nothing. Raises DatabaseLost where the server does not answer."""
        return self._connected(self._read_engine)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read snapshot. Raises DatabaseLost also where the server is lost meanwhile."""
        with self._told_when_lost(), self.reader() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, name: str) -> Iterator[Connection]:
        """A transaction of the writer, at the failpoint of that name. Raises DatabaseLost also where the server is
        lost meanwhile; where that is in the COMMIT, nobody knows whether it happened."""
        with failpoints.around(name), self._told_when_lost(), self.writer().begin():
            yield self.writer()

    def is_lost(self, error: BaseException) -> bool:
        """Whether an error is the database's own: it is gone or too slow, and nobody's input is at fault."""
        return isinstance(error, DatabaseLost) or self._place.is_lost(error)

    def _connected(self, engine: Engine) -> Connection:
        with self._told_when_lost():
            return engine.connect()

    @contextmanager
    def _told_when_lost(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._place.is_lost(error):
                raise
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> DatabaseLost:
        reason = "; ".join(line.strip() for line in str(getattr(error, "orig", error)).split("\n"))
        return DatabaseLost(f"{self.name} cannot be used: {reason}; look at the server, and at whom it lets in")

    def close(self) -> None:
        """Gives up the connections, then the ownership; nothing happens the second time."""
        if self._writer is not None:
            let_go(self._writer)
            self._writer.close()
            self._writer = None
        self._read_engine.dispose()
        if self._write_engine is not None:
            self._write_engine.dispose()
        self._place.release()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def let_go(connection: Connection) -> None:
    """Ends what the connection has begun; one that cannot even do that is replaced at its next use."""
    try:
        connection.rollback()
    except Exception:
        connection.invalidate()
        connection.rollback()
