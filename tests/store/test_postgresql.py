"""PostgreSQL: one owner by its session, durable or refused, and a password that nobody sees."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InternalError, ProgrammingError

from interlock.model.changes import Change
from interlock.model.errors import Bug, DatabaseLost, InvalidInput, NotOwner, Refused
from interlock.model.records import EntityRecord
from interlock.model.refs import Ref
from interlock.store.database import Database, let_go
from interlock.store.dialects import postgresql
from interlock.store.schema import NEWEST
from interlock.store.tables import metadata
from interlock.store.triggers import POSTGRESQL_TRIGGERS
from tests.databases import empty_url, postgres
from tests.store.rows import JOB, insert, write

WAIT_S = 30
HOLD = """
import sys
from interlock.store.database import Database
database = Database.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def url() -> Iterator[str]:
    with empty_url("postgresql") as url:
        yield url


def shown(connection: Connection, *settings: str) -> list[Any]:
    return [connection.exec_driver_sql(f"SHOW {setting}").scalar() for setting in settings]


def backend(connection: Connection) -> int:
    """The server's process of this session."""
    found = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    connection.rollback()
    assert isinstance(found, int)
    return found


def schema_of(connection: Connection) -> dict[str, set[Any]]:
    """Every column, constraint, index, trigger and function, as PostgreSQL writes them."""
    queries = {
        "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name"
        " FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conrelid <> 'alembic_version'::regclass",
        "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " AND tablename <> 'alembic_version'",
        "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    }
    return {name: set(map(tuple, connection.execute(text(query)).all())) for name, query in queries.items()}


def test_the_migrations_make_exactly_the_tables_of_the_code(url: str) -> None:
    with Database.open(url) as database, database.reading() as reader:
        migrated = schema_of(reader)
    with Database.open(postgres().server.url(postgres().new())) as bare, bare.writer().begin():
        writer = bare.writer()
        metadata.drop_all(writer)
        for name in ("command_entities_moves", "command_entities_end", "async_tasks_moves", "async_tasks_end"):
            writer.execute(text(f"DROP FUNCTION {name}"))
        metadata.create_all(writer)
        for statement in POSTGRESQL_TRIGGERS:
            writer.execute(text(statement))
        assert schema_of(writer) == migrated


def test_the_writer_is_on_a_lease_and_the_reader_can_write_nothing(url: str) -> None:
    with Database.open(url) as database:
        assert shown(
            database.writer(), "transaction_isolation", "idle_session_timeout", "idle_in_transaction_session_timeout",
            "statement_timeout", "lock_timeout",
        ) == ["read committed", "1min", "1min", "1min", "10s"]  # fmt: skip
        database.writer().rollback()
        with database.reading() as reader:
            assert shown(
                reader, "transaction_isolation", "transaction_read_only", "idle_in_transaction_session_timeout",
                "statement_timeout", "lock_timeout",
            ) == ["repeatable read", "on", "10min", "10min", "10s"]  # fmt: skip
        with database.reader() as reader, pytest.raises(InternalError, match="read-only"):
            reader.execute(text("DELETE FROM job"))


def test_a_reader_keeps_its_snapshot(url: str) -> None:
    count = text("SELECT count(*) FROM job")
    with Database.open(url) as database, database.reader() as reader:
        before = reader.scalar(count)
        insert(database, [JOB])
        during = reader.scalar(count)
        reader.rollback()
        assert (before, during, reader.scalar(count)) == (0, 0, 1)


def test_a_second_process_is_refused_and_told_whom_to_stop(url: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(NotOwner, match=rf"is in use by interlock {holder.pid} on .*stop that process"):
            Database.open(url)
        with Database.open_reading(url) as guest, pytest.raises(Bug, match="opened for reading"):
            guest.writer()
        holder.send_signal(signal.SIGKILL)
        holder.wait(WAIT_S)
    Database.open(url).close()  # at once: the server ends the session of a process that is gone


def test_a_session_that_is_lost_is_replaced_by_one_that_owns(url: str) -> None:
    with Database.open(url) as database:
        writer = database.writer()
        former = backend(writer)
        postgres().server.sql("postgres", f"SELECT pg_terminate_backend({former})")
        with pytest.raises(DBAPIError) as lost, writer.begin():
            writer.execute(text("DELETE FROM job"))
        assert database.is_lost(lost.value)
        let_go(writer)
        assert backend(writer) != former
        with pytest.raises(NotOwner):
            Database.open(url)


@pytest.mark.hard_case(12)
def test_our_own_former_session_is_ended_before_anything_is_read(url: str) -> None:
    """Its COMMIT may be under way: having the lock means that it is over, whatever became of it."""
    with Database.open(url) as database:
        writer = database.writer()
        driver: Any = writer.connection.dbapi_connection
        with psycopg.connect(url) as aside:  # as after a network that swallowed the connection
            former, keeps = driver.info.backend_pid, driver.pgconn
            driver.close = lambda: None
            writer.invalidate()
            assert backend(writer) != former
            assert aside.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [former]).fetchone() is None
        keeps.finish()


def test_who_lost_its_session_to_another_is_no_owner(url: str) -> None:
    with Database.open(url) as first:
        writer = first.writer()
        postgres().server.sql("postgres", f"SELECT pg_terminate_backend({backend(writer)})")
        with Database.open(url):
            writer.invalidate()
            with pytest.raises(NotOwner, match="is in use by interlock"):
                writer.begin()


def test_a_server_that_may_lose_commits_is_refused(url: str) -> None:
    name = postgres().new()
    postgres().server.sql(name, f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(Refused, match="has synchronous_commit = off, with which a commit may be lost"):
        Database.open(postgres().server.url(name))


def test_without_its_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "interlock.store.dialects.postgresql", None)
    with pytest.raises(InvalidInput, match=r"pip install 'interlock\[postgresql\]'"):
        Database.open("postgresql:///jobs")


def test_another_encoding_is_refused() -> None:
    postgres().server.sql("postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(Refused, match="is not encoded in UTF8"):
        Database.open(postgres().server.url("latin"))


def test_a_transaction_with_an_error_that_nobody_rolled_back_is_not_called_committed(url: str) -> None:
    with Database.open(url) as database:
        writer = database.writer()
        transaction = writer.begin()
        with pytest.raises(ProgrammingError):
            writer.execute(text("SELECT 1 FROM nowhere"))
        with pytest.raises(Bug, match="committed after an error within it"):
            transaction.commit()


def test_a_schema_from_the_future_and_none_are_left_alone() -> None:
    url = postgres().server.url(postgres().new())
    with pytest.raises(Refused, match=f"is version none, older than {NEWEST}; start the coordinator"):
        Database.open_reading(url)
    with Database.open(url) as database, database.writer().begin():
        database.writer().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for opening in (Database.open, Database.open_reading):
        with pytest.raises(Refused, match=rf"is version 9999, newer than {NEWEST}.*use the newer program"):
            opening(url)


def test_a_failed_migration_leaves_nothing() -> None:
    """All of it is one transaction: a table of another program in the way stops it without a trace."""
    name = postgres().new()
    url = postgres().server.url(name)
    postgres().server.sql(name, "CREATE TABLE public.entity_refs (x int)")
    with pytest.raises(ProgrammingError, match='"entity_refs" already exists'):
        Database.open(url)
    with psycopg.connect(url) as session:
        assert session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall() == [
            ("entity_refs",)
        ]


def test_names_sort_by_code_points_whatever_the_locale(url: str) -> None:
    with Database.open(url) as database:
        for n, name in enumerate(("b", "ä", "B", "_", "a")):
            write(database, [Change(None, EntityRecord(Ref("vm", UUID(int=n)), 1, 0, name, None, 1, "{}"))])
        with database.reading() as reader:
            names = reader.scalars(text("SELECT name FROM entities ORDER BY name")).all()
    assert names == ["B", "_", "a", "b", "ä"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@127.0.0.1:1/db",
        "postgresql://127.0.0.1:1/db?user=ann&password=hunter2",
        "postgres://ann:hunter2@127.0.0.1:1/db?connect_timeout=1",
        "postgresql://ann:x@hunter2@127.0.0.1:1/db",
        "postgresql://ann:hunter2@[::1/db",
        "postgresql://ann:hunter2@127.0.0.1:1/db?what=1",
        "postgresql+psycopg://ann:hunter2@127.0.0.1:1/db",
        "mysql://ann:hunter2@127.0.0.1:1/db",
        "ann:hunter2",
    ],
)
def test_a_password_is_in_no_error(url: str) -> None:
    with pytest.raises((DatabaseLost, InvalidInput)) as refused:
        Database.open(url)
    assert "hunter2" not in f"{refused.value} {refused.value!r}"
    cause = refused.value.__cause__
    assert "hunter2" not in f"{cause} {cause!r}"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://ann:hunter2@db.example.org:5433/jobs?sslmode=require", "postgresql://ann@db.example.org:5433/jobs"),
        ("postgresql:///jobs?host=/run/postgresql", "postgresql:///jobs?host=/run/postgresql"),
        ("postgresql:///?service=jobs", "postgresql:///?service=jobs"),
        ("postgres://a.example.org,b.example.org/jobs", "postgresql://a.example.org,b.example.org:,/jobs"),
    ],
)  # fmt: skip
def test_a_database_is_called_by_its_url_without_the_password(url: str, name: str) -> None:
    assert postgresql.PostgresqlPlace(url).name == name
