"""Opening: one owner, durable settings, private files, the schema's way up and its limits."""

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from interlock.model.errors import Bug, InvalidInput, Missing, NotOwner, Refused
from interlock.store.database import Database
from interlock.store.dialects.sqlite import settings
from interlock.store.schema import NEWEST
from interlock.store.tables import metadata
from interlock.store.triggers import SQLITE_TRIGGERS
from tests.store.rows import JOB, insert

DURABLE = {"journal_mode": "wal", "synchronous": "FULL", "foreign_keys": True, "busy_timeout": 10_000}
WAIT_S = 30
HOLD = """
import sys
from interlock.store.database import Database
database = Database.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def schema_of(connection: Connection) -> dict[str, Any]:
    """Every table with its columns and constraints in any order, every index and trigger."""
    rows = connection.execute(text("SELECT name, type, sql FROM sqlite_master")).all()
    return {
        name: (kind, sql if kind != "table" else (*_columns(connection, name), *sorted(_CONSTRAINT.findall(sql))))
        for name, kind, sql in rows
        if not name.startswith(("alembic", "sqlite_autoindex_alembic"))
    }


_CONSTRAINT = re.compile(
    r"(?:^\s*|NOT NULL )((?:CONSTRAINT|PRIMARY|FOREIGN|UNIQUE|CHECK) .*?\)),? *(?:,|\n|$)", re.MULTILINE
)


def _columns(connection: Connection, table: str) -> list[str]:
    """Defaults are left out: columns that were added later need one for the rows that were there."""
    rows = connection.execute(text(f"PRAGMA table_xinfo({table})")).mappings()
    return sorted(f"{row['name']} {row['type']} notnull={row['notnull']} key={row['pk']}" for row in rows)


def test_the_migrations_make_exactly_the_tables_of_the_code() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        for trigger in SQLITE_TRIGGERS.values():
            connection.execute(text(trigger))
        wanted = schema_of(connection)
    engine.dispose()
    with Database.open("sqlite://") as database, database.reader() as reader:
        assert schema_of(reader) == wanted
    assert {"job", "command_entities_moves", "entity_locks_alone"} <= wanted.keys()


def test_the_live_connections_are_durable(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path}/a.db") as database:
        assert settings(database.writer()) == DURABLE
        with database.reader() as reader:
            assert settings(reader) == DURABLE


def test_the_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database.open(f"sqlite:///{path}") as database:
        insert(database, [JOB])
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["a.db", "a.db-shm", "a.db-wal", "a.db.lock"], 0o600)


def test_a_second_process_is_refused_and_told_whom_to_stop(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(NotOwner, match=rf"a\.db is in use by process {holder.pid} .*stop that process"):
            Database.open(url)
        holder.kill()
        holder.wait(WAIT_S)
    Database.open(url).close()


def test_closing_gives_it_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    first = Database.open(url)
    with pytest.raises(NotOwner):
        Database.open(url)
    first.close()
    first.close()
    Database.open(url).close()


def test_a_schema_from_the_future_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with Database.open(url) as database, database.writer().begin():
        database.writer().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for opening in (Database.open, Database.open_reading):
        with pytest.raises(Refused, match=rf"a\.db is version 9999, newer than {NEWEST}.*use the newer program"):
            opening(url)


def test_a_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    """All of it is one transaction: a table in the way stops it without a trace."""
    path = tmp_path / "a.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE entity_refs (x)"))
    with pytest.raises(OperationalError, match="entity_refs already exists"):
        Database.open(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert list(connection.scalars(text("SELECT name FROM sqlite_master"))) == ["entity_refs"]
    engine.dispose()


def test_reading_needs_a_database_of_the_known_schema(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="there is no database"):
        Database.open_reading(f"sqlite:///{tmp_path}/none.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(Refused, match=f"is version none, older than {NEWEST}; start the coordinator"):
        Database.open_reading(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(InvalidInput, match="in memory cannot be read by another"):
        Database.open_reading("sqlite://")
    with pytest.raises(InvalidInput, match="mysql names no database; write sqlite"):
        Database.open("mysql://x/y")


def test_reading_beside_the_owner_writes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with Database.open(url) as owner, Database.open_reading(url) as guest:
        insert(owner, [JOB])
        with guest.reader() as reader:
            assert list(reader.scalars(text("SELECT id FROM job"))) == [JOB.id.bytes]
            with pytest.raises(OperationalError, match="readonly"):
                reader.execute(text("DELETE FROM job"))
        with pytest.raises(Bug, match="opened for reading"):
            guest.writer()


def test_a_reader_cannot_write() -> None:
    with (
        Database.open("sqlite://") as database,
        database.reader() as reader,
        pytest.raises(OperationalError, match="readonly"),
    ):
        reader.execute(text("DELETE FROM job"))


def test_readers_in_threads_keep_their_snapshot_while_the_writer_writes() -> None:
    count = text("SELECT count(*) FROM engines")
    begun, written = threading.Barrier(4, timeout=WAIT_S), threading.Barrier(4, timeout=WAIT_S)
    seen: list[tuple[Any, Any, Any]] = []

    def read(database: Database) -> None:
        with database.reader() as reader:
            before = reader.execute(count).scalar()
            begun.wait()
            written.wait()
            during = reader.execute(count).scalar()
            reader.rollback()
            seen.append((before, during, reader.execute(count).scalar()))

    with Database.open("sqlite://") as database:
        threads = [threading.Thread(target=read, args=(database,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait()
        with database.writer().begin():
            database.writer().execute(
                text("INSERT INTO engines VALUES (:id, 1, 0, 1, NULL, 'h', 1, NULL)"), {"id": UUID(int=1).bytes}
            )
        written.wait()
        for thread in threads:
            thread.join(WAIT_S)
    assert seen == [(0, 0, 1)] * 3


def test_what_is_in_memory_is_gone_when_closed() -> None:
    database = Database.open("sqlite://")
    folder = Path(database.name).parent
    assert folder.exists()
    database.close()
    assert not folder.exists()


def test_what_was_committed_is_there_after_the_process_is_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    script = (
        "import os, signal, sys\n"
        "from interlock.store.database import Database\n"
        "from interlock.store.queries import engines\n"
        "from uuid import UUID\n"
        "writer = Database.open(sys.argv[1]).writer()\n"
        "with writer.begin(): engines.register(writer, UUID(int=1), 1, 'h', 1)\n"
        "writer.begin(); engines.register(writer, UUID(int=2), 2, 'h', 1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, url], timeout=WAIT_S, check=False)
    assert killed.returncode == -9
    with Database.open(url) as database, database.reader() as reader:
        assert reader.execute(text("SELECT id, epoch, ended_at FROM engines")).all() == [(UUID(int=1).bytes, 1, None)]


def test_one_commit_is_one_fsync(tmp_path: Path) -> None:
    """Counted from outside: with FULL each commit syncs the journal, and does so once."""
    commits = 25
    script = (
        "import os, sys\n"
        "from interlock.store.database import Database\n"
        "from interlock.store.queries import engines\n"
        "from uuid import UUID\n"
        "writer = Database.open(sys.argv[1]).writer()\n"
        "with writer.begin(): epoch = engines.register(writer, UUID(int=1), 1, 'h', 1)\n"
        "os.path.exists('/begin-counting')\n"
        f"for seq in range({commits}):\n"
        "    with writer.begin(): assert engines.begin_batch(writer, UUID(int=1), epoch, seq, 2)\n"
        "os.path.exists('/end-counting')\n"
        "os._exit(0)\n"
    )
    trace = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,stat,newfstatat"
    done = subprocess.run(
        ["strace", "-f", "-e", calls, "-o", str(trace), sys.executable, "-c", script, f"sqlite:///{tmp_path}/a.db"],
        timeout=WAIT_S, check=False, capture_output=True, text=True, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counted = trace.read_text().split("/begin-counting")[1].split("/end-counting")[0]
    assert len(re.findall(r"\bf(?:data)?sync\(", counted)) == commits
