"""The client: one connection to one host, calls with a certain end or an honest "unknown"."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any  # JSON values

import structlog

from interlock.ids import new_id
from interlock.wire import jsonrpc, loopback
from interlock.wire.connection import Connection, heart_beat_pair
from interlock.wire.destinations import EVENTS, REQUESTS, is_within
from interlock.wire.frames import VERSION, Frame, HeartBeat, ProtocolError, encode
from interlock.wire.jsonrpc import Reply, RpcError
from interlock.wire.limits import DEFAULT_LIMITS, Limits
from interlock.wire.outcomes import (
    ConnectFailed,
    ConnectReason,
    NotAccepted,
    NotSent,
    Unanswered,
    connect_failed,
    not_greeted,
)

__all__ = ["Client", "ConnectFailed", "ConnectReason", "Limits", "NotSent", "RpcError", "Unanswered"]

OnEvent = Callable[[str, Mapping[str, Any]], None]

_RESERVED = frozenset(("destination", "content-type", "content-length", "reply-to", "receipt"))
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_log = structlog.get_logger(__name__)


class Client:
    """One connection, not reconnecting: after it is closed, connect a new one. Lives in one event loop."""

    def __init__(self, name: str, on_event: OnEvent | None, limits: Limits) -> None:
        self._name = name
        self._on_event = on_event
        self._limits = limits
        loop = asyncio.get_running_loop()
        self._greeting: asyncio.Future[Frame | str] = loop.create_future()
        self._farewell = str(new_id())
        self._receipt: asyncio.Future[None] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._loss: Exception | None = None
        self._pending: dict[str, asyncio.Future[Reply | str]] = {}
        self._reply_to = str(new_id())
        self._last_error = ""
        self._connection: Connection | None = None
        #: Why the connection is closed; None while it is open.
        self.closed_because: str | None = None

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        server_name: str | None,
        on_event: OnEvent | None = None,
        connect_timeout_s: float = 10.0,
        limits: Limits = DEFAULT_LIMITS,
    ) -> "Client":
        """Connect, greet and subscribe. `server_name` is what the certificate must name (None = `host`).

        `on_event` gets the method and params of each notification, in the event loop: it must not block.
        Raises ConnectFailed.
        """
        client = cls(server_name or host, on_event, limits)
        opening = client._open(host, port, tls)
        await client._begin(f"{host}:{port}", opening, connect_timeout_s, encrypted=tls is not None)
        return client

    @classmethod
    async def connect_unix(
        cls,
        path: Path,
        *,
        on_event: OnEvent | None = None,
        connect_timeout_s: float = 10.0,
        limits: Limits = DEFAULT_LIMITS,
    ) -> "Client":
        """As `connect`, to a server on this machine by its Unix-domain socket, without TLS."""
        client = cls(str(path), on_event, limits)
        await client._begin(str(path), client._open_unix(path), connect_timeout_s, encrypted=False)
        return client

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        timeout_s: float = 30.0,
    ) -> Any:
        """The result of one request. `headers` are added to its frame.

        Raises RpcError (the peer's answer), NotSent, Unanswered; ValueError or TypeError, with nothing sent,
        for params or headers that the wire cannot carry.
        """
        request_id = str(new_id())
        raw = self._request(request_id, method, params, headers)
        if self._connection is None or self.closed_because is not None:
            raise NotSent(f"{method} was not sent to {self._name}: {self.closed_because}; connect again")
        if len(self._pending) >= self._limits.calls_pending_max:
            raise NotSent(f"{method} was not sent to {self._name}: {len(self._pending)} calls wait; try later")
        answer: asyncio.Future[Reply | str] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = answer
        try:
            if not self._connection.send(raw):
                raise NotSent(f"{method} was not sent to {self._name}: it is closing or reads too slowly")
            async with asyncio.timeout(timeout_s):
                reply = await answer
        except TimeoutError:
            reply = f"no answer within {timeout_s:g} s"
        finally:
            del self._pending[request_id]
        if isinstance(reply, str):
            raise Unanswered(
                f"{method} to {self._name} has no answer: {reply}{self._last_error}; ask the host about it"
            )
        if reply.error is not None:
            raise reply.error
        return reply.result

    @property
    def is_open(self) -> bool:
        """Whether a call could be sent now."""
        return self._connection is not None and self._connection.is_open and self.closed_because is None

    async def wait_closed(self) -> None:
        """Return once the connection is gone, whoever ended it; `closed_because` says why."""
        await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Disconnect; calls without an answer end as Unanswered. May be called again."""
        if self._connection is None:
            return
        self._connection.will_end("this side closed the connection")
        if self.is_open and self._connection.send(Frame("DISCONNECT", {"receipt": self._farewell})):
            await asyncio.wait((self._receipt, self._lost), timeout=1, return_when=asyncio.FIRST_COMPLETED)
        self._connection.close("this side closed the connection")
        await asyncio.wait((self._lost,), timeout=self._limits.close_timeout_s)
        self._connection.cut("this side closed the connection")
        await self.wait_closed()

    async def _begin(self, target: str, opening: Awaitable[None], timeout_s: float, *, encrypted: bool) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await opening
                await self._greet(encrypted=encrypted)
        except BaseException as error:
            if self._connection is not None:
                self._connection.cut("connecting failed")
            failed = connect_failed(target, error)
            if failed is None:
                raise
            raise failed from error

    async def _open_unix(self, path: Path) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: Connection(self, self._limits), str(path))

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        # TLS needs no look at the addresses: the certificate says who is there.
        targets = [host] if tls else await loopback.addresses(host, port, encrypted=False)
        for target in targets:
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self, self._limits),
                    target,
                    port,
                    ssl=tls,
                    server_hostname=self._name if tls else None,
                    ssl_shutdown_timeout=self._limits.close_timeout_s if tls else None,
                )
                return
            except ConnectionRefusedError:
                if target == targets[-1]:
                    raise

    async def _greet(self, *, encrypted: bool) -> None:
        assert self._connection is not None
        wish = f"{self._limits.heartbeat_send_ms},{self._limits.heartbeat_receive_ms}"
        self._connection.send(Frame("CONNECT", {"accept-version": VERSION, "heart-beat": wish}))
        greeting = await self._greeting
        if isinstance(greeting, str):
            raise not_greeted(greeting, self._loss, wordless=encrypted and not self._connection.has_heard)
        pair = heart_beat_pair(greeting)
        if greeting.command != "CONNECTED" or greeting.get("version") != VERSION or pair is None:
            raise NotAccepted(greeting.body.decode(errors="replace")[:200] or f"{greeting.command} answered")
        theirs_ms, wants_ms = pair
        send_ms, receive_ms = self._limits.heartbeat_send_ms, self._limits.heartbeat_receive_ms
        self._connection.beat(
            send_ms=max(send_ms, wants_ms) if send_ms and wants_ms else 0,
            receive_ms=max(receive_ms, theirs_ms) if receive_ms and theirs_ms else 0,
        )
        self._subscribe(self._reply_to)
        if self._on_event is not None:
            self._subscribe(EVENTS)

    def _subscribe(self, destination: str) -> None:
        assert self._connection is not None
        self._connection.send(Frame("SUBSCRIBE", {"destination": destination, "ack": "auto", "id": str(new_id())}))

    def _request(self, request_id: str, method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
        if taken := _RESERVED & headers.keys():
            raise ValueError(f"header {min(taken)} of {method} is set by the client itself; leave it out")
        body = jsonrpc.request_body(request_id, method, params)
        if len(body) > self._limits.body_bytes_max:
            raise NotSent(
                f"{method} was not sent to {self._name}: it has {len(body)} bytes, "
                f"{self._limits.body_bytes_max} are allowed; send less at once"
            )
        fixed = {
            "destination": REQUESTS,
            "content-type": "application/json",
            "reply-to": self._reply_to,
        }
        return encode(Frame("SEND", {**fixed, **headers}, body))

    # What follows is called by the connection.

    def connected(self, connection: Connection) -> None:
        self._connection = connection

    def received(self, item: Frame | HeartBeat) -> None:
        if isinstance(item, HeartBeat):
            return
        if not self._greeting.done():
            self._greeting.set_result(item)
        elif item.command == "MESSAGE":
            self._message(item)
        elif item.command == "RECEIPT":
            if item.get("receipt-id") == self._farewell and not self._receipt.done():
                self._receipt.set_result(None)
        elif item.command == "ERROR":
            # Names no call. A stock host stays connected after one, so the calls' own time decides.
            text = item.body.decode(errors="replace")[:200]
            self._last_error = f" (the host sent an error: {text!r})"
            _log.warning("host_sent_error", host=self._name, text=text)

    def broken(self, fault: ProtocolError) -> None:
        assert self._connection is not None
        self._connection.cut(f"the peer broke the protocol: {fault}")

    def lost(self, why: str, error: Exception | None) -> None:
        self.closed_because = why
        self._loss = error
        if not self._greeting.done():
            self._greeting.set_result(why)
        for answer in self._pending.values():
            if not answer.done():
                answer.set_result(why)
        if not self._lost.done():
            self._lost.set_result(None)

    def _message(self, frame: Frame) -> None:
        assert self._connection is not None
        try:
            messages = jsonrpc.read_messages(frame.body, self._limits)
        except RpcError as error:
            self._connection.cut(f"the peer sent a body that cannot be read: {error.message}")
            return
        for message in messages:
            if isinstance(message, Reply):
                self._answered(message)
            elif self._on_event is not None and is_within(frame.get("destination") or "", EVENTS):
                try:
                    self._on_event(message.method, message.params)
                except Exception:
                    _log.exception("event_failed", host=self._name, method=message.method)

    def _answered(self, reply: Reply) -> None:
        answer = self._pending.get(reply.id) if isinstance(reply.id, str) else None
        if answer is None or answer.done():
            _log.info("answer_unexpected", host=self._name, request=reply.id, error=str(reply.error or ""))
        else:
            answer.set_result("the answer is neither a result nor an error" if reply.malformed else reply)
