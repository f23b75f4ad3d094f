"""Unix-domain sockets: who may connect, who it was, and what becomes of the file."""

import asyncio
import contextlib
import os
import re
import socket
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any  # JSON values

import pytest
from structlog.testing import capture_logs

from interlock.wire.client import Client, ConnectFailed, ConnectReason
from interlock.wire.server import Call, Peer, Server
from tests.wire.peers import QUICK, echo, serving


async def whose(call: Call) -> Any:
    """Answers what the server knows of who calls."""
    return [list(call.peer.names), call.peer.address, call.peer.uid]


async def test_a_call_by_a_socket_file_tells_the_uid_and_one_by_tcp_does_not(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with serving(whose) as (server, port):
        await server.start_unix(path)
        local = await Client.connect_unix(path, limits=QUICK)
        remote = await Client.connect("127.0.0.1", port, tls=None, server_name=None, limits=QUICK)
        assert await local.call("m", {}) == [[], "unix", os.getuid()]
        assert await remote.call("m", {}) == [[], "127.0.0.1", None]
        await local.close()
        await remote.close()


async def test_the_socket_file_is_for_its_owner_and_goes_when_the_server_closes(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    server = Server(echo, tls=None, limits=QUICK)
    await server.start_unix(path)
    mode = path.lstat().st_mode
    await server.close()
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode), path.exists()) == (True, 0o600, False)


async def test_events_reach_a_subscriber_by_a_socket_file(tmp_path: Path) -> None:
    events = []
    async with serving() as (server, _):
        await server.start_unix(tmp_path / "s")
        client = await Client.connect_unix(
            tmp_path / "s", on_event=lambda method, params: events.append((method, params)), limits=QUICK
        )
        await client.call("echo", {})  # after the subscription
        server.publish("e", {"notify_time": 1})
        await client.call("echo", {})
        await client.close()
    assert events == [("e", {"notify_time": 1})]


async def test_the_file_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving() as (server, _):
        await server.start_unix(path)
        client = await Client.connect_unix(path, limits=QUICK)
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        await client.close()


async def test_a_living_server_keeps_its_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving() as (first, _), serving() as (second, _):
        await first.start_unix(path)
        with pytest.raises(FileExistsError, match=rf"somebody listens on {re.escape(str(path))} already; end that"):
            await second.start_unix(path)
        client = await Client.connect_unix(path, limits=QUICK)
        assert await client.call("echo", {}) == {}
        await client.close()


async def test_a_server_that_is_too_busy_to_accept_keeps_its_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        with pytest.raises(BlockingIOError):
            for _ in range(10):
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(path))
        async with serving() as (server, _):
            with pytest.raises(FileExistsError, match="somebody listens"):
                await server.start_unix(path)
        assert path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    async with serving() as (server, _):
        with pytest.raises(FileExistsError, match="is no socket; move it away"):
            await server.start_unix(path)
    assert path.read_text() == "precious"


async def test_closing_leaves_the_file_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving() as (first, _), serving() as (second, _):
        await first.start_unix(path)
        path.unlink()
        await second.start_unix(path)
        await first.close()
        client = await Client.connect_unix(path, limits=QUICK)
        assert await client.call("echo", {}) == {}
        await client.close()


@pytest.mark.parametrize("leave_file", [False, True])
async def test_nobody_behind_the_file_is_refused(tmp_path: Path, leave_file: bool) -> None:
    path = tmp_path / "s"
    if leave_file:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    with pytest.raises(ConnectFailed, match=rf"cannot connect to {re.escape(str(path))}: refused") as caught:
        await Client.connect_unix(path)
    assert caught.value.reason is ConnectReason.REFUSED


async def test_a_silent_client_is_named_by_its_uid_in_the_log(tmp_path: Path) -> None:
    limits = replace(QUICK, handshake_timeout_s=0.05)
    with capture_logs() as logs:
        async with serving(limits=limits) as (server, _):
            await server.start_unix(tmp_path / "s")
            with socket.socket(socket.AF_UNIX) as silent:
                silent.connect(str(tmp_path / "s"))
                silent.settimeout(5)
                assert await asyncio.to_thread(silent.recv, 1) == b""
    assert logs == [
        {
            "event": "connection_ended",
            "peer": f"unix uid {os.getuid()}",
            "reason": "no CONNECT came within 0.05 s",
            "log_level": "info",
        }
    ]


def test_a_peer_is_named_by_certificate_or_user_or_address() -> None:
    named = [Peer(("a", "b"), "10.0.0.1"), Peer((), "10.0.0.1"), Peer((), "unix", 0)]
    assert list(map(str, named)) == ["a, b", "10.0.0.1", "unix uid 0"]
