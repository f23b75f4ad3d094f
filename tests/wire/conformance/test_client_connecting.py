"""Connecting of our client to a stock host, which is played by bytes, and leaving it."""

import asyncio
import re
from contextlib import AsyncExitStack

import pytest

from interlock.wire.client import Client, ConnectFailed, ConnectReason, NotSent, Unanswered
from tests.wire.peers import (
    CONNECTED,
    QUICK,
    UUID,
    WAIT_S,
    RawPeer,
    asked,
    connected,
    error,
    farewell,
    greet,
    message,
    raw_server,
    serving,
)


async def test_connect_asks_for_version_and_heart_beats_and_then_subscribes() -> None:
    async def host(peer: RawPeer) -> None:
        assert await peer.frame() == b"CONNECT\naccept-version:1.2\nheart-beat:8000,8000\n\n\0"
        await peer.write(CONNECTED)
        subscribe = rb"SUBSCRIBE\ndestination:%s\nack:auto\nid:%s\n\n\0"
        assert re.fullmatch(subscribe % (UUID, UUID), await peer.frame())
        assert re.fullmatch(subscribe % (rb"jms\.queue\.events", UUID), await peer.frame())
        await farewell(peer)

    async with raw_server(host) as port, connected(port, on_event=lambda method, params: None) as client:
        assert client.is_open


@pytest.mark.parametrize(
    ("greeting", "detail"),
    [
        (b"ERROR\ncontent-length:19\n\nVersion unsupported\0", "Version unsupported"),
        (error(b"No room for another connection"), "No room for another connection"),
        (b"CONNECTED\nversion:1.1\n\n\0", "CONNECTED answered"),
        (b"CONNECTED\n\n\0", "CONNECTED answered"),
        (b"CONNECTED\nversion:1.2\nheart-beat:x\n\n\0", "CONNECTED answered"),
        (b"MESSAGE\ndestination:d\n\n\0", "MESSAGE answered"),
        (b"RECEIPT\nreceipt-id:1\n\n\0", "RECEIPT answered"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer broke the protocol: a frame begins with b'H"),
        (b"\x15\x03\x03\x00", "the peer broke the protocol: a frame begins with b'\\x15"),
        (b"", "the peer closed the connection, before it greeted"),
    ],
)
async def test_who_does_not_greet_is_not_connected_to(greeting: bytes, detail: str) -> None:
    async def host(peer: RawPeer) -> None:
        await peer.frame()
        await peer.write(greeting)

    async with raw_server(host) as port:
        with pytest.raises(ConnectFailed) as caught:
            await Client.connect("127.0.0.1", port, tls=None, server_name=None)
    assert caught.value.reason is ConnectReason.NOT_STOMP
    assert caught.value.detail.startswith(detail)


async def test_a_host_that_says_nothing_times_out() -> None:
    async def host(peer: RawPeer) -> None:
        await peer.frame()
        assert await peer.rest() == b""

    async with raw_server(host) as port:
        with pytest.raises(ConnectFailed, match=r"timed out \(no answer in time\)"):
            await Client.connect("127.0.0.1", port, tls=None, server_name=None, connect_timeout_s=0.05)


async def test_64_clients_call_at_once_and_the_next_learns_that_there_is_no_room() -> None:
    async with serving() as (_, port), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(port)) for _ in range(64)]
        with pytest.raises(ConnectFailed) as caught:
            await Client.connect("127.0.0.1", port, tls=None, server_name=None)
        assert (caught.value.reason, caught.value.detail) == (
            ConnectReason.NOT_STOMP,
            "No room for another connection",
        )
        answers = await asyncio.gather(*(client.call("echo", {"n": n}) for n, client in enumerate(clients)))
    assert answers == [{"n": n} for n in range(64)]


async def test_closing_waits_for_the_receipt_of_its_disconnect_and_for_no_other() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def host(peer: RawPeer) -> None:
        await greet(peer, events=True)
        match = re.fullmatch(rb"DISCONNECT\nreceipt:(%s)\n\n\0" % UUID, await peer.frame())
        assert match is not None
        await peer.write(b"RECEIPT\nreceipt-id:another\n\n\0")
        for _ in range(20):  # one that has closed would hear no more, a few turns later
            await peer.write(message(b'{"jsonrpc":"2.0","method":"e"}', destination="jms.queue.events"))
            async with asyncio.timeout(WAIT_S):
                assert await heard.get() == "e"
        await peer.write(b"RECEIPT\nreceipt-id:%s\n\n\0" % match[1])
        async with asyncio.timeout(0.9):  # less than it would wait for a receipt that does not come
            assert await peer.reader.read() == b""

    async with raw_server(host) as port:
        client = await Client.connect(
            "127.0.0.1",
            port,
            tls=None,
            server_name=None,
            on_event=lambda method, params: heard.put_nowait(method),
            limits=QUICK,
        )
        await client.close()
    assert client.closed_because == "this side closed the connection"


async def test_an_error_keeps_the_connection_and_is_told_with_the_call_that_stays_unanswered() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        await asked(peer)
        await peer.write(error(b"Subscription not available", receipt=b"7"))
        await peer.write(message(b'{"id":"%s","result":1}' % await asked(peer)))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        words = r"no answer within 0\.05 s \(the host sent an error: 'Subscription not available'\)"
        with pytest.raises(Unanswered, match=words):
            await client.call("m", {}, timeout_s=0.05)
        assert await client.call("m", {}) == 1


@pytest.mark.parametrize(
    ("last_words", "why"),
    [
        (b"", "the peer closed the connection"),
        (error(b"no room"), r"the peer closed the connection \(the host sent an error: 'no room'\)"),
        (message(b"}"), "the peer sent a body that cannot be read: Parse error"),
        (message(b"[" * 65 + b"]" * 65), "the peer sent a body that cannot be read: Invalid request: nested deeper"),
    ],
)
async def test_a_call_whose_host_goes_is_unanswered_and_the_next_is_not_sent(last_words: bytes, why: str) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        await asked(peer)
        await peer.write(last_words)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(Unanswered, match=f"m to 127.0.0.1 has no answer: {why}"):
            await client.call("m", {})
        await client.wait_closed()
        assert not client.is_open
        with pytest.raises(NotSent, match=r"next was not sent to 127.0.0.1: .*; connect again"):
            await client.call("next", {})
