"""The server's side of one connection: what each STOMP command does."""

from collections.abc import Callable
from typing import Protocol

import structlog

from interlock.wire import jsonrpc
from interlock.wire.calls import Calls, Handler, Peer
from interlock.wire.connection import Connection, heart_beat_pair
from interlock.wire.destinations import IRS_REQUESTS, REQUESTS, RESPONSES
from interlock.wire.frames import VERSION, Frame, HeartBeat, ProtocolError, UnknownCommand
from interlock.wire.limits import Limits

_log = structlog.get_logger(__name__)


class Sessions(Protocol):
    """What a session tells its server."""

    def opened(self, session: "Session") -> bool:
        """Whether there is room for it."""

    def ended(self, session: "Session") -> None:
        """Its connection is gone; called once."""


class Session:
    """A receiver: CONNECT first, then subscriptions and requests until DISCONNECT."""

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
        elif not self._greeted:
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
        _log.info("connection_ended", peer=self._peer.names or self._peer.address, reason=why)
        self.calls.refuse(why)
        self._subscriptions.clear()
        self._sessions.ended(self)

    def deliver(self, destination: str, body: bytes) -> bool:
        """Send a MESSAGE to each subscription of that destination; whether there was one."""
        ids = [key for key, value in self._subscriptions.items() if value == destination]
        for subscription in ids:
            self.connection.send(
                Frame(
                    "MESSAGE",
                    {
                        "destination": destination,
                        "content-type": "application/json",
                        "subscription": subscription,
                    },
                    body,
                )
            )
        return bool(ids)

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
        if frame.get("ack") not in (None, "auto"):
            return "Only ack:auto is offered"
        if len(self._subscriptions) >= self._limits.subscriptions_max:
            return f"No more than {self._limits.subscriptions_max} subscriptions are allowed"
        self._subscriptions[subscription] = destination
        return None

    def _unsubscribe(self, frame: Frame) -> str | None:
        subscription = frame.get("id")
        if not subscription:
            return "Missing id header"
        if self._subscriptions.pop(subscription, None) is None:
            return "Subscription id not found"
        return None

    def _send(self, frame: Frame) -> str | None:
        if frame.get("destination") not in (REQUESTS, IRS_REQUESTS):
            return "Subscription not available"
        answer_to = frame.get("reply-to") or RESPONSES
        batch = jsonrpc.read_requests(frame.body, self._limits)
        answered = any(isinstance(entry, jsonrpc.Invalid) or entry.wants_reply for entry in batch.entries)
        # Nothing is run whose answer could not be heard: its caller could never learn how it ended.
        if answered and answer_to not in self._subscriptions.values():
            return "Subscription not available"
        self.calls.serve(batch, frame.fields, lambda body: self._answer(answer_to, body))
        return None

    def _answer(self, destination: str, body: bytes) -> None:
        if not self.deliver(destination, body):
            _log.warning("answer_dropped", peer=self._peer.names or self._peer.address, destination=destination)

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
    certificate = connection.extra("peercert")
    names = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    address = connection.extra("peername")
    return Peer(tuple(str(value) for _, value in names), str(address[0]) if isinstance(address, tuple) else "unknown")
