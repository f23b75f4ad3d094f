"""The server: listens, keeps its sessions, publishes notifications, closes in order."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # JSON values

import structlog

from interlock.wire import jsonrpc, loopback, unix
from interlock.wire.calls import Call, Handler, Peer
from interlock.wire.connection import Connection
from interlock.wire.destinations import EVENTS
from interlock.wire.limits import DEFAULT_LIMITS, Limits
from interlock.wire.loopback import PlainRefused
from interlock.wire.session import Session
from interlock.wire.subscriptions import Subscriptions

__all__ = ["Call", "Handler", "Limits", "Peer", "PlainRefused", "Server"]

_log = structlog.get_logger(__name__)


class Server:
    """Answers JSON-RPC requests by a handler. Lives in one event loop.

    Started once on TCP, on any number of Unix-domain sockets, or both; closed once.
    """

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None, limits: Limits = DEFAULT_LIMITS) -> None:
        self._handler = handler
        self._tls = tls
        self._limits = limits
        self._listeners: list[asyncio.Server] = []
        self._socket_files: list[unix.SocketFile] = []
        #: For sessions.
        self.subscriptions = Subscriptions()
        self._sessions: set[Session] = set()
        self._ending: set[Session] = set()  # connection gone, calls still running
        self._closing = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the bound port (port 0 = any free one, on the first address of the host).

        Raises PlainRefused without TLS off loopback, OSError when the address cannot be bound.
        """
        addresses = await loopback.addresses(host, port, encrypted=self._tls is not None)
        listener = await asyncio.get_running_loop().create_server(
            self._connection,
            addresses if port else addresses[:1],
            port,
            ssl=self._tls,
            ssl_handshake_timeout=self._limits.handshake_timeout_s if self._tls else None,
            ssl_shutdown_timeout=self._limits.close_timeout_s if self._tls else None,
        )
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix-domain socket, without TLS: its file is for this user only (0600).

        The file of a process that is gone is replaced; `close` removes it. Raises OSError when it cannot be bound.
        """
        file = unix.SocketFile(path)
        self._socket_files.append(file)
        self._listeners.append(await asyncio.get_running_loop().create_unix_server(self._connection, sock=file.socket))

    def publish(self, method: str, params: Mapping[str, Any]) -> None:
        """Notify every subscriber of `jms.queue.events`; `notify_time` (monotonic, ms) is added unless given.

        Never waits: a subscriber that leaves too much unread is cut. Raises TypeError or ValueError for what
        JSON cannot carry or no frame can hold.
        """
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        body = jsonrpc.notification_body(method, {"notify_time": now_ms, **params})
        if len(body) > self._limits.body_bytes_max:
            raise ValueError(f"event {method} has {len(body)} bytes; {self._limits.body_bytes_max} are allowed")
        self.subscriptions.publish(EVENTS, body)

    async def close(self) -> None:
        """Stop listening, give running calls `close_timeout_s` to answer, cancel the rest, disconnect."""
        self._closing = True
        for listener in self._listeners:
            listener.close()
        for file in self._socket_files:
            file.remove()
        for session in self._sessions:
            session.calls.refuse("The server is closing")
        tasks = {task for session in self._sessions | self._ending for task in session.calls.tasks}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._limits.close_timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self._limits.close_timeout_s)
        for session in tuple(self._sessions):
            session.connection.close("the server was closed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.close_timeout_s):
                await self._all_gone.wait()
        for session in tuple(self._sessions):
            session.connection.cut("the server was closed")
        await self._all_gone.wait()

    def _connection(self) -> Connection:
        return Connection(Session(self, self._handler, self._limits), self._limits)

    def opened(self, session: Session) -> bool:
        """For sessions: whether there is room for it; calls that outlive a connection keep its place."""
        self._sessions.add(session)
        self._all_gone.clear()
        self._ending = {ending for ending in self._ending if ending.calls.tasks}
        room = not self._closing and len(self._sessions) + len(self._ending) <= self._limits.connections_max
        if not room:
            _log.warning("connection_refused", connections=len(self._sessions), closing=self._closing)
        return room

    def ended(self, session: Session) -> None:
        """For sessions: the connection is gone."""
        self._sessions.discard(session)
        if session.calls.tasks:
            self._ending.add(session)
        if not self._sessions:
            self._all_gone.set()
