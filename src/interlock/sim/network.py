"""A virtual network between processes: streams that are late, cut, or held up, as the weather has it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from interlock.sim.timeline import Timeline

if TYPE_CHECKING:
    from interlock.sim.process import Process

Address = tuple[str, int]
Factory = Callable[[], asyncio.Protocol]

#: how long a message is on its way: mostly this, now and then up to the second
USUAL_S, LATE_S, LATE_SHARE = 0.002, 0.5, 0.02
#: how late arrives what is later than anybody waits, and what outlives its connection, at most
TOO_LATE_S, ADRIFT_S_MAX = 45.0, 12.0


class Fate(Enum):
    """What becomes of a message."""

    #: it arrives
    ARRIVES = "arrives"
    #: it does not, though others after it do
    LOST = "lost"
    #: it arrives twice
    TWICE = "twice"
    #: it arrives after the next one
    OVERTAKEN = "overtaken"
    #: it arrives, later than anybody waits
    LATE = "late"
    #: the connection breaks, and later it arrives nevertheless
    ADRIFT = "adrift"
    #: half of it arrives, then the connection breaks
    CUT = "cut"
    #: something else arrives
    GARBAGE = "garbage"


class Weather(Protocol):
    """Decides about messages, and about ways."""

    def fate(self, origin: str, target: str, data: bytes) -> Fate:
        """What becomes of this message."""

    def blocked_until_s(self, origin: str, target: str) -> float:
        """Until when nothing gets through in that direction; in the past: it does."""


class Network:
    """Where processes listen, and all connections between them."""

    def __init__(self, timeline: Timeline, weather: Weather) -> None:
        self.timeline = timeline
        self.weather = weather
        self._chance = timeline.chance("network")
        self._listening: dict[Address, tuple[Process, Factory]] = {}
        self._ends: dict[Process, dict[Transport, None]] = {}

    def listen(self, process: Process, factory: Factory, address: Address) -> Listener:
        self._listening[address] = (process, factory)
        return Listener(address, lambda: self._listening.pop(address, None))

    async def connect(self, process: Process, factory: Factory, address: Address) -> tuple[Transport, asyncio.Protocol]:
        """Raises ConnectionRefusedError where nobody listens; where nothing gets through it waits."""
        await asyncio.sleep(self.latency_s())
        target = self._listening.get(address)
        name = f"{address[0]}:{address[1]}" if target is None else target[0].name
        while (until_s := self._blocked_s(process.name, name)) > self.timeline.now_s:
            await asyncio.sleep(until_s - self.timeline.now_s)
            target = self._listening.get(address)
        if target is None or target[0].is_dead:
            raise ConnectionRefusedError(111, f"nobody listens at {address}")
        await asyncio.sleep(self.latency_s())
        if target[0].is_dead:
            raise ConnectionRefusedError(111, f"nobody listens at {address}")
        here, there = Transport(self, process, factory()), Transport(self, target[0], target[1]())
        here.peer, there.peer = there, here
        for end in (here, there):
            self._ends.setdefault(end.process, {})[end] = None
        self.timeline.after(0, there.process, there.begin)
        here.begin()
        return here, here.protocol

    def _blocked_s(self, name: str, other: str) -> float:
        """Until when no connection can be made: it takes both directions."""
        return max(self.weather.blocked_until_s(name, other), self.weather.blocked_until_s(other, name))

    def latency_s(self) -> float:
        return self._chance.uniform(0, LATE_S if self._chance.random() < LATE_SHARE else USUAL_S)

    def adrift_s(self) -> float:
        return self._chance.uniform(0, ADRIFT_S_MAX)

    def forget(self, process: Process) -> None:
        """A process has died: its connections break."""
        for address in [each for each, (owner, _) in self._listening.items() if owner is process]:
            del self._listening[address]
        for end in self._ends.pop(process, {}):
            end.break_off()

    def gone(self, end: Transport) -> None:
        """An end is closed."""
        self._ends.get(end.process, {}).pop(end, None)


class Listener:
    """What listens at an address; as much of asyncio.Server as the wire uses."""

    def __init__(self, address: Address, close: Callable[[], object]) -> None:
        self.sockets = [_Socket(address)]
        self.close = close


class _Socket:
    """What the wire looks at of a socket."""

    family = socket.AF_INET

    def __init__(self, address: Address) -> None:
        self._address = address

    def getsockname(self) -> Address:
        return self._address

    def setsockopt(self, *_: Any) -> None:
        """There is no kernel beneath."""


class Transport(asyncio.Transport):
    """One end of a connection. What is written at once is one message."""

    def __init__(self, network: Network, process: Process, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._network = network
        self.process = process
        self.protocol = protocol
        self.peer: Transport
        self._is_closing = False
        self._is_reading = True
        self._unread: list[Callable[[], None]] = []
        #: nothing that is sent later arrives before
        self._arrives_s = 0.0
        self._overtaken: bytes | None = None

    def begin(self) -> None:
        self.protocol.connection_made(self)

    # what the wire uses ------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if self._is_closing or self.process.is_dead:
            return
        data = bytes(data)
        match self._network.weather.fate(self.process.name, self.peer.process.name, data):
            case Fate.ARRIVES:
                self._send(data)
            case Fate.TWICE:
                self._send(data)
                self._send(data)
            case Fate.LATE:
                self._send(data, late_s=TOO_LATE_S)
            case Fate.OVERTAKEN:
                self._overtaken = (self._overtaken or b"") + data
                return
            case Fate.ADRIFT:
                self._send(data, late_s=self._network.adrift_s())
                self._lose("the connection was lost")
            case Fate.CUT:
                self._send(data[: len(data) // 2])
                self._lose("the connection was cut")
            case Fate.GARBAGE:
                self._send(bytes(byte ^ 0xA5 for byte in data[:64]) + b"\0")
            case Fate.LOST:
                pass
        if self._overtaken is not None:
            self._send(self._overtaken)
            self._overtaken = None

    def _send(self, data: bytes, late_s: float = 0.0) -> None:
        peer = self.peer
        self._deliver(lambda: peer.receive(data), late_s)

    def _deliver(self, happen: Callable[[], None], late_s: float = 0.0) -> None:
        network = self._network
        now_s = max(network.timeline.now_s, network.weather.blocked_until_s(self.process.name, self.peer.process.name))
        self._arrives_s = max(self._arrives_s, now_s + network.latency_s() + late_s)
        network.timeline.at(self._arrives_s, self.peer.process, happen)

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(ConnectionResetError(104, "Connection reset by peer"))

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        unread, self._unread = self._unread, []
        for happen in unread:
            happen()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _Socket(("127.0.0.1", 0)) if name == "socket" else default

    # what the network does ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        if not self._is_reading:
            self._unread.append(lambda: self.receive(data))
        elif not self._is_closing:
            self.protocol.data_received(data)

    def break_off(self) -> None:
        """Its process has died; the other end hears of it."""
        self._is_closing = True
        self._tell_end(ConnectionResetError(104, "Connection reset by peer"))

    def lose(self, error: Exception | None) -> None:
        """The other end is gone."""
        if not self._is_reading and not self._is_closing:
            self._unread.append(lambda: self.lose(error))
            return
        if not self._is_closing:
            self._is_closing = True
            self._gone(error)

    def _lose(self, words: str) -> None:
        """The way between breaks: both ends hear of it."""
        self._end(ConnectionResetError(104, words))

    def _end(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._tell_end(error)
            self.process.loop.call_soon(self._gone, error)

    def _tell_end(self, error: Exception | None) -> None:
        """The other end hears of it when it has begun with all that was sent before."""
        self._arrives_s += self._network.latency_s()
        self._deliver(lambda: self.peer.lose(error))

    def _gone(self, error: Exception | None) -> None:
        self._network.gone(self)
        self.protocol.connection_lost(error)
