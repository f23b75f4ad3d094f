"""A real SQLite file in memory, one for each run after the other; what its kernel does when its owner dies, and what a
server of a database would do to its owner: end sessions, and let nobody in for a while."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from interlock.sim.faults import Faults, Kind
from interlock.sim.timeline import Timeline
from interlock.store.database import Database
from interlock.store.dialects.sqlite import SqlitePlace

_engines: dict[tuple[Path, bool], Engine] = {}


class Ended(sqlite3.ProgrammingError):
    """The session is over. By these words SQLAlchemy knows it."""

    def __init__(self) -> None:
        super().__init__("Cannot operate on a closed database.")


class Unreachable(sqlite3.OperationalError):
    """Nobody is let in."""


class Server:
    """Ends the sessions of one owner; `is_asking`: whether it is the owner that asks, and not somebody who looks on."""

    def __init__(self, timeline: Timeline, faults: Faults, is_asking: Callable[[], bool]) -> None:
        self._timeline = timeline
        self._faults = faults
        self._is_asking = is_asking
        self._down_until_s = 0.0
        #: how often it was gone
        self.outages = 0

    def go_down(self, for_s: float) -> None:
        """All sessions are over, and there are no others for so long."""
        self.outages += 1
        self._down_until_s = self._timeline.now_s + for_s

    def lets_in(self) -> bool:
        is_down = self._timeline.now_s < self._down_until_s and not self._faults.is_over
        return not (is_down and self._is_asking())

    def ends(self, session: Session) -> bool:
        """Whether a statement finds its session gone."""
        if not self._is_asking():
            return False
        if session.outages < self.outages or not self.lets_in():
            return True
        return session.in_transaction and self._faults.hit("statement", Kind.DATABASE_LOST) is not None


class Session(sqlite3.Connection):
    """A connection to the file, as if there were a server behind it."""

    #: that of the run under way
    server: ClassVar[Server]

    # `Any` below: sqlite3's own signatures

    def __init__(self, *args: Any, **options: Any) -> None:
        self.is_over = False
        self.outages = self.server.outages
        if not self.server.lets_in():
            raise Unreachable("simulated: the database does not answer")
        super().__init__(*args, **options)

    def cursor(self, factory: Any = None) -> Any:
        self.require()
        return super().cursor(_Cursor)

    def commit(self) -> None:
        self.require()
        super().commit()

    def rollback(self) -> None:
        self.require()
        super().rollback()

    def require(self) -> None:
        """Raises Ended where the session is over."""
        if self.is_over:
            raise Ended

    def meet_a_statement(self) -> None:
        """Raises Ended where it comes too late; then nothing of its transaction is left."""
        if not self.is_over and self.server.ends(self):
            self.is_over = True
            self.close()
        self.require()


class _Cursor(sqlite3.Cursor):
    connection: Session

    def execute(self, sql: str, values: Any = ()) -> Any:
        self.connection.meet_a_statement()
        return super().execute(sql, values)

    def executemany(self, sql: str, rows: Any) -> Any:
        self.connection.meet_a_statement()
        return super().executemany(sql, rows)

    def close(self) -> None:
        if not self.connection.is_over:
            super().close()


class SimPlace(SqlitePlace):
    """A `Place` whose engines live as long as this program, so that what they have compiled serves all runs."""

    session = Session

    def write_engine(self) -> Engine:
        return _engines.setdefault((self.path, True), super().write_engine())

    def read_engine(self) -> Engine:
        return _engines.setdefault((self.path, False), super().read_engine())

    def is_lost(self, error: BaseException) -> bool:
        return isinstance(error.orig if isinstance(error, DBAPIError) else error, Ended | Unreachable)


def fresh(file: Path, template: Path, server: Server) -> None:
    """Puts a copy of a database in the place of that of the run before."""
    Session.server = server
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)
    shutil.copyfile(template, file)


def opened(file: Path) -> Database:
    """The database, owned. Raises NotOwner."""
    place = SimPlace(f"sqlite:///{file}")
    place.own()
    return Database(place, owned=True)


def looking(file: Path) -> Database:
    """The database, for reading."""
    return Database(SimPlace(f"sqlite:///{file}"), owned=False)
