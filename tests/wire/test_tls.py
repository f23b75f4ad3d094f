"""TLS between our two sides: who is let in, who is not, and what is said about it."""

import asyncio
import ssl
from pathlib import Path

import pytest

from interlock.wire.authority import COORDINATOR_NAME, Authority
from interlock.wire.client import Client, ConnectFailed, ConnectReason
from interlock.wire.server import Call, Server
from interlock.wire.tls import CertificatesUnusable, client_context, server_context
from tests.wire.peers import QUICK, raw_client, serving


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities' certificates, each in a folder of its own."""
    root = tmp_path_factory.mktemp("certificates")
    ours, foreign = Authority.open(root / "ours"), Authority.open(root / "theirs")
    ours.issue_host("host1.test", ["127.0.0.1"], root / "host1")
    ours.issue_host("host2.test", [], root / "host2")
    ours.issue_coordinator(root / "coordinator")
    foreign.issue_coordinator(root / "foreign-coordinator")
    foreign.issue_host("host1.test", ["127.0.0.1"], root / "foreign-host1")
    return root


async def names(call: Call) -> list[str]:
    return [*call.peer.names, call.peer.address]


async def attempt(folders: Path, *, host: str, client: str, server_name: str | None) -> object:
    """What a call over TLS returns, with these two folders."""
    async with serving(names, tls=server_context(folders / host)) as (_, port):
        connection = await Client.connect(
            "127.0.0.1", port, tls=client_context(folders / client), server_name=server_name, limits=QUICK
        )
        try:
            return await connection.call("names", {})
        finally:
            await connection.close()


@pytest.mark.parametrize("server_name", ["host1.test", None])
async def test_the_coordinator_is_let_in_and_the_handler_knows_it(folders: Path, server_name: str | None) -> None:
    answer = await attempt(folders, host="host1", client="coordinator", server_name=server_name)
    assert answer == [COORDINATOR_NAME, "127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "client", "server_name", "reason"),
    [
        ("host1", "foreign-coordinator", "host1.test", ConnectReason.CERTIFICATE_REFUSED),
        ("foreign-host1", "coordinator", "host1.test", ConnectReason.CERTIFICATE_REFUSED),
        ("host1", "host2", "host1.test", ConnectReason.CERTIFICATE_REFUSED),
        ("coordinator", "coordinator", COORDINATOR_NAME, ConnectReason.CERTIFICATE_REFUSED),
        ("host2", "coordinator", "host1.test", ConnectReason.WRONG_HOST_NAME),
        ("host2", "coordinator", None, ConnectReason.WRONG_HOST_NAME),
    ],
)
async def test_the_wrong_certificate_is_refused(
    folders: Path, host: str, client: str, server_name: str | None, reason: ConnectReason
) -> None:
    with pytest.raises(ConnectFailed) as caught:
        await attempt(folders, host=host, client=client, server_name=server_name)
    assert caught.value.reason is reason


async def test_a_server_that_trusts_others_only_refuses_ours(folders: Path, tmp_path: Path) -> None:
    # The client trusts the host; the host's authority did not issue the client's certificate.
    for name, source in (
        ("ca.pem", "host1"),
        ("cert.pem", "foreign-coordinator"),
        ("key.pem", "foreign-coordinator"),
    ):
        (tmp_path / name).write_bytes((folders / source / name).read_bytes())
    async with serving(names, tls=server_context(folders / "host1")) as (_, port):
        with pytest.raises(ConnectFailed, match="certificate refused"):
            await Client.connect("127.0.0.1", port, tls=client_context(tmp_path), server_name="host1.test")


@pytest.mark.parametrize("newest", [True, False])
async def test_no_certificate_is_refused(folders: Path, newest: bool) -> None:
    tls = ssl.create_default_context(cafile=folders / "host1" / "ca.pem")
    if not newest:
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(names, tls=server_context(folders / "host1")) as (_, port):
        with pytest.raises(ConnectFailed) as caught:
            await Client.connect("127.0.0.1", port, tls=tls, server_name="host1.test")
        # Before TLS 1.3 asyncio's server breaks off in the handshake, which has more than one cause.
        refused = ConnectReason.CERTIFICATE_REFUSED if newest else ConnectReason.NOT_STOMP
        assert caught.value.reason is refused
        assert "certificate" in caught.value.detail
        good = client_context(folders / "coordinator")
        client = await Client.connect("127.0.0.1", port, tls=good, server_name="host1.test", limits=QUICK)
        assert await client.call("names", {}) == [COORDINATOR_NAME, "127.0.0.1"]
        await client.close()


async def test_plain_bytes_to_a_tls_server_are_cut(folders: Path) -> None:
    async with (
        serving(names, tls=server_context(folders / "host1")) as (_, port),
        raw_client(port, greeted=False) as peer,
    ):
        await peer.write(b"CONNECT\naccept-version:1.2\n\n\0")
        assert b"CONNECTED" not in await peer.rest()


async def test_a_tls_client_of_a_plain_server_is_told(folders: Path) -> None:
    async with serving(names) as (_, port):
        with pytest.raises(ConnectFailed) as caught:
            await Client.connect(
                "127.0.0.1", port, tls=client_context(folders / "coordinator"), server_name="host1.test"
            )
    assert caught.value.reason is ConnectReason.NOT_STOMP


async def test_with_tls_every_address_may_be_served(folders: Path) -> None:
    server = Server(names, tls=server_context(folders / "host1"), limits=QUICK)
    port = await server.start("0.0.0.0", 0)
    client = await Client.connect(
        "127.0.0.1", port, tls=client_context(folders / "coordinator"), server_name="host1.test", limits=QUICK
    )
    closing = asyncio.create_task(server.close())
    await client.wait_closed()
    await closing
    assert client.closed_because == "the peer closed the connection"
    await client.close()


def test_unusable_certificates_are_named(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(CertificatesUnusable, match=r"cannot be used: .*; issue them again"):
        server_context(tmp_path)
    for name, source in (("ca.pem", "host1"), ("cert.pem", "host1"), ("key.pem", "host2")):
        (tmp_path / name).write_bytes((folders / source / name).read_bytes())
    with pytest.raises(CertificatesUnusable, match="KEY_VALUES_MISMATCH"):
        client_context(tmp_path)
