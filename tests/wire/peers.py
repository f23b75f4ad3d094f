"""Raw peers for the wire's tests: a client and a server made of sockets and bytes only; and ours to meet them."""

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any  # JSON values

from interlock.wire.client import Client
from interlock.wire.jsonrpc import method_not_found
from interlock.wire.limits import Limits
from interlock.wire.server import Call, Server

#: How long a test waits for a fact before it fails.
WAIT_S = 30.0
#: Limits that make waiting short.
QUICK = Limits(close_timeout_s=1.0)

UUID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
#: A request that `echo` answers, and its answer.
ECHO = b'{"jsonrpc":"2.0","method":"echo","params":{"a":1},"id":"1"}'
ECHOED = b'{"jsonrpc":"2.0","id":"1","result":{"a":1}}'
CONNECT = b"CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0"
CONNECTED = b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"


class RawPeer:
    """One end of a connection that writes and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> bytes:
        """The bytes up to the next NUL, heart-beats before it left out."""
        async with asyncio.timeout(WAIT_S):
            return (await self.reader.readuntil(b"\0")).lstrip(b"\n")

    def stop_reading(self) -> None:
        """Leave whatever comes in the socket."""
        assert isinstance(self.writer.transport, asyncio.Transport)
        self.writer.transport.pause_reading()

    async def rest(self) -> bytes:
        """The bytes until the other side closes."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def raw_client(port: int, *, greeted: bool = True, subscribed: str = "") -> AsyncIterator[RawPeer]:
    """A raw client of a server on this machine; greeted and with one subscription if wished."""
    peer = RawPeer(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))
    try:
        if greeted:
            await peer.write(CONNECT)
            assert await peer.frame() == CONNECTED
        if subscribed:
            await peer.write(f"SUBSCRIBE\ndestination:{subscribed}\nack:auto\nid:s1\nreceipt:r1\n\n\0".encode())
            assert await peer.frame() == b"RECEIPT\nreceipt-id:r1\n\n\0"
        yield peer
    finally:
        await peer.close()


@contextlib.asynccontextmanager
async def raw_server(script: Callable[[RawPeer], Awaitable[None]]) -> AsyncIterator[int]:
    """A server that plays a script to each client and then closes; yields its port."""
    failures: list[BaseException] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = RawPeer(reader, writer)
        try:
            await script(peer)
        except (AssertionError, TimeoutError, EOFError) as failure:
            failures.append(failure)
        finally:
            await peer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
    assert failures == []


@contextlib.asynccontextmanager
async def serving(
    handler: Callable[[Call], Awaitable[Any]] | None = None,
    *,
    limits: Limits = QUICK,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[Server, int]]:
    """A server of ours and its port; by default it echoes."""
    server = Server(handler or echo, tls=tls, limits=limits)
    port = await server.start("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.close()


async def echo(call: Call) -> Any:
    """Answers `echo` with its params, and nothing else."""
    if call.method != "echo":
        raise method_not_found(call.method)
    return dict(call.params)


class Gate:
    """A handler whose calls wait until they are let through; knows which began and which ended how."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.changed = asyncio.Condition()

    async def __call__(self, call: Call) -> Any:
        async with self.changed:
            self.begun.append(call.method)
            self.changed.notify_all()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call.method)
            raise
        async with self.changed:
            self.ended.append(call.method)
            self.changed.notify_all()
        return call.method

    async def until(self, *, begun: int = 0, ended: int = 0) -> None:
        async with asyncio.timeout(WAIT_S), self.changed:
            await self.changed.wait_for(lambda: len(self.begun) >= begun and len(self.ended) >= ended)


@contextlib.asynccontextmanager
async def connected(port: int, limits: Limits = QUICK, **options: Any) -> AsyncIterator[Client]:
    """A client of ours, of a server on this machine."""
    client = await Client.connect("127.0.0.1", port, tls=None, server_name=None, limits=limits, **options)
    try:
        yield client
    finally:
        await client.close()


async def greet(peer: RawPeer, *, events: bool = False) -> tuple[str, str]:
    """Play a host's part up to the subscriptions; the reply destination and its subscription's id."""
    assert (await peer.frame()).startswith(b"CONNECT\naccept-version:1.2\nheart-beat:")
    await peer.write(CONNECTED)
    match = re.fullmatch(rb"SUBSCRIBE\ndestination:(%s)\nack:auto\nid:(%s)\n\n\0" % (UUID, UUID), await peer.frame())
    assert match is not None
    if events:
        pattern = rb"SUBSCRIBE\ndestination:jms.queue.events\nack:auto\nid:%s\n\n\0" % UUID
        assert re.fullmatch(pattern, await peer.frame())
    return match[1].decode(), match[2].decode()


async def asked(peer: RawPeer) -> bytes:
    """Read one request; its id."""
    body = (await peer.frame()).partition(b"\n\n")[2][:-1]
    (request,) = json.loads(body)
    return str(request["id"]).encode()


async def farewell(peer: RawPeer) -> None:
    """Answer the client's DISCONNECT."""
    match = re.fullmatch(rb"DISCONNECT\nreceipt:(%s)\n\n\0" % UUID, await peer.frame())
    assert match is not None
    await peer.write(b"RECEIPT\nreceipt-id:%s\n\n\0" % match[1])


def error(text: bytes, *, receipt: bytes = b"") -> bytes:
    """An ERROR frame."""
    named = b"receipt-id:%s\n" % receipt if receipt else b""
    return b"ERROR\n%scontent-length:%d\n\n%s\0" % (named, len(text), text)


def request(method: str, request_id: int = 1) -> bytes:
    """The body of a request without parameters."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "id": request_id}).encode()


def send(
    body: bytes, *, destination: str = "jms.topic.vdsm_requests", reply_to: str | None = "me", extra: str = ""
) -> bytes:
    """A SEND frame of a request body."""
    head = f"SEND\ndestination:{destination}\n" + (f"reply-to:{reply_to}\n" if reply_to else "") + extra
    return f"{head}content-length:{len(body)}\n\n".encode() + body + b"\0"


def message(body: bytes, *, destination: str = "me", subscription: str = "s1") -> bytes:
    """The MESSAGE frame that carries a body."""
    head = f"MESSAGE\ndestination:{destination}\ncontent-type:application/json\nsubscription:{subscription}\n"
    return f"{head}content-length:{len(body)}\n\n".encode() + body + b"\0"
