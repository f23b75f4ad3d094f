"""The server's side of one connection: what each STOMP command does."""

from collections.abc import Callable
from typing import Protocol

import structlog

from interlock.wire import jsonrpc, unix
from interlock.wire.calls import Calls, Handler, Peer
from interlock.wire.connection import Connection, heart_beat_pair
from interlock.wire.destinations import RESPONSES, takes_requests
from interlock.wire.frames import VERSION, Frame, HeartBeat, ProtocolError, UnknownCommand
from interlock.wire.limits import Limits
from interlock.wire.subscriptions import Subscriptions

_log = structlog.get_logger(__name__)


class Sessions(Protocol):
    """What a session tells its server."""

    def opened(self, session: "Session") -> bool:
        """Whether there is room for it."""

    def ended(self, session: "Session") -> None:
        """Its connection is gone; called once."""

    @property
    def subscriptions(self) -> Subscriptions:
        """Those of all sessions."""


class Session:
    """A receiver and subscriber: CONNECT first, then subscriptions and requests until DISCONNECT."""

    def __init__(self, sessions: Sessions, handler: Handler, limits: Limits) -> None:
        self._sessions = sessions
        self._handler = handler
        self._limits = limits
        self._subscriptions: dict[str, str] = {}  # destination by subscription id
        self._began = False
        self._greeted = False
        self.connection: Connection
        self.calls: Calls

    def connected(self, connection: Connection) -> None:
        self.connection = connection
        self._peer = _peer(connection)
        self.calls = Calls(self._handler, self._peer, self._limits)
        if not self._sessions.opened(self):
            # Said aloud: a close without a word would be taken for a refused certificate.
            connection.send(Frame("ERROR", body=b"No room for another connection"))
            connection.close("there was no room for another connection")
            return
        seconds = self._limits.handshake_timeout_s
        connection.after("connect", seconds, lambda: connection.cut(f"no CONNECT came within {seconds:g} s"))

    def received(self, item: Frame | HeartBeat) -> None:
        if isinstance(item, HeartBeat):
            if not self._began:
                self.connection.cut("the first bytes were no command")
            return
        self._began = True
        act = self._COMMANDS.get(item.command)
        if item.command in ("CONNECT", "STOMP"):
            self._connect(item)
        elif not self._greeted and item.command != "SUBSCRIBE":  # oVirt's client may subscribe just before it connects
            self._refuse(item, "CONNECT must come first", close=True)
        elif act is None:
            self._refuse(item, f"Command {item.command} is not offered")
        else:
            refusal = act(self, item)
            if refusal is not None:
                self._refuse(item, refusal)
            elif (receipt := item.get("receipt")) is not None:
                self.connection.send(Frame("RECEIPT", {"receipt-id": receipt}))
            if item.command == "DISCONNECT":
                self.connection.close("the client disconnected")

    def broken(self, fault: ProtocolError) -> None:
        if isinstance(fault, UnknownCommand) and not self._began:
            self.connection.cut(str(fault))
        else:
            self.connection.send(Frame("ERROR", body=str(fault).encode(errors="replace")))
            self.connection.close(str(fault))

    def lost(self, why: str, error: Exception | None) -> None:
        _log.info("connection_ended", peer=str(self._peer), reason=why)
        self.calls.refuse(why)
        for subscription, destination in self._subscriptions.items():
            self._sessions.subscriptions.remove(destination, self, subscription)
        self._subscriptions.clear()
        self._sessions.ended(self)

    def deliver(self, frame: Frame) -> None:
        if self._greeted:  # nothing goes before CONNECTED
            self.connection.send(frame)

    def _connect(self, frame: Frame) -> None:
        if self._greeted:
            return self._refuse(frame, "Already connected", close=True)
        versions = (frame.get("accept-version") or "").split(",")
        if VERSION not in (version.strip() for version in versions):
            return self._refuse(frame, "Version unsupported", close=True)
        pair = heart_beat_pair(frame)
        if pair is None:
            return self._refuse(frame, "Header heart-beat must be two numbers of milliseconds", close=True)
        receive_ms, send_ms = (value and max(value, self._limits.heartbeat_ms_min) for value in pair)
        self._greeted = True
        self.connection.cancel("connect")
        self.connection.send(Frame("CONNECTED", {"version": VERSION, "heart-beat": f"{send_ms},{receive_ms}"}))
        self.connection.beat(send_ms=send_ms, receive_ms=receive_ms)

    def _subscribe(self, frame: Frame) -> str | None:
        destination, subscription = frame.get("destination"), frame.get("id")
        if not destination or not subscription:
            return "Missing destination or subscription id header"
        if subscription in self._subscriptions:
            return "Subscription id already exists"
        if len(self._subscriptions) >= self._limits.subscriptions_max:
            return f"No more than {self._limits.subscriptions_max} subscriptions are allowed"
        self._subscriptions[subscription] = destination
        self._sessions.subscriptions.add(destination, self, subscription)
        return None

    def _unsubscribe(self, frame: Frame) -> str | None:
        subscription = frame.get("id")
        if not subscription:
            return "Missing id header"
        destination = self._subscriptions.pop(subscription, None)
        if destination is not None:  # otherwise it is already as wished
            self._sessions.subscriptions.remove(destination, self, subscription)
        return None

    def _send(self, frame: Frame) -> str | None:
        destination = frame.get("destination") or ""
        forwarded = self._sessions.subscriptions.forward(destination, frame)
        if not takes_requests(destination):
            return None if forwarded else "Subscription not available"
        answer_to = frame.get("reply-to") or RESPONSES
        batch = jsonrpc.read_requests(frame.body, self._limits)
        answered = any(isinstance(entry, jsonrpc.Invalid) or entry.wants_reply for entry in batch.entries)
        # Nothing is run whose answer could not be heard: its caller could never learn how it ended.
        if answered and answer_to not in self._sessions.subscriptions:
            return "Subscription not available"
        self.calls.serve(batch, frame.fields, len(frame.body), lambda body: self._answer(answer_to, body))
        return None

    def _answer(self, destination: str, body: bytes) -> None:
        if not self._sessions.subscriptions.publish(destination, body):
            _log.warning("answer_dropped", peer=str(self._peer), destination=destination)

    def _disconnect(self, frame: Frame) -> str | None:
        return None

    def _refuse(self, frame: Frame, why: str, *, close: bool = False) -> None:
        receipt = frame.get("receipt")
        self.connection.send(Frame("ERROR", {} if receipt is None else {"receipt-id": receipt}, why.encode()))
        if close:
            self.connection.close(why)

    _COMMANDS: dict[str, Callable[["Session", Frame], str | None]] = {  # noqa: RUF012
        "SUBSCRIBE": _subscribe,
        "UNSUBSCRIBE": _unsubscribe,
        "SEND": _send,
        "DISCONNECT": _disconnect,
    }


def _peer(connection: Connection) -> Peer:
    if (uid := unix.peer_uid(connection.socket)) is not None:
        return Peer((), "unix", uid)
    certificate = connection.extra("peercert")
    names = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    address = connection.extra("peername")
    return Peer(tuple(str(value) for _, value in names), str(address[0]) if isinstance(address, tuple) else "unknown")
