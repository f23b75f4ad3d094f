"""Backups of a database: made while it is in use, and put in the place of one that was lost.

What has come from a backup does not know what was done since. So it is marked before any engine runs on it: it gets a
generation of its own, by which hosts refuse the coordinator whose place it takes, and its open flows wait for a person
(hard case 19).
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from interlock.ids import new_id
from interlock.model.cluster import Cluster
from interlock.model.errors import InvalidInput, Missing, Refused
from interlock.store.database import Database
from interlock.store.dialects import place_of
from interlock.store.dialects.sqlite import SqlitePlace
from interlock.store.queries import clusters
from interlock.store.schema import version_of


@dataclass(frozen=True, slots=True)
class Restored:
    """What a database is after a backup was restored; `open_flows` wait for a person."""

    cluster: Cluster
    open_flows: int


def back_up(url: str, target: Path) -> None:
    """Writes what is committed by now into a new file, durably; the database may be in use.

    Raises Missing where there is no database, Refused where its schema is not of this version, InvalidInput where the
    target exists, or the database is none of SQLite.
    """
    if not isinstance(place_of(url), SqlitePlace):
        raise InvalidInput("PostgreSQL has its own program for backups: pg_dump; see `interlock restore --help`")
    _require_none(target)
    part = target.with_name(f"{target.name}.part")
    try:
        with Database.open_reading(url) as database, database.reader() as connection:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            _copy(source, part)
        _put(part, target)
    finally:
        _remove(part)


def restore(url: str, now: int, source: Path | None = None) -> Restored:
    """Puts a backup where the URL says that there is no database yet, and marks it; without a `source`, marks the one
    that is there: it was put there by other means. A crash leaves either nothing or all of it.

    Raises NotOwner where a coordinator has the database, InvalidInput, Missing, Refused.
    """
    place = place_of(url)
    if source is None:
        place.require()
        with Database(place, owned=False) as database, database.reading() as reader:
            if version_of(reader) is None:
                raise Refused(f"{place.name} is empty: nothing was put back there")
        with Database.open(url) as database:
            return _marked(database, now)
    if not isinstance(place, SqlitePlace):
        raise InvalidInput("restore it with pg_restore or psql, then call `interlock restore --in-place`")
    _require_none(place.path)
    part = place.path.with_name(f"{place.path.name}.part")
    with closing(_opened(source)) as connection:
        place.own()
        try:
            _require_none(place.path)
            _copy(connection, part)
            with Database.open(_url_of(part)) as database:
                restored = _marked(database, now)
            _make_one_file(part)
            _put(part, place.path)
        finally:
            _remove(part)
            place.release()
    return restored


def _marked(database: Database, now: int) -> Restored:
    with database.writing("commit_restore") as connection:
        cluster = clusters.found(connection, new_id())
        return Restored(*clusters.restored(connection, cluster, new_id(), now))


def _require_none(file: Path) -> None:
    """An empty file is one that somebody began to make, and then died. What SQLite keeps beside a file would be taken
    for a part of the next one."""
    beside = [file.with_name(f"{file.name}{suffix}") for suffix in ("-wal", "-shm", "-journal")]
    found = [each for each in (file, *beside) if each.exists() and (each is not file or each.stat().st_size)]
    if found:
        raise InvalidInput(
            f"{found[0]} exists, and may hold what no backup does; move it away, with what lies beside it "
            f"({', '.join(each.name for each in beside)}), or name another"
        )


def _opened(source: Path) -> sqlite3.Connection:
    """A backup of whatever version: it is brought up to date as it is marked."""
    if not source.is_file():
        raise Missing(f"there is no backup {source}; check the path")
    connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        connection.close()
        raise Refused(f"{source} is no backup of Interlock: {error}") from error
    if not {"alembic_version", "engines", "job"} <= tables:
        connection.close()
        raise Refused(f"{source} is no backup of Interlock: it has none of its tables")
    return connection


def _url_of(file: Path) -> str:
    return URL.create("sqlite", database=str(file.absolute())).render_as_string()


def _copy(source: sqlite3.Connection, part: Path) -> None:
    """All of it, as one transaction sees it, in one file, for nobody else's eyes."""
    _remove(part)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(part)) as target:
        source.backup(target)
    _make_one_file(part)


def _make_one_file(part: Path) -> None:
    """All that is committed is in the file itself, and nothing beside it. Raises Refused where that cannot be."""
    with closing(sqlite3.connect(part)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise Refused(f"{part} cannot be written whole, as on a full disk; make room and try again")


def _remove(part: Path) -> None:
    """With what SQLite may have left beside it, which would be taken for a part of the next one."""
    for suffix in ("", "-journal", "-wal", "-shm", ".lock"):
        part.with_name(f"{part.name}{suffix}").unlink(missing_ok=True)


def _put(part: Path, target: Path) -> None:
    """Gives it its name, durably."""
    for path, flags in ((part, os.O_RDWR), (target.parent, os.O_RDONLY)):
        opened = os.open(path, flags)
        try:
            os.fsync(opened)
            if path is part:
                part.replace(target)
        finally:
            os.close(opened)
