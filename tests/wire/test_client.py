"""The client and its caller: what is not sent, what runs at once, closing, and bursts."""

import asyncio
import tracemalloc
from dataclasses import replace
from typing import Any  # JSON values

import pytest

from interlock.wire.client import Client, ConnectFailed, ConnectReason, NotSent, Unanswered
from interlock.wire.server import Call
from tests.wire.peers import (
    QUICK,
    WAIT_S,
    RawPeer,
    asked,
    connected,
    farewell,
    greet,
    message,
    raw_server,
    serving,
)


async def test_closing_ends_open_calls_as_unanswered() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def handler(call: Call) -> None:
        begun.set()
        await gate.wait()

    async with serving(handler) as (_, port):
        client = await Client.connect("127.0.0.1", port, tls=None, server_name=None)
        call = asyncio.create_task(client.call("m", {}))
        await begun.wait()
        await client.close()
        with pytest.raises(Unanswered, match="this side closed the connection"):
            await call
        with pytest.raises(NotSent):
            await client.call("m", {})
        await client.close()
        gate.set()


async def test_what_cannot_be_sent_is_not_sent() -> None:
    async with serving() as (_, port), connected(port, replace(QUICK, calls_pending_max=1)) as client:
        with pytest.raises(NotSent, match=r"it has \d+ bytes, 1048576 are allowed"):
            await client.call("echo", {"a": "x" * 2_000_000})
        with pytest.raises(TypeError):
            await client.call("echo", {"a": object()})
        with pytest.raises(ValueError, match="header reply-to of echo is set by the client itself"):
            await client.call("echo", {}, headers={"reply-to": "x"})
        with pytest.raises(ValueError, match="NUL cannot be sent"):
            await client.call("echo", {}, headers={"x": "\0"})
        outcomes = await asyncio.gather(client.call("echo", {}), client.call("echo", {}), return_exceptions=True)
        assert outcomes[0] == {}
        assert isinstance(outcomes[1], NotSent)
        assert await client.call("echo", {"a": "ä\n\0"}) == {"a": "ä\n\0"}


async def test_cancelling_a_call_leaves_the_connection_usable() -> None:
    begun = asyncio.Event()

    async def handler(call: Call) -> Any:
        begun.set()
        if call.method == "stuck":
            await asyncio.Event().wait()
        return call.method

    async with (
        serving(handler, limits=replace(QUICK, close_timeout_s=0.05)) as (_, port),
        connected(port) as client,
    ):
        call = asyncio.create_task(client.call("stuck", {}))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await client.call("free", {}) == "free"


async def test_calls_of_one_client_run_concurrently() -> None:
    everybody = asyncio.Barrier(5)

    async def handler(call: Call) -> Any:
        async with asyncio.timeout(WAIT_S):
            await everybody.wait()
        return call.params["n"]

    async with serving(handler) as (_, port), connected(port) as client:
        assert await asyncio.gather(*(client.call("m", {"n": n}) for n in range(5))) == [0, 1, 2, 3, 4]


async def test_our_two_sides_keep_each_other() -> None:
    limits = replace(QUICK, heartbeat_send_ms=20, heartbeat_receive_ms=20, heartbeat_ms_min=20)
    limits = replace(limits, heartbeat_grace_factor=10.0)
    hold = asyncio.Event()

    async def handler(call: Call) -> None:
        await hold.wait()

    async with serving(handler, limits=limits) as (_, port), connected(port, limits) as client:
        with pytest.raises(Unanswered, match="within"):  # longer than silence may last
            await client.call("m", {}, timeout_s=0.35)
        assert client.is_open
        hold.set()


async def test_nobody_listening_is_refused() -> None:
    async with serving() as (_, port):
        pass
    with pytest.raises(ConnectFailed) as caught:
        await Client.connect("localhost", port, tls=None, server_name=None)
    assert caught.value.reason is ConnectReason.REFUSED


async def test_plain_tcp_is_refused_off_loopback() -> None:
    with pytest.raises(ConnectFailed) as caught:
        await Client.connect("192.0.2.1", 54321, tls=None, server_name=None)
    assert caught.value.reason is ConnectReason.PLAIN_REFUSED


async def test_a_burst_of_notifications_does_not_grow_memory() -> None:
    lengths: list[int] = []
    body = b'{"jsonrpc":"2.0","method":"e","params":{"text":"%s"}}' % (b"x" * 10_000)

    async def host(peer: RawPeer) -> None:
        await greet(peer, events=True)
        request_id = await asked(peer)
        for _ in range(300):
            await peer.write(message(body, destination="jms.queue.events"))
        await peer.write(message(b'{"id":"%s","result":1}' % request_id))
        await farewell(peer)

    async with (
        raw_server(host) as port,
        connected(port, on_event=lambda method, params: lengths.append(len(params["text"]))) as client,
    ):
        tracemalloc.start()
        try:
            await client.call("m", {})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert lengths == [10_000] * 300
    assert peak < 1_500_000  # of 3 MB; asyncio reads up to 256 KiB at once
