"""An agent's start and end as a service: its configuration file, its unit, and what the service manager is told."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlock.ids import new_id
from interlock.verbs import Code
from interlock.wire.client import RpcError
from tests.agent.asked import fresh
from tests.agent.at_host import INTERLOCK, AtHost, Ran, logged, ran
from tests.agent.processes import WAIT_S, agent_process, connected, until

UNIT = Path(__file__).parents[2] / "packaging" / "interlock-agent.service"


@asynccontextmanager
async def manager(address: str) -> AsyncIterator[socket.socket]:
    """What a service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize("is_abstract", [False, True])
async def test_a_service_manager_is_told_when_the_agent_is_ready_and_when_it_ends(
    tmp_path: Path, is_abstract: bool
) -> None:
    name = f"interlock-{new_id()}"
    address, shown = (f"\0{name}", f"@{name}") if is_abstract else (str(tmp_path / "n"), str(tmp_path / "n"))
    async with manager(address) as listening, agent_process(tmp_path, environment={"NOTIFY_SOCKET": shown}) as agent:
        port = await agent.start()
        loop = asyncio.get_running_loop()
        told = await asyncio.wait_for(loop.sock_recv(listening, 1000), WAIT_S)
        assert told.decode() == f"READY=1\nSTATUS=host1 answers on port {port}"
        assert agent.end(signal.SIGTERM) == 0
        assert await asyncio.wait_for(loop.sock_recv(listening, 1000), WAIT_S) == b"STOPPING=1"


async def test_a_service_manager_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    nowhere = {"NOTIFY_SOCKET": str(tmp_path / "nowhere")}
    async with agent_process(tmp_path, "--json-logs", environment=nowhere) as agent:
        await agent.start()
        assert agent.end(signal.SIGTERM) == 0
    assert [line["state"].partition("\n")[0] for line in logged(tmp_path, "manager_not_told")] == [
        "READY=1",
        "STOPPING=1",
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/interlock/bin/interlock", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_unit_leaves_children_alone_and_starts_what_the_docs_install() -> None:
    lines = UNIT.read_text().splitlines()
    for line in (
        "Type=notify",
        "KillMode=process",
        "OOMPolicy=continue",
        "RestartPreventExitStatus=64",
        "StartLimitIntervalSec=0",
        "ExecStart=/opt/interlock/bin/interlock agent --config /etc/interlock/agent.toml",
    ):
        assert line in lines


async def test_a_configuration_file_starts_an_agent(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    config = tmp_path / "agent.toml"
    config.write_text(
        f'name = "from-file"\nstate_dir = "{tmp_path}/state"\nstorage_roots = ["{tmp_path}/storage"]\n'
        "plain = true\nlisten_port = 0\nunfinished_tasks_max = 1\ncopy_rate_bytes_per_s = 65536\n"
    )
    async with agent_process(tmp_path) as agent:
        command = [*INTERLOCK, "agent", "--config", str(config)]
        with (tmp_path / "log").open("wb") as log:
            agent.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await until(lambda: (agent.state / "port").exists(), "the agent is ready")
        async with connected(int((agent.state / "port").read_text())) as caller:
            assert (await caller.call("Host.getCapabilities"))["hostName"] == "from-file"
            copy = await AtHost(agent, caller).copying(fresh())
            with pytest.raises(RpcError) as full:
                await caller.call("Volume.copy", **{**copy.params, "dstImgUUID": fresh()})
            assert full.value.code == Code.RESOURCE_EXHAUSTED


async def test_a_wrong_configuration_is_64_with_every_mistake(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('name = 7\nwrokers = 2\nplain = true\nstorage_roots = ["/"]\n')
    assert await ran(*INTERLOCK, "agent", "--config", str(config), "--workers", "0") == Ran(
        64,
        "",
        f"interlock agent: {config}: name: 7 is no text of one line; write some, in quotes\n"
        f"interlock agent: {config}: 'wrokers' is no key; is workers meant?\n"
        f"interlock agent: there is no state_dir; give --state-dir or, in {config}, state_dir\n"
        "interlock agent: --workers: 0 is not between 1 and 64\n"
        f"interlock agent: {config}: storage_roots: '/' would give the agent every file of the host; "
        "name the folders that hold images\n",
    )


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        (["--plain", "--listen-host", "0.0.0.0"], 64, "'0.0.0.0' is 0.0.0.0; plain TCP is for loopback only"),
        (["--plain", "--storage-root", "/nowhere"], 1, "storage_roots: /nowhere: not a folder; make it or mount it"),
        (["--plain", "--state-dir", "/nowhere/state"], 1, "state_dir: /nowhere/state cannot be made: No such file or"),
        (["--tls-dir", "/nowhere"], 1, "tls_dir: certificates in /nowhere cannot be used"),
        (["--plain", "--listen-host", "192.0.2.7"], 64, "'192.0.2.7' is 192.0.2.7; plain TCP is for loopback only"),
        (["--plain", "--listen-port", "{taken}"], 1, "listen_host, listen_port: cannot listen on 127.0.0.1 port "),
        (["--plain", "--listen-host", "a..b"], 1, "listen_host, listen_port: cannot listen on a..b port "),
    ],
    ids=["any address", "no root", "no parent", "no certificate", "other address", "port", "no name"],
)
async def test_what_cannot_start_is_refused_in_one_line(
    tmp_path: Path, options: list[str], status: int, expected: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = [option.format(taken=taken.getsockname()[1]) for option in options]
        async with agent_process(tmp_path, transport=()) as agent:
            assert agent.spawn(*words).wait(WAIT_S) == status
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith(f"interlock agent: {expected}")
