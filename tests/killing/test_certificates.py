"""Certificates between real processes: whom an agent lets in, and which agents a coordinator talks to."""

import os
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.coordinator.coordinator import Coordinator
from interlock.coordinator.job import CommandFailed
from interlock.coordinator.settings import Settings
from interlock.coordinator.watched import Patience
from interlock.model.states import Result
from interlock.testing.site import Site
from interlock.virt.catalog import CATALOG
from interlock.wire.authority import Authority
from interlock.wire.client import Client, ConnectFailed, ConnectReason
from interlock.wire.tls import client_context

#: how long an agent with the wrong certificate is tried again
TRIED_S = 0.3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of two authorities, each in a folder of its own."""
    root = tmp_path_factory.mktemp("certificates")
    ours, foreign = Authority.open(root / "ours"), Authority.open(root / "theirs")
    ours.issue_coordinator(root / "coordinator")
    for host in ("h1", "h2"):
        ours.issue_host(host, ["127.0.0.1"], root / host)
    foreign.issue_coordinator(root / "foreign-coordinator")
    foreign.issue_host("h1", ["127.0.0.1"], root / "foreign-h1")
    # Who comes with a foreign certificate may well trust our hosts: it is the host that has to refuse.
    shutil.copy(root / "h1" / "ca.pem", root / "foreign-coordinator" / "ca.pem")
    return root


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, forked=True) as site:
        yield site


def agent_with(site: Site, certificate: Path) -> int:
    """Starts the agent with that certificate; its port."""
    shutil.copytree(certificate, site.folder / "agent-tls")
    site.start_agent()
    return int((site.folder / "agent" / "port").read_text())


async def connect(port: int, tls: ssl.SSLContext) -> Client:
    return await Client.connect("127.0.0.1", port, tls=tls, server_name="h1")


async def test_an_agent_lets_in_the_coordinator_alone(site: Site, folders: Path) -> None:
    port = agent_with(site, folders / "h1")
    journal = site.agent_journal()
    strangers = {
        "no certificate": ssl.create_default_context(cafile=folders / "h1" / "ca.pem"),
        "one of a foreign authority": client_context(folders / "foreign-coordinator"),
        "a host's, for servers only": client_context(folders / "h2"),
    }
    refused = {}
    for name, tls in strangers.items():
        with pytest.raises(ConnectFailed) as caught:
            await connect(port, tls)
        refused[name] = caught.value.reason
    assert refused == dict.fromkeys(strangers, ConnectReason.CERTIFICATE_REFUSED)
    client = await connect(port, client_context(folders / "coordinator"))
    assert (await client.call("Host.getCapabilities", {}))["interlock"]["incarnation"]
    await client.close()
    assert site.agent_journal() == journal
    assert "Traceback" not in site.log("agent")


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ("h2", "wrong host name"),
        ("foreign-h1", "certificate refused"),
    ],
)
async def test_no_host_is_added_whose_agent_shows_the_wrong_certificate(
    site: Site, folders: Path, monkeypatch: pytest.MonkeyPatch, shown: str, reason: str
) -> None:
    port = agent_with(site, folders / shown)
    journal = site.agent_journal()
    settings = Settings(tls_dir=folders / "coordinator", patience=Patience(unsent_s=TRIED_S, poll_s_max=0.2))
    monkeypatch.setattr(os, "environ", {**os.environ, **site.failpoints()})
    async with Coordinator.open(f"sqlite:///{site.folder}/state.db", CATALOG, settings=settings) as coordinator:
        job = await coordinator.submit_input("host.add", {"name": "h1", "address": "127.0.0.1", "port": port})
        with pytest.raises(CommandFailed) as caught:
            await job.result()
    assert caught.value.result is Result.FAILED
    assert f"cannot connect to 127.0.0.1:{port}: {reason} (" in caught.value.failure.message
    hits = {name for name, _ in site.hits()}
    assert "commit" in hits
    assert [name for name in hits if name.startswith("host:")] == [], "nothing was sent"
    assert site.agent_journal() == journal
