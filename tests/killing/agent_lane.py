"""One agent that is killed where it is told and started again, with a storage root of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from interlock.testing.forked import Forked
from interlock.verbs import Code
from interlock.wire.client import Client, NotSent, RpcError, Unanswered
from tests.killing.agent_storage import Storage

WAIT_S = 60.0
_POLL_S = 0.002
#: A question is asked again after this even if no event came: one may have come before the connection.
_NEWS_S = 0.1

#: `fail` and `slow` hold patterns of arguments: what matches the one is refused, a copy that matches the other crawls.
_QEMU_IMG = """#!/bin/sh
read -r fail <"$0.fail"; read -r slow <"$0.slow"
case "$*" in $fail) echo refused >&2; exit 1;; $slow) verb=$1; shift; exec qemu-img "$verb" -r 1024 "$@";; esac
exec qemu-img "$@"
"""


class Died(Exception):
    """The agent ended before its answer was out."""


class Lane:
    """A folder, the agent that serves it at the moment, and the one connection to it."""

    def __init__(self, folder: Path, *, fail: str, slow: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.state = folder / "state"
        self.storage = Storage(folder / "storage", self.state / "pools")
        self.storage.root.mkdir()
        self.told: dict[str, str] = {}
        self._news = asyncio.Event()
        self._process: Forked | None = None
        self._client: Client | None = None
        self._failpoints = folder / "failpoints"
        self._failpoints.mkdir()
        self._program = folder / "qemu-img"
        self._program.write_text(_QEMU_IMG)
        self._program.chmod(0o755)
        for name, pattern in (("fail", fail), ("slow", slow)):
            self._program.with_name(f"qemu-img.{name}").write_text(pattern)

    async def start(self) -> None:
        """Starts an agent, which has opened its doors when this returns."""
        port = self.state / "port"
        port.unlink(missing_ok=True)
        arguments = ["agent", "--plain", "--name", "host1", "--state-dir", str(self.state), "--listen-port", "0"]
        arguments += ["--storage-root", str(self.storage.root), "--qemu-img", str(self._program)]
        environment = {**os.environ, "INTERLOCK_FAILPOINTS": str(self._failpoints)}
        self._process = process = Forked(arguments, self.folder / "log", environment)

        def ready() -> bool:
            assert process.poll() is None, self.log()
            return port.exists()

        await self.until(ready, "the agent is ready")
        self._client = await Client.connect(
            "127.0.0.1", int(port.read_text()), tls=None, server_name=None, on_event=self._hear
        )

    def _hear(self, method: str, params: Mapping[str, Any]) -> None:
        if method.startswith("|storage|task_status|"):
            self.told[params["taskID"]] = params["taskState"]
        self._news.set()

    async def end(self) -> None:
        """Kills the agent if it lives, and closes the connection."""
        if self._process is not None:
            self._process.kill()
            await self.gone()

    async def gone(self) -> int:
        """How the agent ended, once it has."""
        process, client = self._process, self._client
        assert process is not None
        await self.until(lambda: process.poll() is not None, "the agent is gone")
        if client is not None:
            await client.close()
        self._process = self._client = None
        assert process.returncode is not None
        return process.returncode

    @property
    def is_alive(self) -> bool:
        """Whether the agent has not ended."""
        return self._process is not None and self._process.poll() is None

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """The answer. Raises `RpcError` and `Died`."""
        assert self._client is not None
        try:
            return await self._client.call(method, params, timeout_s=WAIT_S)
        except (Unanswered, NotSent) as lost:
            raise Died(str(lost)) from lost

    async def status(self, task_id: str) -> dict[str, Any] | None:
        """The task's status; None if it is unknown."""
        try:
            found: dict[str, Any] = await self.call("Task.getStatus", {"taskID": task_id})
        except RpcError as error:
            if error.code != Code.UNKNOWN_TASK:
                raise
            return None
        return found

    async def heard(self, task_id: str) -> None:
        """Returns when the agent has told by itself that the task is over: asking would make it write more often."""
        client = self._client
        assert client is not None
        async with asyncio.timeout(WAIT_S):
            closed = asyncio.ensure_future(client.wait_closed())
            try:
                while self.told.get(task_id) != "finished":
                    self._news.clear()
                    news = asyncio.ensure_future(self._news.wait())
                    await asyncio.wait({news, closed}, return_when=asyncio.FIRST_COMPLETED)
                    news.cancel()
                    if closed.done():
                        raise Died(f"the agent ended during {task_id}")
            finally:
                closed.cancel()

    async def ended(self, task_id: str) -> dict[str, Any]:
        """The task's status once it is over."""
        async with asyncio.timeout(WAIT_S):
            while True:
                self._news.clear()
                status = await self.status(task_id)
                assert status is not None, f"task {task_id} was forgotten"
                if status["taskState"] == "finished":
                    return status
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), _NEWS_S)

    def arm(self, order: str) -> None:
        """From now on hits are counted anew, and the hit that the order names kills (`name:n:before|after`)."""
        (self._failpoints / "log").unlink(missing_ok=True)
        aside = self._failpoints / "kill.new"
        aside.write_text(order)
        aside.rename(self._failpoints / "kill")

    def disarm(self) -> None:
        """Nothing kills any more."""
        (self._failpoints / "kill").unlink(missing_ok=True)

    def hits(self) -> list[tuple[str, int]]:
        """Every hit since `arm`, in order."""
        log = self._failpoints / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(name, int(number)) for name, number in (line.rsplit(" ", 1) for line in lines)]

    def jobs(self) -> list[str]:
        """The job folders that are there."""
        folder = self.state / "jobs"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def processes(self) -> list[str]:
        """The command lines of the processes that this agent's children are or have started."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(FileNotFoundError, ProcessLookupError):
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(self.folder) in line:
                    found.append(line)
        return found

    def log(self) -> str:
        """What the agent has logged since its last start."""
        return (self.folder / "log").read_text(errors="replace")

    def complaints(self) -> str:
        """What the agent has logged if that names a mistake of its own."""
        text = self.log()
        return text if "Traceback" in text or "task_lost_by_a_bug" in text or "task_step_raised" in text else ""

    async def until(self, fact: Callable[[], Any], what: str) -> None:
        """Waits, bounded, for a fact of another process, which sets no event."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not fact():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise AssertionError(f"after {WAIT_S:g} s still not: {what}") from None
