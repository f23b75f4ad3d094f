"""A PostgreSQL server in a scratch folder, for tests: real, durable in its settings, and gone when it is stopped.

It lies in memory where there is some: fsync is on as it must be, and costs nothing there.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from interlock.testing.site import NotReady, wait_for

#: where Debian puts each version's programs
_DEBIAN = Path("/usr/lib/postgresql")
_MEMORY = Path("/dev/shm")
#: who serves when we are root, whom PostgreSQL refuses
_USER = "postgres"
STOP_S = 20.0
_SETTINGS = (
    "listen_addresses=", "unix_socket_permissions=0777", "shared_buffers=32MB", "max_connections=200",
    "max_wal_size=128MB", "min_wal_size=8MB", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off",
)  # fmt: skip


class NoPostgres(Exception):
    """There is no PostgreSQL here; the message says what to install."""


class PostgresServer:
    """Runs from `start` to `stop`, with settings beside those for tests. The role `interlock` owns what it creates,
    and is no superuser."""

    def __init__(self, *settings: str) -> None:
        self._settings = (*_SETTINGS, *settings)
        self._programs = programs()
        memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="interlock-pg-", dir=memory))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            entry = pwd.getpwnam(_USER)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._as_user = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Makes the cluster at the first start; returns when it answers. It crashes when the calling thread ends
        before `stop`, so that nothing outlives a test run that is killed. Raises NotReady."""
        data, log = self.folder / "data", self.folder / "log"
        if not data.exists():
            self._run(
                "initdb", "--pgdata", str(data), "--username=root_of_all", "--auth=trust", "--encoding=UTF8",
                "--locale=C.UTF-8", "--no-sync", "--no-instructions", "--wal-segsize=1",
            )  # fmt: skip
        options = [f"-cunix_socket_directories={self.folder}", *(f"-c{setting}" for setting in self._settings)]
        with log.open("ab") as output:
            self._server = subprocess.Popen(
                self._command("postgres", "-D", str(data), *options, die_with_us=True),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/",
            )  # fmt: skip

        def answers() -> bool:
            if self._server is not None and self._server.poll() is not None:
                raise NotReady(f"PostgreSQL ended with {self._server.returncode}: {log.read_text()[-2000:]}")
            return self._psql("postgres", "SELECT 1").returncode == 0

        wait_for("PostgreSQL answers", answers)
        if b"interlock" not in self._psql("postgres", "SELECT rolname FROM pg_roles").stdout:
            self.sql("postgres", "CREATE ROLE interlock LOGIN CREATEDB")

    def stop(self, number: int = signal.SIGINT) -> None:
        """Ends it at once, sessions and all: SIGINT in good order, SIGQUIT as a crash does. The files stay."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(number)
            self._server.wait(STOP_S)

    def remove(self) -> None:
        """Stops it and removes the folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def url(self, database: str, user: str = "interlock") -> str:
        """By which a role reaches a database; `root_of_all` is the superuser."""
        return f"postgresql:///{database}?host={quote(str(self.folder))}&user={user}"

    def create(self, database: str, template: str = "template1") -> str:
        """Creates a database as a copy of another that nobody uses; returns its URL."""
        self.sql("postgres", f"CREATE DATABASE {database} OWNER interlock TEMPLATE {template}")
        return self.url(database)

    def sql(self, database: str, statement: str) -> None:
        """Executes a statement as superuser."""
        done = self._psql(database, statement)
        if done.returncode != 0:
            raise NotReady(f"{statement}: {done.stderr.decode()}")

    def _psql(self, database: str, statement: str) -> "subprocess.CompletedProcess[bytes]":
        arguments = ["-XAtq", "-h", str(self.folder), "-U", "root_of_all", "-d", database, "-c", statement]
        return subprocess.run([str(self._programs / "psql"), *arguments], capture_output=True, check=False)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(self._command(program, *arguments), capture_output=True, check=False, cwd="/")
        if done.returncode != 0:
            raise NotReady(f"{program} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")

    def _command(self, program: str, *arguments: str, die_with_us: bool = False) -> Sequence[str]:
        """The program under its user; with `die_with_us` it crashes when this process is killed."""
        prefix = [*self._as_user, *(["--pdeathsig=QUIT"] if die_with_us else [])]
        return [*(["setpriv", *prefix] if prefix else []), str(self._programs / program), *arguments]


def programs() -> Path:
    """The folder of the newest server's programs here. Raises NoPostgres."""
    found = [path.parent for path in _DEBIAN.glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if not found and on_path is not None:
        return Path(on_path).resolve().parent
    if not found:
        raise NoPostgres(
            "there is no PostgreSQL server here; install Debian's package postgresql (tools/setup --for-tests does)"
        )
    return max(found, key=lambda path: int(path.parent.name))
