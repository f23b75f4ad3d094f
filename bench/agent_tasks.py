"""Tasks of the agent that do nothing, per minute: over the wire, in the journal, with every fsync.

One connection, as of one coordinator: each task is started under an id of the caller's, its end is heard as an event,
and it is cleared. Caller and agent share one process.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from interlock.agent.serving.agent import DEFAULT_SETTING, opened
from interlock.agent.settings.config import AgentConfig
from interlock.agent.tasks.steps import Program, Step, StepKind, Work
from interlock.ids import new_id
from interlock.verbs import ImageDelete, TaskStatus
from interlock.wire.client import Client
from interlock.wire.server import Server

#: Tasks under way at any time.
CALLERS = 128
TASKS = 4_000
_END_S_MAX = 60.0


async def measure(folder: Path, runs: int) -> list[float]:
    """Tasks per minute of each run."""
    return [await _run(folder / f"agent-tasks-{number}") for number in range(runs)]


async def _run(folder: Path) -> float:
    (root := folder / "storage").mkdir(parents=True)
    config = AgentConfig(name="bench", state_dir=folder / "state", storage_roots=(root,))
    step: Step[Any] = Step("nothing", StepKind.REPEATABLE, _nothing)
    setting = replace(DEFAULT_SETTING, programs={ImageDelete: Program((step,), lambda verb: ())})

    def publish(status: TaskStatus) -> None:
        server.publish(f"|storage|task_status|{status.taskID}", status.to_wire())

    async with opened(config, publish=publish, setting=setting) as agent:
        agent.recover()
        server = Server(agent.handle, tls=None)
        caller = await _Caller.connected(await server.start("127.0.0.1", 0))
        left = iter(range(TASKS))
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(caller.carry_out(left))
        took_s = time.monotonic() - began_s
        await caller.client.close()
        await server.close()
    return TASKS / took_s * 60


async def _nothing(work: Work[Any]) -> None:
    """The task's only step."""


class _Caller:
    """One connection, and the ends of tasks that are waited for."""

    client: Client

    def __init__(self) -> None:
        self._ends: dict[str, asyncio.Event] = {}

    @classmethod
    async def connected(cls, port: int) -> "_Caller":
        """A caller that hears the agent's events."""
        caller = cls()
        caller.client = await Client.connect("127.0.0.1", port, tls=None, server_name=None, on_event=caller._hear)
        return caller

    def _hear(self, method: str, params: Mapping[str, Any]) -> None:
        if params.get("taskState") == "finished":
            self._ends[params["taskID"]].set()

    async def carry_out(self, left: Any) -> None:
        """Starts, hears of and clears one task after another."""
        for _ in left:
            task_id = str(new_id())
            ended = self._ends[task_id] = asyncio.Event()
            names = {name: str(new_id()) for name in ("storagepoolID", "storagedomainID", "imageID")}
            await self.client.call("Image.delete", {**names, "taskID": task_id})
            async with asyncio.timeout(_END_S_MAX):
                await ended.wait()
            await self.client.call("Task.clear", {"taskID": task_id})
            del self._ends[task_id]
