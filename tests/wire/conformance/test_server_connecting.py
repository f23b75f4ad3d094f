"""Connecting to our server, and leaving it."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from tests.wire.peers import (
    CONNECT,
    CONNECTED,
    ECHO,
    ECHOED,
    QUICK,
    RawPeer,
    error,
    message,
    raw_client,
    request,
    send,
    serving,
)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("heart-beat:2400,4000\n", "4000,2400"),
        ("heart-beat:0,24000\n", "24000,0"),
        ("heart-beat:1,999\n", "1000,1000"),
        ("heart-beat:0,1\n", "1000,0"),
        ("heart-beat:1000, 1001\n", "1001,1000"),
        ("", "0,0"),
    ],
)
async def test_connect_is_answered_with_the_pair_swapped_and_raised(asked: str, answered: str) -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(f"CONNECT\naccept-version:1.2\nhost:engine\n{asked}\n\0".encode())
        assert await peer.frame() == f"CONNECTED\nversion:1.2\nheart-beat:{answered}\n\n\0".encode()


async def test_the_greeting_may_be_called_stomp() -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(CONNECT.replace(b"CONNECT", b"STOMP"))
        assert await peer.frame() == CONNECTED


@pytest.mark.parametrize("versions", ["accept-version:1.0,1.1\n", "accept-version:\n", ""])
async def test_another_version_is_refused_aloud(versions: str) -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(f"CONNECT\n{versions}\n\0".encode())
        assert await peer.rest() == b"ERROR\ncontent-length:19\n\nVersion unsupported\0"


@pytest.mark.parametrize("pair", ["-1,x", "1", "1,2,3", "1.5,0", "9999999999,0"])
async def test_a_malformed_heart_beat_pair_is_refused_aloud(pair: str) -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(f"CONNECT\naccept-version:1.2\nheart-beat:{pair}\n\n\0".encode())
        assert await peer.rest() == error(b"Header heart-beat must be two numbers of milliseconds")


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\n", b"\x16\x03\x01\x00", b"CONNECTX", b"connect\n"])
async def test_first_bytes_that_are_no_command_are_cut(first: bytes) -> None:
    async with serving() as (_, port), raw_client(port) as other, raw_client(port, greeted=False) as peer:
        await peer.write(first)
        assert await peer.rest() == b""
        await other.write(b"DISCONNECT\nreceipt:77\n\n\0")
        assert await other.rest() == b"RECEIPT\nreceipt-id:77\n\n\0"


@pytest.mark.parametrize("first", [send(ECHO), b"UNSUBSCRIBE\nid:1\n\n\0", b"DISCONNECT\n\n\0", b"ACK\nid:1\n\n\0"])
async def test_nothing_but_subscriptions_is_taken_before_connect(first: bytes) -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(first)
        assert await peer.rest() == error(b"CONNECT must come first")


async def test_a_subscription_may_come_just_before_connect_and_gets_nothing_before_connected() -> None:
    async with serving() as (server, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"SUBSCRIBE\ndestination:jms.queue.events\nack:auto\nid:s1\nreceipt:1\n\n\0")
        assert await peer.frame() == b"RECEIPT\nreceipt-id:1\n\n\0"
        server.publish("early", {})
        await peer.write(CONNECT)
        assert await peer.frame() == CONNECTED
        server.publish("e", {"notify_time": 1})
        body = b'{"jsonrpc":"2.0","method":"e","params":{"notify_time":1}}'
        assert await peer.frame() == message(body, destination="jms.queue.events")


async def test_connecting_twice_ends_the_connection() -> None:
    async with serving() as (_, port), raw_client(port) as peer:
        await peer.write(CONNECT)
        assert await peer.rest() == error(b"Already connected")


async def test_a_client_that_says_nothing_is_cut() -> None:
    limits = replace(QUICK, handshake_timeout_s=0.05)
    async with serving(limits=limits) as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"CONN")
        assert await peer.rest() == b""


async def test_64_clients_are_served_at_once_and_the_next_is_refused_aloud() -> None:
    async with serving() as (_, port), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_client(port, subscribed="me")) for _ in range(64)]
        async with raw_client(port, greeted=False) as refused:
            assert await refused.rest() == error(b"No room for another connection")

        async def ask(peer: RawPeer, number: int) -> bytes:
            await peer.write(b"UNSUBSCRIBE\nid:s1\n\n\0SUBSCRIBE\ndestination:me%d\nid:s1\n\n\0" % number)
            await peer.write(send(ECHO, reply_to=f"me{number}"))
            return await peer.frame()

        answers = await asyncio.gather(*(ask(peer, number) for number, peer in enumerate(clients)))
        assert answers == [message(ECHOED, destination=f"me{number}") for number in range(64)]
        await clients[0].write(b"DISCONNECT\n\n\0")
        assert await clients[0].rest() == b""
        async with raw_client(port, subscribed="me"):
            pass


@pytest.mark.parametrize(
    "frame",
    [
        b"SUBSCRIBE\ndestination:x\nid:s2\nreceipt:7\n\n\0",
        b"UNSUBSCRIBE\nid:s1\nreceipt:7\n\n\0",
        b"UNSUBSCRIBE\nid:unknown\nreceipt:7\n\n\0",
        b"SEND\ndestination:me\nreceipt:7\n\nto myself\0",
        send(b'{"jsonrpc":"2.0","method":"notification"}', extra="receipt:7\n"),
    ],
)
async def test_any_frame_gets_the_receipt_that_it_asks_for(frame: bytes) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(frame + b"DISCONNECT\nreceipt:8\n\n\0")
        frames = (await peer.rest()).split(b"\0")
        assert frames[-3:] == [b"RECEIPT\nreceipt-id:7\n\n", b"RECEIPT\nreceipt-id:8\n\n", b""]


async def test_disconnect_gets_its_receipt_and_then_the_end() -> None:
    async with serving() as (_, port), raw_client(port) as peer:
        await peer.write(b"DISCONNECT\nreceipt:77\n\n\0" + send(ECHO))
        assert await peer.rest() == b"RECEIPT\nreceipt-id:77\n\n\0"


async def test_a_client_that_just_closes_ends_its_subscriptions_only() -> None:
    async with serving() as (server, port), raw_client(port, subscribed="jms.queue.events") as stays:
        async with raw_client(port, subscribed="me"):
            pass
        await stays.write(send(ECHO))
        assert await stays.frame() == error(b"Subscription not available")
        server.publish("e", {"notify_time": 1})
        assert b'"method":"e"' in await stays.frame()


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (b"SUBSCRIBE\nid:x\n%s\n\0", b"Missing destination or subscription id header"),
        (b"SUBSCRIBE\ndestination:x\n%s\n\0", b"Missing destination or subscription id header"),
        (b"SUBSCRIBE\ndestination:x\nid:s1\n%s\n\0", b"Subscription id already exists"),
        (b"SUBSCRIBE\ndestination:x\nid:s2\n%s\n\0", b"No more than 1 subscriptions are allowed"),
        (b"UNSUBSCRIBE\n%s\n\0", b"Missing id header"),
        (b"SEND\ndestination:elsewhere\n%s\n{}\0", b"Subscription not available"),
        (b"BEGIN\ntransaction:t\n%s\n\0", b"Command BEGIN is not offered"),
        (b"ACK\nid:1\n%s\n\0", b"Command ACK is not offered"),
        (b"MESSAGE\n%s\n\0", b"Command MESSAGE is not offered"),
    ],
)
@pytest.mark.parametrize("receipt", [b"", b"9"])
async def test_a_refused_frame_gets_an_error_that_names_its_receipt_and_the_connection_stays(
    frame: bytes, text: bytes, receipt: bytes
) -> None:
    async with (
        serving(limits=replace(QUICK, subscriptions_max=1)) as (_, port),
        raw_client(port, subscribed="me") as peer,
    ):
        await peer.write(frame % (b"receipt:%s\n" % receipt if receipt else b""))
        assert await peer.frame() == error(text, receipt=receipt)
        await peer.write(send(request("echo")))
        assert await peer.frame() == message(b'{"jsonrpc":"2.0","id":1,"result":{}}')
