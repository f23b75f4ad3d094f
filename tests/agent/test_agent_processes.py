"""Real agent processes over the wire: killed in the middle of a copy, started again, ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from interlock.verbs import Code
from interlock.wire.authority import Authority
from interlock.wire.client import Client, ConnectFailed, RpcError
from interlock.wire.tls import client_context
from tests.agent.asked import POOL, fresh, headers
from tests.agent.processes import AgentProcess, Caller, agent_process, connected, running, until

SIZE = 8 << 20
#: Slow enough that a copy of SIZE outlasts a restart of the agent, and over in a few seconds.
RATE = ("--copy-rate-bytes-per-s", str(4 << 20))
#: So slow that the copy does not end by itself within a test.
CRAWL = ("--copy-rate-bytes-per-s", str(1 << 18))


class Copying:
    """A domain with a filled volume, and a copy of it under way."""

    def __init__(self, agent: AgentProcess, domain: str, source: tuple[str, str]) -> None:
        self.agent, self.domain, self.source = agent, domain, source
        self.target = (fresh(), fresh())
        self.task_id = fresh()

    def path(self, name: tuple[str, str]) -> Path:
        return self.agent.root / self.domain / "images" / name[0] / name[1]

    @property
    def job(self) -> Path:
        return self.agent.job(self.task_id)

    def params(self) -> dict[str, Any]:
        return {
            "taskID": self.task_id,
            "storagepoolID": POOL,
            "storagedomainID": self.domain,
            "imageID": self.source[0],
            "volumeID": self.source[1],
            "dstSdUUID": self.domain,
            "dstImgUUID": self.target[0],
            "dstVolUUID": self.target[1],
        }

    def images(self) -> list[str]:
        return sorted(path.name for path in (self.agent.root / self.domain / "images").iterdir())

    def is_whole(self) -> bool:
        source, target = self.path(self.source), self.path(self.target)
        compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", str(source), str(target)]
        return subprocess.run(compare, check=False).returncode == 0


async def copying(agent: AgentProcess, caller: Caller) -> Copying:
    """Starts a copy and returns when its child is at work."""
    domain = await caller.domain(agent.root)
    copy = Copying(agent, domain, await caller.volume(domain, SIZE))
    copy.path(copy.source).write_bytes(os.urandom(SIZE))
    assert await caller.call("Volume.copy", **copy.params()) == copy.task_id
    await until(lambda: running(copy.job), "the copy's process runs")
    return copy


async def test_a_copy_outlives_its_agent_and_is_found_again(tmp_path: Path) -> None:
    async with agent_process(tmp_path, *RATE) as agent:
        async with connected(await agent.start()) as caller:
            copy = await copying(agent, caller)
            before = running(copy.job)
        agent.end(signal.SIGKILL)
        assert before is not None
        assert running(copy.job) == before
        os.kill(before.pid, signal.SIGSTOP)  # however long the agent's start takes
        async with connected(await agent.start()) as caller:
            status = await caller.call("Task.getStatus", taskID=copy.task_id)
            assert (status["taskState"], status["message"]) == ("running", "running job 2 of 4")
            assert running(copy.job) == before  # the very same process, waited for by the new agent
            assert await caller.call("Volume.copy", **copy.params()) == copy.task_id
            os.kill(before.pid, signal.SIGCONT)
            status = await caller.ended(copy.task_id)
        assert (status["taskResult"], status["progress"]) == ("success", 100)
        assert copy.is_whole()
        assert copy.images() == sorted([copy.source[0], copy.target[0]])
        await until(lambda: not copy.job.exists(), "the job folder is removed")


async def test_a_copy_that_ended_while_no_agent_was_there_is_a_success(tmp_path: Path) -> None:
    async with agent_process(tmp_path, *RATE) as agent:
        async with connected(await agent.start()) as caller:
            copy = await copying(agent, caller)
        agent.end(signal.SIGKILL)
        await until(lambda: (copy.job / "rc").exists(), "the copy has ended by itself")
        async with connected(await agent.start()) as caller:
            assert (await caller.ended(copy.task_id))["taskResult"] == "success"
        assert copy.is_whole()


async def kill_job(copy: Copying, *, is_shim_killed: bool) -> None:
    """Kills the copy's process, or its whole session with the shim that would note its end."""
    who = running(copy.job)
    assert who is not None
    if is_shim_killed:
        os.killpg(os.getpgid(who.pid), signal.SIGKILL)
    else:
        os.kill(who.pid, signal.SIGKILL)
    await until(lambda: running(copy.job) is None, "the copy's process is gone")


@pytest.mark.parametrize("is_shim_killed", [True, False])
async def test_a_copy_that_was_killed_with_its_agent_is_undone(tmp_path: Path, is_shim_killed: bool) -> None:
    async with agent_process(tmp_path, *CRAWL) as agent:
        async with connected(await agent.start()) as caller:
            copy = await copying(agent, caller)
        agent.end(signal.SIGKILL)
        await kill_job(copy, is_shim_killed=is_shim_killed)
        assert copy.path(copy.target).with_name(copy.target[1] + ".part").exists()
        async with connected(await agent.start()) as caller:
            status = await caller.ended(copy.task_id)
            code = Code.INTERRUPTED if is_shim_killed else Code.VOLUME_COPY_ERROR
            assert (status["taskResult"], status["code"]) == ("cleanSuccess", code)
            image, volume = copy.target
            names: dict[str, Any] = {"storagepoolID": POOL, "storagedomainID": copy.domain, "imageID": image}
            with pytest.raises(RpcError) as unknown:
                await caller.call("Volume.getInfo", **names, volumeID=volume)
        assert unknown.value.code == Code.VOLUME_DOES_NOT_EXIST
        assert copy.images() == [copy.source[0]]


async def test_a_copy_killed_under_a_living_agent_is_undone(tmp_path: Path) -> None:
    async with agent_process(tmp_path, *CRAWL) as agent, connected(await agent.start()) as caller:
        copy = await copying(agent, caller)
        await kill_job(copy, is_shim_killed=True)
        status = await caller.ended(copy.task_id)
        assert (status["taskResult"], status["code"]) == ("cleanSuccess", Code.INTERRUPTED)
        assert copy.images() == [copy.source[0]]


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_copy_is_stopped_by_whichever_agent_is_there(tmp_path: Path, is_restarted: bool) -> None:
    async with agent_process(tmp_path, *CRAWL) as agent:
        port = await agent.start()
        async with connected(port) as caller:
            copy = await copying(agent, caller)
        before = running(copy.job)
        if is_restarted:
            agent.end(signal.SIGKILL)
            port = await agent.start()
        async with connected(port) as caller:
            assert running(copy.job) == before
            assert await caller.call("Task.stop", taskID=copy.task_id) is True
            status = await caller.ended(copy.task_id)
        assert (status["taskResult"], status["code"]) == ("cleanSuccess", Code.ABORTED)
        assert copy.images() == [copy.source[0]]
        await until(lambda: not copy.job.exists(), "the job folder is removed")


async def test_sigterm_ends_the_agent_and_leaves_the_copy_running(tmp_path: Path) -> None:
    async with agent_process(tmp_path, *RATE) as agent:
        async with connected(await agent.start()) as caller:
            copy = await copying(agent, caller)
        before = running(copy.job)
        assert agent.end(signal.SIGTERM) == 0
        assert not (agent.state / "port").exists()
        assert running(copy.job) == before
        async with connected(await agent.start()) as caller:
            assert (await caller.ended(copy.task_id))["taskResult"] == "success"
        assert copy.is_whole()


async def test_a_copy_of_a_lost_journal_is_ended(tmp_path: Path) -> None:
    async with agent_process(tmp_path, *CRAWL) as agent:
        async with connected(await agent.start()) as caller:
            copy = await copying(agent, caller)
            first = (await caller.call("Host.getCapabilities"))["interlock"]["incarnation"]
        agent.end(signal.SIGKILL)
        (agent.state / "journal").unlink()
        async with connected(await agent.start()) as caller:
            assert (await caller.call("Host.getCapabilities"))["interlock"]["incarnation"] != first
            assert await caller.call("Host.getAllTasksStatuses") == {}
            await until(lambda: not copy.job.exists(), "the orphan is ended and forgotten")
        assert running(copy.job) is None


async def test_changes_are_told_as_they_happen(tmp_path: Path) -> None:
    async with agent_process(tmp_path) as agent, connected(await agent.start()) as caller:
        domain = await caller.domain(agent.root)
        image, volume, task_id = fresh(), fresh(), fresh()
        names: dict[str, Any] = {"storagepoolID": POOL, "storagedomainID": domain, "imageID": image}
        names["volumeID"] = volume
        flow = headers(fresh(), 1)
        await caller.call("Volume.create", flow, **names, size=1 << 20, volFormat=4, taskID=task_id)
        final = await caller.ended(task_id)
        topic = f"|storage|task_status|{task_id}"
        await until(lambda: len([name for name, _ in caller.events if name == topic]) == 2, "two events")
        told = [{**params} for name, params in caller.events if name == topic]
        assert [params["taskState"] for params in told] == ["running", "finished"]
        assert told[1].pop("notify_time") > 0
        assert told[1] == final


async def test_a_stock_agent_tells_nothing(tmp_path: Path) -> None:
    async with agent_process(tmp_path, "--stock") as agent, connected(await agent.start()) as caller:
        domain = await caller.domain(agent.root)
        await caller.volume(domain, 1 << 20)
        assert await caller.call("Host.ping2") is True
        assert caller.events == []
        assert await caller.call("Host.getCapabilities") == {"hostName": "host1"}


async def test_a_second_agent_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with agent_process(tmp_path) as agent, connected(await agent.start()) as caller:
        second = agent.spawn()
        assert second.wait(30) == 1
        expected = f"interlock agent: state_dir: another agent uses {agent.state}; end it, or give this one"
        assert expected in (tmp_path / "log").read_text()
        assert await caller.call("Host.ping2") is True


async def test_mutual_tls(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "ca")
    authority.issue_host("localhost", ["127.0.0.1"], tmp_path / "host")
    authority.issue_coordinator(tmp_path / "coordinator")
    transport = ("--tls-dir", str(tmp_path / "host"))
    async with agent_process(tmp_path, transport=transport) as agent:
        port = await agent.start()
        context = client_context(tmp_path / "coordinator")
        client = await Client.connect("127.0.0.1", port, tls=context, server_name="localhost")
        assert await client.call("Host.ping2", {}) is True
        await client.close()
        with pytest.raises(ConnectFailed):
            await Client.connect("127.0.0.1", port, tls=None, server_name=None, connect_timeout_s=5)
