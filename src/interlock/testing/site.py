"""A site in a scratch folder: a coordinator and an agent as processes of their own, with real files.

Everything is found again by the folder alone, so that killing any process loses nothing of the site.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx

from interlock.testing.forked import Forked

T = TypeVar("T")
Process = subprocess.Popen[bytes] | Forked

#: bounds of waiting for a fact, seconds
READY_S = 30.0
POLL_S = 0.02


class NotReady(Exception):
    """A fact did not come about within the bound; the message has the log's end."""


def wait_for(what: str, fact: Callable[[], T | None], *, within_s: float = READY_S) -> T:
    """The first result of `fact` that is not None or False; raises NotReady at the bound."""
    until = time.monotonic() + within_s
    while True:
        found = fact()
        if found is not None and found is not False:
            return found
        if time.monotonic() > until:
            raise NotReady(f"not within {within_s:g} s: {what}")
        time.sleep(POLL_S)


class Site:
    """One coordinator (`state`), one agent (`agent`), one folder of storage (`storage`)."""

    def __init__(
        self,
        folder: Path,
        *,
        stock: bool = False,
        copy_rate_bytes_per_s: int | None = None,
        forked: bool = False,
        database: str | None = None,
        catalog: str | None = None,
        host: str = "h1",
        state: Path | None = None,
    ) -> None:
        """`forked`: processes start quickly, see forked.py. `database`: the URL of a PostgreSQL database, for
        the coordinator; otherwise it has a file. `catalog`: what the coordinator can run, as module:name. `host`:
        the agent's name. `state`: the coordinator's folder, where that one belongs to another site."""
        self.database = database
        self.catalog = catalog
        self.host = host
        self.folder = folder
        self.forked = forked
        self.state = state or folder / "state"
        self.storage = folder / "storage"
        self.socket = self.state / "interlock.sock"
        self.stock = stock
        self.copy_rate_bytes_per_s = copy_rate_bytes_per_s
        self.server: Process | None = None
        self.agent: Process | None = None
        self._agent_port = 0
        self.storage.mkdir(parents=True, exist_ok=True)

    # processes --------------------------------------------------------------------------------------

    def start_server(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        """Starts the coordinator and waits until it answers."""
        if self.database is not None:
            options = ("--database", self.database, *options)
        if self.catalog is not None:
            options = ("--catalog", self.catalog, *options)
        self.server = self._start("server", ["serve", "--state", str(self.state), *options], environment)
        marker = f"interlock: ready on {self.socket}"
        self._wait_ready("server", self.server, lambda: marker in self.log("server"))

    def start_agent(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts the agent (with a certificate of the coordinator's authority) and waits for its port."""
        if not (self.folder / "agent-tls").exists():
            self.run("host-certificate", self.host, "127.0.0.1", "--state", str(self.state), "--out",
                     str(self.folder / "agent-tls"))  # fmt: skip
        port = self.folder / "agent" / "port"
        if port.exists():  # an agent that dies before it is ready tells no port, and the one after it keeps that
            self._agent_port = int(port.read_text())
            port.unlink()
        arguments = [
            "agent", "--name", self.host, "--state-dir", str(self.folder / "agent"), "--storage-root",
            str(self.storage), "--listen-port", str(self._agent_port), "--tls-dir", str(self.folder / "agent-tls"),
        ]  # fmt: skip
        if self.stock:
            arguments.append("--stock")
        if self.copy_rate_bytes_per_s is not None:
            arguments += ["--copy-rate-bytes-per-s", str(self.copy_rate_bytes_per_s)]
        self.agent = self._start("agent", arguments, environment)
        self._wait_ready("agent", self.agent, port.exists)

    def _start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None) -> Process:
        log, variables = self.folder / f"{name}.log", {**os.environ, **(environment or {})}
        if self.forked:
            log.unlink(missing_ok=True)
            return Forked(arguments, log, variables)
        with log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "interlock.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
            )

    def _wait_ready(self, name: str, process: Process, ready: Callable[[], bool]) -> None:
        def fact() -> bool:
            if process.poll() is not None:
                raise NotReady(f"the {name} ended with {process.returncode}: {self.log(name)[-2000:]}")
            return ready()

        wait_for(f"the {name} is ready", fact)

    def log(self, name: str) -> str:
        """What a process has printed since its last start."""
        log = self.folder / f"{name}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def kill_server(self) -> None:
        """SIGKILL, and waits until it is gone."""
        _end(self.server, signal.SIGKILL)

    def stop_server(self) -> None:
        """SIGTERM, and waits for the end."""
        _end(self.server, signal.SIGTERM)

    def server_died_of_sigkill(self) -> bool:
        """Waits for the coordinator's own end; whether it was SIGKILL."""
        assert self.server is not None
        wait_for("the coordinator is gone", lambda: self.server is None or self.server.poll() is not None)
        return self.server.returncode == -signal.SIGKILL

    def kill_agent(self) -> None:
        """SIGKILL, and waits until it is gone; its children live on."""
        _end(self.agent, signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM to both; what does not end within the bound is killed."""
        for process in (self.server, self.agent):
            _end(process, signal.SIGTERM)

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # the command line -------------------------------------------------------------------------------

    def run(self, *arguments: str, expect: int | None = 0) -> str:
        """Runs `interlock …` and returns what it printed; another exit code than expected is an error."""
        done = subprocess.run(
            [sys.executable, "-m", "interlock.cli", "--socket", str(self.socket), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if expect is not None and done.returncode != expect:
            raise AssertionError(
                f"interlock {' '.join(arguments)} ended with {done.returncode}, not {expect}:\n"
                f"{done.stdout}{done.stderr}"
            )
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """The JSON that `interlock -o json …` prints."""
        return json.loads(self.run("-o", "json", *arguments))

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """The list in what `interlock -o json …` prints."""
        return next(value for value in self.json(*arguments).values() if isinstance(value, list))

    def follow(self, *arguments: str, to: IO[str]) -> int:
        """Runs `interlock …` with its output going to a file as it comes; returns the exit code."""
        return subprocess.run(
            [sys.executable, "-m", "interlock.cli", "--socket", str(self.socket), *arguments],
            stdin=subprocess.DEVNULL, stdout=to, stderr=subprocess.STDOUT, timeout=300,
        ).returncode  # fmt: skip

    # the API ----------------------------------------------------------------------------------------

    def submit(self, command: str, **parameters: Any) -> str:
        """Submits a command; the job's id. Raises httpx's TransportError where the server dies meanwhile."""
        with self._client() as client:
            answer = client.post("/api/v1/jobs", json={"command": command, "parameters": parameters})
        if answer.status_code not in (200, 201):
            raise AssertionError(f"{command} was answered with {answer.status_code}: {answer.text}")
        return str(answer.json()["job_id"])

    def api(self, path: str, body: Any = None) -> Any:
        """What the API answers at a path, to a body where one is given. Raises httpx's TransportError where the server
        dies meanwhile, HTTPStatusError for a refusal."""
        with self._client() as client:
            answer = client.get(f"/api/v1{path}") if body is None else client.post(f"/api/v1{path}", json=body)
        return answer.raise_for_status().json()

    def ended(self, job_id: str, *, within_s: float = 60.0) -> dict[str, Any]:
        """The job, once it has ended."""

        def fact() -> dict[str, Any] | None:
            with self._client() as client:
                job: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()
            return job if job["ended_at"] is not None else None

        return wait_for(f"job {job_id} has ended", fact, within_s=within_s)

    def do(self, command: str, **parameters: Any) -> dict[str, Any]:
        """Submits a command and waits for its success."""
        job = self.ended(self.submit(command, **parameters))
        if job["result"] != "SUCCEEDED":
            raise AssertionError(f"{command} {job['result']}: {job['failure']}")
        return job

    def violations(self) -> list[dict[str, Any]]:
        """What `verify` finds."""
        with self._client() as client:
            found: list[dict[str, Any]] = client.get("/api/v1/verify").raise_for_status().json()["violations"]
        return found

    def _client(self) -> httpx.Client:
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://interlock", timeout=30.0
        )

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, read past the server; ids are bytes, or UUIDs on PostgreSQL."""
        if self.database is not None:
            import psycopg  # late: whoever has no PostgreSQL need not have it

            with psycopg.connect(self.database) as session:
                return session.execute(query.replace("?", "%s"), values).fetchall()
        with closing(sqlite3.connect(f"file:{self.state / 'state.db'}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    # failpoints -------------------------------------------------------------------------------------

    def failpoints(self) -> dict[str, str]:
        """The environment of a process whose failpoints are recorded, and obeyed, in this site."""
        (self.folder / "failpoints").mkdir(exist_ok=True)
        return {"INTERLOCK_FAILPOINTS": str(self.folder / "failpoints")}

    def arm(self, order: str) -> None:
        """From now on hits are counted anew, and the hit that the order names kills (`name:n:before|after`)."""
        (self.folder / "failpoints" / "log").unlink(missing_ok=True)
        aside = self.folder / "failpoints" / "kill.new"
        aside.write_text(order)
        aside.rename(self.folder / "failpoints" / "kill")

    def disarm(self) -> None:
        """Nothing kills any more."""
        (self.folder / "failpoints" / "kill").unlink(missing_ok=True)

    def hits(self) -> list[tuple[str, int]]:
        """Every hit since `arm`, in order."""
        log = self.folder / "failpoints" / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(name, int(number)) for name, number in (line.rsplit(" ", 1) for line in lines)]

    # the files, read without asking anybody ---------------------------------------------------------

    def images(self) -> dict[str, Path]:
        """Every image folder of every domain, hidden ones too: id → folder."""
        return {path.name: path for path in sorted(self.storage.glob("*/images/*"))}

    def agent_journal(self) -> bytes:
        """The agent's journal as it lies on the disk."""
        return b"".join(path.read_bytes() for path in sorted((self.folder / "agent").glob("journal*")))

    def remove(self) -> None:
        """Removes the scratch folder."""
        shutil.rmtree(self.folder)


def _end(process: Process | None, number: int) -> None:
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
