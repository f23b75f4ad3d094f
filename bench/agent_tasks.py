"""Tasks of the agent that do nothing, per minute: over the wire, in the journal, with every fsync.

Each is started under an id of the caller's, asked about until it is done, and cleared.
"""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from interlock.agent.serving.agent import DEFAULT_SETTING, opened
from interlock.agent.settings.config import AgentConfig
from interlock.agent.tasks.steps import Program, Step, StepKind, Work
from interlock.ids import new_id
from interlock.verbs import ImageDelete
from interlock.wire.client import Client
from interlock.wire.server import Server

CONNECTIONS = 8
CALLERS = 256
TASKS = 4_000


async def measure(folder: Path, runs: int) -> list[float]:
    """Tasks per minute of each run."""
    return [await _run(folder / f"agent-tasks-{number}") for number in range(runs)]


async def _run(folder: Path) -> float:
    (root := folder / "storage").mkdir(parents=True)
    config = AgentConfig(name="bench", state_dir=folder / "state", storage_roots=(root,))
    step: Step[Any] = Step("nothing", StepKind.REPEATABLE, _nothing)
    setting = replace(DEFAULT_SETTING, programs={ImageDelete: Program((step,), lambda verb: ())})
    async with opened(config, publish=lambda status: None, setting=setting) as agent:
        agent.recover()
        server = Server(agent.handle, tls=None)
        port = await server.start("127.0.0.1", 0)
        clients = [await Client.connect("127.0.0.1", port, tls=None, server_name=None) for _ in range(CONNECTIONS)]
        left = iter(range(TASKS))
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as callers:
            for number in range(CALLERS):
                callers.create_task(_call(clients[number % CONNECTIONS], left))
        took_s = time.monotonic() - began_s
        for client in clients:
            await client.close()
        await server.close()
    return TASKS / took_s * 60


async def _nothing(work: Work[Any]) -> None:
    """The task's only step."""


async def _call(client: Client, left: Any) -> None:
    """Starts, watches and clears one task after another."""
    for _ in left:
        task = {"taskID": str(new_id())}
        names = {name: str(new_id()) for name in ("storagepoolID", "storagedomainID", "imageID")}
        await client.call("Image.delete", {**names, **task})
        while (await client.call("Task.getStatus", task))["taskState"] != "finished":  # noqa: ASYNC110  # another side of a wire sets no event
            await asyncio.sleep(0.005)
        await client.call("Task.clear", task)
