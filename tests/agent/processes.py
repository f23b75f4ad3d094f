"""Real agent processes that tests kill and start again, reached over the wire."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interlock.agent.tasks.children import ProcessId
from interlock.wire.client import Client
from tests.agent.asked import POOL, fresh

WAIT_S = 30.0


async def until(fact: Callable[[], Any], what: str) -> Any:
    """Waits, bounded, until `fact` gives something true, and returns it."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not (found := fact()):  # facts of other processes set no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"after {WAIT_S:g} s still not: {what}") from None
    return found


@dataclass
class AgentProcess:
    """An agent's folder, and the process that serves it at the moment."""

    folder: Path
    options: tuple[str, ...]
    transport: tuple[str, ...] = ("--plain",)
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "storage"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def spawn(self, *more: str) -> subprocess.Popen[bytes]:
        """A process on this folder, ready or not."""
        self.root.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "interlock.agent", "--name", "host1"]
        command += ["--state-dir", str(self.state), "--storage-root", str(self.root), "--listen-port", "0"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*command, *self.transport, *self.options, *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    async def start(self) -> int:
        """Starts a process and returns its port once it is ready."""
        (self.state / "port").unlink(missing_ok=True)
        self.process = self.spawn()
        return int(await until(self._port, f"the agent is ready; its log: {self.folder / 'log'}"))

    def _port(self) -> str:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return (self.state / "port").read_text().strip()
        except FileNotFoundError:
            return ""

    def end(self, number: int) -> int:
        """Sends a signal to the process and returns how it ended."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        self.process = None
        return status

    def job(self, task_id: str) -> Path:
        """The folder of a copying task's child."""
        return self.state / "jobs" / task_id / "copy"

    def cleanup(self) -> None:
        """Ends the agent and whatever it has started."""
        if self.process is not None:
            self.end(signal.SIGKILL)
        for stat in self.state.glob("jobs/*/*/stat"):
            try:
                os.kill(int(stat.read_bytes().split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                continue


@asynccontextmanager
async def agent_process(folder: Path, *options: str, **more: Any) -> AsyncIterator[AgentProcess]:
    """An agent process that has yet to be started."""
    agent = AgentProcess(folder, options, **more)
    try:
        yield agent
    finally:
        agent.cleanup()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Caller]:
    """A client of an agent on this machine, without TLS."""
    events: list[tuple[str, Mapping[str, Any]]] = []
    client = await Client.connect(
        "127.0.0.1", port, tls=None, server_name=None, on_event=lambda *event: events.append(event)
    )
    try:
        yield Caller(client, events)
    finally:
        await client.close()


@dataclass
class Caller:
    """A connection and short ways to use it."""

    client: Client
    events: list[tuple[str, Mapping[str, Any]]]

    async def call(self, method: str, headers: Mapping[str, str] | None = None, **params: Any) -> Any:
        return await self.client.call(method, params, headers=headers or {}, timeout_s=WAIT_S)

    async def domain(self, root: Path) -> str:
        domain_id = fresh()
        made: dict[str, Any] = {"storagedomainID": domain_id, "domainName": "d", "typeArgs": str(root)}
        assert await self.call("StorageDomain.create", **made) is True
        return domain_id

    async def volume(self, domain: str, size: int) -> tuple[str, str]:
        image, volume = fresh(), fresh()
        names: dict[str, Any] = {"storagepoolID": POOL, "storagedomainID": domain, "imageID": image}
        names["volumeID"] = volume
        task_id = await self.call("Volume.create", **names, size=size, volFormat=5)
        assert (await self.ended(task_id))["taskResult"] == "success"
        return image, volume

    async def ended(self, task_id: str) -> dict[str, Any]:
        """The task's status once it is done."""
        async with asyncio.timeout(WAIT_S):
            while True:
                status: dict[str, Any] = await self.call("Task.getStatus", taskID=task_id)
                if status["taskState"] == "finished":
                    return status
                await asyncio.sleep(0.02)


def running(job: Path) -> ProcessId | None:
    """The process behind a job folder, if it is known and alive."""
    try:
        line = (job / "stat").read_bytes()
        pid = int(line.split()[0])
        now = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    start, start_now = (int(text.rsplit(b")", 1)[1].split()[19]) for text in (line, now))
    is_zombie = now.rsplit(b")", 1)[1].split()[0] == b"Z"
    if start != start_now or is_zombie:
        return None
    return ProcessId(pid, start, (job / "boot_id").read_text())
