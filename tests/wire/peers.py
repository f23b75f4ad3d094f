"""Raw peers for the wire's tests: a client and a server made of sockets and bytes only."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any  # JSON values

from interlock.wire.jsonrpc import method_not_found
from interlock.wire.limits import Limits
from interlock.wire.server import Call, Server

#: How long a test waits for a fact before it fails.
WAIT_S = 5.0
#: Limits that make waiting short.
QUICK = Limits(close_timeout_s=1.0)

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
        except (AssertionError, TimeoutError) as failure:
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


def send(body: bytes, *, reply_to: str = "me", extra: str = "") -> bytes:
    """A SEND frame of a request body."""
    head = f"SEND\ndestination:jms.topic.vdsm_requests\nreply-to:{reply_to}\n{extra}"
    return f"{head}content-length:{len(body)}\n\n".encode() + body + b"\0"


def message(body: bytes, *, destination: str = "me", subscription: str = "s1") -> bytes:
    """The MESSAGE frame that carries a body."""
    head = f"MESSAGE\ndestination:{destination}\ncontent-type:application/json\nsubscription:{subscription}\n"
    return f"{head}content-length:{len(body)}\n\n".encode() + body + b"\0"
