"""The agent as a person at its host meets it: real processes, the command line, the service manager."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agent.asked import POOL, fresh, headers
from tests.agent.processes import WAIT_S, AgentProcess, Caller, agent_process, connected, running, until

UNIT = Path(__file__).parents[2] / "packaging" / "interlock-agent.service"
SIZE = 8 << 20
#: So slow that a copy does not end by itself within a test.
CRAWL = ("--copy-rate-bytes-per-s", str(1 << 18))
INTERLOCK = (sys.executable, "-m", "interlock.cli")
#: Runs the command line as user 65534, having read its code as root.
AS_NOBODY = """
import os, sys
import interlock.agent.asking, interlock.app
from interlock.cli.program import run
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


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


def age_is_cut(line: str) -> list[str]:
    """The words of a line of the list of tasks, without the age."""
    return re.sub(r"( \d+ min)? [\d.]+ s\b", "", line).split()


async def test_a_person_sees_what_a_host_does_and_stops_it(tmp_path: Path) -> None:
    flow = fresh()
    async with at_host(tmp_path, *CRAWL, "--json-logs") as host:
        copy = await host.copying(flow)
        listed = await host.interlock("tasks")
        assert (listed.code, listed.err) == (0, "")
        heading, *rows = listed.out.splitlines()
        assert heading.split() == ["TASK", "VERB", "STATE", "RESULT", "DONE", "AGE", "FLOW"]
        first, second = map(age_is_cut, rows)
        assert [word for word in first if not word.endswith("%")] == [copy.id, "Volume.copy", "running", flow]
        assert second == [copy.source, "Volume.create", "finished", "success", "100%"]

        told = await host.shown(copy.id[:23])
        child = running(host.agent.job(copy.id))
        assert child is not None
        (process,) = told.pop("children")
        assert "qemu-img" in process.pop("command")
        assert process == {"name": "copy", "pid": child.pid, "is_running": True}
        assert told.pop("created_at").endswith("+00:00")
        assert told.pop("progress") in {None, *range(100)}
        print(told)
        print((await host.interlock("show", copy.id)).out)

        stopped = await host.interlock("stop", copy.id)
        assert (stopped.code, stopped.err) == (0, "")
        assert stopped.out.splitlines()[-1] == (
            f"task {copy.id} ended: cleanSuccess: value=the task was stopped abortedcode=411"
        )
        assert [path.name for path in copy.images.iterdir()] == [copy.params["imageID"]]
    (asked,) = logged(tmp_path, "person_asked")
    assert asked == {
        "event": "person_asked",
        "level": "info",
        "uid": os.getuid(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "verb": "Task.stop",
        "params": {"taskID": copy.id},
    }
