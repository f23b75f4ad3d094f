"""PostgreSQL: who writes holds an advisory lock in the very session that writes.

Losing that session is losing the database, and having the lock means that the former session is over: whatever
became of its last COMMIT will not change any more.
"""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from interlock.model.errors import Bug, InvalidInput, NotOwner, Refused
from interlock.secrets import Secret
from interlock.store.dialects.pools import READERS

Session = psycopg.Connection[Any]

#: the oldest server that has idle_session_timeout
SERVER_MIN = 14
#: the owner's lease: a session from which nothing is heard for so long is ended by the server
LEASE_S = 60
#: how often an idle owner lets hear of itself
OWNER_CHECK_S = 10.0
#: how long a lock that is held is waited for: a killed process's session ends within milliseconds
HELD_WAIT_S = 2.0
#: how long our own former session may take to end
FORMER_WAIT_S = 30.0
POLL_S = 0.05
#: half of the key of the advisory lock; the other half is the schema
LOCK_CLASS = 0x1E710C

#: of libpq, unless the URL or its environment says otherwise; a silent network is noticed well within the lease
_CONNECTION = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
    "target_session_attrs": "read-write",
}
#: what libpq's environment may say of these
_VARIABLES = {
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "application_name": "PGAPPNAME",
}
#: of each session; the server notices a silent client as soon as the client a silent server
_SESSION = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25000",
    "lock_timeout": "10s",
}
_WRITER = {
    "idle_in_transaction_session_timeout": f"{LEASE_S}s",
    "idle_session_timeout": f"{LEASE_S}s",
    "statement_timeout": f"{LEASE_S}s",
}
#: a reader holds nothing that others need; a phase or a check of everything may take its time
_READER = {"idle_in_transaction_session_timeout": "10min", "statement_timeout": "10min"}
#: what must not be off, for then a commit could be lost
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")

_SCHEMA = "quote_ident(current_schema())::regnamespace::oid"
_LOCK = f"SELECT pg_try_advisory_lock(({LOCK_CLASS}::bigint << 32) | {_SCHEMA}::bigint)"
_HOLDER = f"""
    SELECT a.pid, a.backend_start, a.application_name, a.client_addr
    FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {LOCK_CLASS} AND l.objid = {_SCHEMA}
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class PostgresqlPlace:
    """A schema (the first of the search path) of a database on a server."""

    owner_check_s = OWNER_CHECK_S

    def __init__(self, url: str) -> None:
        try:
            given = conninfo_to_dict(url)
            if any("@" in str(given.get(part) or "") for part in ("host", "dbname")):
                raise psycopg.ProgrammingError
        except psycopg.Error:  # its words may have a part of the password, and so may whatever has an @
            raise InvalidInput(
                "this is no URL that PostgreSQL's library understands; write postgresql://user@host:port/database, "
                "with special characters percent-encoded, and the password in PGPASSWORD or a password file"
            ) from None
        self._given = Secret({name: str(value) for name, value in given.items()})
        self._name = _shown(given)
        self._database = str(given.get("dbname") or "")
        self._mine: tuple[int, Any] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def key_file(self) -> Path:
        """Named by the database alone: whatever host it moves to, its key is found."""
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        return state / "interlock" / f"{quote(self._database, safe='')}.key"

    def own(self) -> None:
        """The session that writes takes it when it connects."""

    def release(self) -> None:
        """It goes with the session."""

    def require(self) -> None:
        """Connecting tells."""

    def write_engine(self) -> Engine:
        return _engine(self._connect_writer, poolclass=NullPool)

    def read_engine(self) -> Engine:
        return _engine(self._connect_reader, pool_pre_ping=True, **READERS)

    def is_lost(self, error: BaseException) -> bool:
        cause = error.orig if isinstance(error, DBAPIError) else error
        lost = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout)
        return isinstance(cause, lost)

    def _connect_reader(self) -> Session:
        session = self._connect(_READER)
        session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        session.read_only = True
        session.autocommit = False
        return session

    def _connect_writer(self) -> Session:
        session = self._connect(_WRITER)
        try:
            _require_durable(session, self._name)
            self._take(session)
        except BaseException:
            session.close()
            raise
        session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        session.autocommit = False
        return session

    def _connect(self, settings: dict[str, str]) -> Session:
        """A session with those settings, still in autocommit."""
        given = self._given.reveal()
        ours = {**_CONNECTION, "application_name": f"interlock {os.getpid()} on {socket.gethostname()}"}
        chosen = {name: value for name, value in ours.items() if _VARIABLES.get(name, "") not in os.environ}
        words = make_conninfo(**{**chosen, **given, "client_encoding": "UTF8"})
        session = psycopg.connect(words, autocommit=True)
        try:
            self._database = session.info.dbname
            calls = ", ".join("set_config(%s, %s, false)" for _ in {**_SESSION, **settings})
            values = [each for pair in {**_SESSION, **settings}.items() for each in pair]
            session.execute(f"SELECT {calls}", values)
        except BaseException:
            session.close()
            raise
        return session

    def _take(self, session: Session) -> None:
        """Takes the advisory lock. Where our own former session still has it, that one is ended first."""
        began = time.monotonic()
        while not _value(session, _LOCK):
            holder = session.execute(_HOLDER).fetchone()
            is_mine = holder is not None and (holder[0], holder[1]) == self._mine
            if is_mine and holder is not None:
                session.execute("SELECT pg_terminate_backend(%s)", (holder[0],))
            if time.monotonic() - began > (FORMER_WAIT_S if is_mine else HELD_WAIT_S):
                raise NotOwner(
                    f"{self._name} is in use by {_described(holder)}; stop that process, or talk to it instead of "
                    f"opening the database (where it is gone, the server notices within {LEASE_S} s)"
                )
            time.sleep(POLL_S)
        started = _value(session, "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        self._mine = (session.info.backend_pid, started)


def _engine(connect: Callable[[], Session], **options: Any) -> Engine:
    """Placeholders by position, as the flush compiles them."""
    engine = create_engine(
        "postgresql+psycopg://", creator=connect, paramstyle="format", use_native_hstore=False, **options
    )

    @event.listens_for(engine, "commit")
    def check(connection: Connection) -> None:
        """After an error that nobody rolled back the server answers COMMIT by rolling back, and calls it done."""
        session: Any = connection.connection.dbapi_connection
        if session.info.transaction_status is TransactionStatus.INERROR:
            raise Bug("a transaction was to be committed after an error within it; nothing is stored")

    return engine


def _require_durable(session: Session, name: str) -> None:
    """Raises Refused where this server could lose a commit, or cannot hold our text."""
    version = session.info.server_version // 10_000
    if version < SERVER_MIN:
        raise Refused(f"{name} is PostgreSQL {version}; it must be {SERVER_MIN} or newer")
    if session.info.parameter_status("server_encoding") != "UTF8":
        raise Refused(f"{name} is not encoded in UTF8; create it with ENCODING 'UTF8'")
    for setting in _DURABLE:
        if _value(session, f"SHOW {setting}") == "off":
            raise Refused(f"{name} has {setting} = off, with which a commit may be lost; set it to on")
    if _value(session, "SELECT current_schema()") is None:
        raise Refused(f"{name} has no schema of the search path; create one, or set search_path")


def _value(session: Session, query: str) -> Any:
    row = session.execute(query).fetchone()
    return None if row is None else row[0]


def _described(holder: Any) -> str:
    if holder is None:
        return "another session, which is just ending"
    pid, _, application, address = holder
    return f"{application or 'another program'} (backend {pid}, from {address or 'this server'})"


def _shown(given: dict[str, Any]) -> str:
    """The URL as messages show it."""
    user, host, port, database, service = (
        str(given.get(part) or "") for part in ("user", "host", "port", "dbname", "service")
    )
    at = f"{user}@" if user else ""
    local = host.startswith("/")
    words = f"postgresql://{at}{'' if local else host}{':' + port if port else ''}/{database}"
    options = [f"host={host}"] * local + [f"service={service}"] * bool(service)
    return words + ("?" + "&".join(options) if options else "")
