"""A person at the host of a real agent, with the command line, and a coordinator's connection to the same agent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agent.asked import POOL, fresh, headers
from tests.agent.processes import WAIT_S, AgentProcess, Caller, agent_process, connected, running, until

SIZE = 8 << 20
INTERLOCK = (sys.executable, "-m", "interlock.cli")


@dataclass(frozen=True)
class Ran:
    """What a run of the command line did."""

    code: int
    out: str
    err: str


async def ran(*command: str, **variables: str) -> Ran:
    """Runs a program to its end, while this process goes on answering."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **variables},
    )
    out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert "Traceback" not in err.decode()
    return Ran(process.returncode or 0, out.decode(), err.decode())


@dataclass
class AtHost:
    """A person at the host of an agent, and a coordinator's connection to it."""

    agent: AgentProcess
    caller: Caller

    async def interlock(self, *words: str) -> Ran:
        return await ran(*INTERLOCK, "agent", *words, INTERLOCK_AGENT_STATE=str(self.agent.state))

    async def shown(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.interlock("show", task_id, "-o", "json")).out)
        return found

    async def copying(self, flow: str) -> Copying:
        """A copy under way, whose child is at work, and the task that made its source."""
        domain = await self.caller.domain(self.agent.root)
        image, volume = await self.caller.volume(domain, SIZE)
        (self.agent.root / domain / "images" / image / volume).write_bytes(os.urandom(SIZE))
        params = {
            "storagepoolID": POOL,
            "storagedomainID": domain,
            "imageID": image,
            "volumeID": volume,
            "dstSdUUID": domain,
            "dstImgUUID": fresh(),
            "dstVolUUID": fresh(),
        }
        (source,) = await self.caller.call("Host.getAllTasksStatuses")
        task_id = fresh()
        await self.caller.call("Volume.copy", headers(flow, 3), taskID=task_id, **params)
        await until(lambda: running(self.agent.job(task_id)), "the copy's process runs")
        return Copying(task_id, source, params, self.agent.root / domain / "images")


@dataclass(frozen=True)
class Copying:
    """A copy's task, its source's, its parameters, and where images lie."""

    id: str
    source: str
    params: dict[str, Any]
    images: Path


@asynccontextmanager
async def at_host(folder: Path, *options: str) -> AsyncIterator[AtHost]:
    async with agent_process(folder, *options) as agent, connected(await agent.start()) as caller:
        yield AtHost(agent, caller)


def logged(folder: Path, event: str) -> list[dict[str, Any]]:
    """The lines of an agent's JSON log about an event, without their times."""
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.startswith("{")]
    return [{key: line[key] for key in line if key != "timestamp"} for line in lines if line["event"] == event]
