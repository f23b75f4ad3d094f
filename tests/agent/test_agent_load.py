"""A thousand tasks at once from fifty connections for a minute: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import signal
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from interlock.verbs import Code
from interlock.wire.client import Client, ConnectFailed, NotSent, RpcError, Unanswered
from tests.agent.asked import POOL, fresh
from tests.agent.processes import AgentProcess, agent_process, connected

SEED = 20
DURATION_S = 60.0
CONNECTIONS = 50
#: Each connection keeps this many tasks under way: a thousand in all.
TASKS_EACH = 20
RSS_KIB_MAX = 300 * 1024
SIZE = 64 * 1024
_PAUSE_S = 0.02


@dataclass
class Load:
    """What all callers share, and what they found."""

    agent: AgentProcess
    domain: str
    port: int
    until_s: float
    counts: Counter[str] = field(default_factory=Counter)
    #: What each task asked for and how it ended, by id.
    made: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    rss_kib: list[int] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return asyncio.get_running_loop().time() > self.until_s

    def image(self, image: str, volume: str) -> Path:
        return self.agent.root / self.domain / "images" / image / volume


class Caller:
    """One connection, which breaks now and then, and its tasks."""

    def __init__(self, load: Load, random: Random) -> None:
        self.load = load
        self.random = random
        self.client: Client | None = None
        self.connecting = asyncio.Lock()
        self.images: list[tuple[str, str]] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(TASKS_EACH):
                tasks.create_task(self._work())
        if self.client is not None:
            await self.client.close()

    async def _work(self) -> None:
        while not self.load.is_over:
            await self._one_task()

    async def _one_task(self) -> None:
        load, task_id = self.load, fresh()
        if self.images and self.random.random() < 0.5:
            method, (image, volume) = "Image.delete", self.images.pop()
            more: dict[str, Any] = {}
        else:
            method, (image, volume) = "Volume.create", (fresh(), fresh())
            more = {"volumeID": volume, "size": SIZE, "volFormat": 5}
        names = {"taskID": task_id, "storagepoolID": POOL, "storagedomainID": load.domain, "imageID": image}
        for _ in range(2 if self.random.random() < 0.1 else 1):
            assert await self.call(method, {**names, **more}) == task_id
        load.made[task_id] = (method, image, volume)
        load.counts["tasks"] += 1
        if self.random.random() < 0.1:
            await self.call("Task.stop", {"taskID": task_id})
            load.counts["stops"] += 1
        if self.random.random() < 0.02 and self.client is not None:
            load.counts["reconnects"] += 1
            await self.client.close()
        result = load.ended[task_id] = await self._ended(task_id)
        if (method, result) in (("Volume.create", "success"), ("Image.delete", "cleanSuccess")):
            self.images.append((image, volume))
        await self.call("Task.clear", {"taskID": task_id})
        load.counts["clears"] += 1
        if self.random.random() < 0.05:
            try:
                await self.call(method, {**names, **more})
            except RpcError as refused:
                if refused.code not in (Code.TASK_CLEARED, Code.TASK_ID_TOO_OLD):
                    raise
            else:
                raise AssertionError(f"task {task_id} was cleared and is started again")

    async def _ended(self, task_id: str) -> str:
        while True:
            status = await self.call("Task.getStatus", {"taskID": task_id})
            if status["taskState"] == "finished":
                return str(status["taskResult"])
            await asyncio.sleep(_PAUSE_S)

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """The answer, however often it has to be asked for: all calls may be repeated."""
        while True:
            try:
                client = await self._connected()
                return await client.call(method, params, timeout_s=30)
            except (ConnectFailed, NotSent, Unanswered, OSError):
                self.load.counts["unanswered"] += 1
            except RpcError as refused:
                if method == "Task.clear" and refused.code in (Code.UNKNOWN_TASK, Code.TASK_CLEARED):
                    return True  # the first try was heard
                if refused.code not in (Code.RESOURCE_EXHAUSTED, Code.RECOVERY_IN_PROGRESS):
                    raise
                self.load.counts["not now"] += 1
            await asyncio.sleep(_PAUSE_S)

    async def _connected(self) -> Client:
        async with self.connecting:
            if self.client is None or self.client.closed_because is not None:
                self.client = await Client.connect("127.0.0.1", self.load.port, tls=None, server_name=None)
            return self.client


async def watch(load: Load) -> None:
    """Notes the agent's memory, and kills it once in the middle."""
    middle_s = load.until_s - DURATION_S / 2
    has_died = False
    while not load.is_over:
        await asyncio.sleep(0.5)
        assert load.agent.process is not None
        status = Path(f"/proc/{load.agent.process.pid}/status").read_text()
        load.rss_kib.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")))
        if not has_died and asyncio.get_running_loop().time() > middle_s:
            has_died = True
            load.agent.end(signal.SIGKILL)
            load.port = await load.agent.start()
            load.rss_kib.clear()


async def test_a_thousand_tasks_at_once_from_fifty_connections(tmp_path: Path) -> None:
    async with agent_process(tmp_path, "--workers", "8") as agent:
        port = await agent.start()
        async with connected(port) as first:
            domain = await first.domain(agent.root)
        load = Load(agent, domain, port, asyncio.get_running_loop().time() + DURATION_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch(load))
            for number in range(CONNECTIONS):
                group.create_task(Caller(load, Random(SEED + number)).run())
        async with connected(load.port) as last:
            assert await last.call("Host.getAllTasksStatuses") == {}
    print(f"seed {SEED}: {dict(load.counts)}; at most {max(load.rss_kib)} KiB")
    assert load.counts["tasks"] == load.counts["clears"] == len(load.ended) == len(load.made)
    assert min(load.counts[what] for what in ("tasks", "stops", "reconnects", "unanswered")) > 0
    assert set(load.ended.values()) <= {"success", "cleanSuccess"}
    whole: set[tuple[str, str]] = set()
    for task_id, (method, image, volume) in load.made.items():  # in the order in which they were asked for
        if load.ended[task_id] == "success":
            (whole.add if method == "Volume.create" else whole.discard)((image, volume))
    found = {(path.parent.name, path.name) for path in load.image("*", "*").parent.parent.glob("*/*")}
    assert found == whole | {(image, f"{volume}.meta") for image, volume in whole}
    assert max(load.rss_kib) < RSS_KIB_MAX
    third = len(load.rss_kib) // 3
    assert statistics.mean(load.rss_kib[-third:]) < 1.3 * statistics.mean(load.rss_kib[third:-third])
