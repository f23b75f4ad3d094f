"""One STOMP connection as asyncio sees it: frames in and out, heart-beats, and the bound on a slow reader."""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from interlock.wire.frames import Frame, HeartBeat, Parser, ProtocolError, encode
from interlock.wire.limits import Limits
from interlock.wire.pace import Pace

HEART_BEAT_BYTES = b"\n"
#: Frames of one connection that are handled before others have their turn.
_TURN_FRAMES_MAX = 200
#: How often silence is looked at while it lasts for as long as it may.
_LOOKS = 4


class Receiver(Protocol):
    """Who gives the frames a meaning: the server's session, or the client."""

    def connected(self, connection: "Connection") -> None:
        """The transport stands; TLS is done."""

    def received(self, item: Frame | HeartBeat) -> None:
        """One item, in order; not called any more once the connection is closing."""

    def broken(self, fault: ProtocolError) -> None:
        """The stream cannot be read on; to close is the receiver's part."""

    def lost(self, why: str, error: Exception | None) -> None:
        """The connection is gone; called once."""


class Connection(asyncio.Protocol):
    """Reads whatever comes, within a rate (the receiver bounds its own work), and never waits to write."""

    def __init__(self, receiver: Receiver, limits: Limits) -> None:
        self._receiver = receiver
        self._limits = limits
        self._parser = Parser(limits)
        self._transport: asyncio.Transport | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._silent_looks = 0
        self._pace = Pace(limits)
        self._paused = False
        self._why: str | None = None
        #: Whether the peer ever sent a byte (with TLS: after the handshake).
        self.has_heard = False

    @property
    def is_open(self) -> bool:
        """Whether frames can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _keep_alive(self.socket)
        self._receiver.connected(self)

    def data_received(self, data: bytes) -> None:
        self._silent_looks = 0
        self.has_heard = True
        self._parser.put(data)
        self._read_on()

    def _read_on(self) -> None:
        """Hand over what is complete, as far as the pace allows; the rest waits, and what is unread stays unread."""
        try:
            for _ in range(_TURN_FRAMES_MAX):
                if not self.is_open:
                    return
                wait_s = self._pace.wait_s(self._now())
                if wait_s > 0:
                    self._pause(wait_s)
                    return
                item = self._parser.next()
                if item is None:
                    return
                self._pace.count()
                self._receiver.received(item)
        except ProtocolError as fault:
            self._receiver.broken(fault)
        else:
            self._pause(0)

    def _pause(self, wait_s: float) -> None:
        assert self._transport is not None
        self._transport.pause_reading()
        self._paused = True
        self.after("resume", wait_s, self._resume)

    def _resume(self) -> None:
        assert self._transport is not None
        self._paused = False
        self._silent_looks = 0  # what it said meanwhile was not listened to
        self._read_on()
        if not self._paused and self.is_open:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        why = self._why or (f"the connection broke: {exc}" if exc else "the peer closed the connection")
        self._receiver.lost(why, exc)

    def send(self, data: Frame | bytes) -> bool:
        """Hand one frame (or its bytes) to the transport, whole, or nothing of it; False = nothing.

        A peer that leaves too many bytes unread is cut.
        """
        raw = encode(data) if isinstance(data, Frame) else data
        if self._transport is None or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() + len(raw) > self._limits.send_buffer_bytes_max:
            self.cut(f"the peer left more than {self._limits.send_buffer_bytes_max} bytes unread")
            return False
        self._transport.write(raw)
        return True

    def will_end(self, why: str) -> None:
        """Name the reason beforehand, where it is the peer who will close."""
        self._why = self._why or why

    def close(self, why: str) -> None:
        """Close once what was sent is taken; a peer that does not take it is cut after `close_timeout_s`."""
        if self._transport is not None and not self._transport.is_closing():
            self.will_end(why)
            self._transport.close()
            self.after("close", self._limits.close_timeout_s, self._transport.abort)

    def cut(self, why: str) -> None:
        """Close now; what was not taken yet is dropped."""
        self.will_end(why)
        if self._transport is not None:
            self._transport.abort()

    def after(self, name: str, delay_s: float, act: Callable[[], None]) -> None:
        """Call once later, unless cancelled, replaced under its name, or the connection is gone first."""
        self.cancel(name)
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, act)

    def cancel(self, name: str) -> None:
        """Forget that call."""
        if name in self._timers:
            self._timers.pop(name).cancel()

    def beat(self, *, send_ms: int, receive_ms: int) -> None:
        """Send a heart-beat within every `send_ms`; expect the peer to within `receive_ms`; 0 = neither."""
        if send_ms:
            # Early by a quarter, so that a strict peer does not count the delay of the way.
            self._send_beats(send_ms * 0.75 / 1000)
        if receive_ms:
            self._silent_looks = 0
            self._watch_silence(receive_ms * self._limits.heartbeat_grace_factor / 1000)

    def _send_beats(self, interval_s: float) -> None:
        if self.send(HEART_BEAT_BYTES):
            self.after("beat", interval_s, lambda: self._send_beats(interval_s))

    def _watch_silence(self, window_s: float) -> None:
        look_s = window_s / _LOOKS
        late_s = self._now() + 2 * look_s
        self.after("silence", look_s, lambda: self._look(window_s, late_s))

    def _look(self, window_s: float, late_s: float) -> None:
        # A look that comes late is not counted: this process, or the machine, stood still, and what the peer sent
        # meanwhile may be unread. The first one counted may follow right after a byte, so that it takes one more.
        if self._now() < late_s and not self._paused:
            self._silent_looks += 1
        if self._silent_looks > _LOOKS:
            self.cut(f"the peer was silent for {window_s:g} s")
        else:
            self._watch_silence(window_s)

    @property
    def socket(self) -> socket.socket:
        """What the transport is made of: to look at, not to use."""
        assert self._transport is not None
        # asyncio hands out its own class, which has what is looked at here.
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    def extra(self, name: str) -> object:
        """What asyncio knows of the transport under that name, such as `peercert`."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def heart_beat_pair(frame: Frame) -> tuple[int, int] | None:
    """The numbers of the heart-beat header (0,0 without one), milliseconds; None when it is malformed."""
    numbers = [number.strip(" ") for number in (frame.get("heart-beat") or "0,0").split(",")]
    if len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) <= 9 for n in numbers):
        return None
    return int(numbers[0]), int(numbers[1])


def _keep_alive(sock: socket.socket) -> None:
    # A peer that promised no heart-beats and vanished is found by TCP, within about a minute: by its probes, or, as
    # those wait while something sent (such as our own beats) is not acknowledged, by the time that may stay so.
    # The end of a peer on this machine the kernel tells by itself.
    if sock.family == socket.AF_UNIX:
        return
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
    ):
        sock.setsockopt(level, option, value)
