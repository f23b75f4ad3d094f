"""A connection apart from what its frames mean: what the kernel is asked to watch, turns, and pace."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from interlock.wire.connection import Connection
from interlock.wire.frames import HEART_BEAT, Frame, HeartBeat, ProtocolError
from interlock.wire.limits import Limits
from tests.wire.peers import WAIT_S


class Noted:
    """A receiver that writes down what it is told."""

    def __init__(self, received: Callable[[Connection], None] = lambda connection: None) -> None:
        self.items: list[Frame | HeartBeat] = []
        self.ended = asyncio.get_running_loop().create_future()
        self._received = received

    def connected(self, connection: Connection) -> None:
        self.connection = connection

    def received(self, item: Frame | HeartBeat) -> None:
        self.items.append(item)
        self._received(self.connection)

    def broken(self, fault: ProtocolError) -> None:
        raise AssertionError(fault)

    def lost(self, why: str, error: Exception | None) -> None:
        self.ended.set_result(why)


async def test_a_vanished_peer_is_found_by_tcp_even_while_something_is_not_acknowledged() -> None:
    loop = asyncio.get_running_loop()
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        address = listener.sockets[0].getsockname()
        _, connection = await loop.create_connection(lambda: Connection(Noted(), Limits()), *address)
        asked = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE)] + [
            (socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        ]
        assert [connection.socket.getsockopt(*option) for option in asked] == [1, 30, 10, 3, 60_000]
        connection.cut("enough")


async def test_a_peer_is_not_cut_for_a_silence_in_which_this_process_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    receiver = Noted()
    _, connection = await loop.create_connection(lambda: Connection(receiver, Limits()), sock=ours)
    connection.beat(send_ms=0, receive_ms=40)
    clock = loop.time
    with theirs:
        for hours in range(1, 10):
            monkeypatch.setattr(loop, "time", lambda seconds=hours * 3600: clock() + seconds)
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # every timer that is due has run
        theirs.sendall(b"\n")
        async with asyncio.timeout(WAIT_S):
            assert await receiver.ended == "the peer was silent for 0.08 s"
    assert receiver.items == [HEART_BEAT]


async def test_many_frames_at_once_leave_others_their_turn() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    seen_by_others: list[int] = []

    def received(connection: Connection) -> None:
        if len(receiver.items) == 1:
            loop.call_soon(lambda: seen_by_others.append(len(receiver.items)))

    receiver = Noted(received)
    await loop.create_connection(lambda: Connection(receiver, Limits()), sock=ours)
    theirs.sendall(b"\n" * 1000)
    theirs.close()
    async with asyncio.timeout(WAIT_S):
        assert await receiver.ended == "the peer closed the connection"
    assert (seen_by_others, len(receiver.items)) == ([200], 1000)


async def test_nothing_is_handed_over_once_the_receiver_has_closed() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    receiver = Noted(lambda connection: connection.close("enough"))
    await loop.create_connection(lambda: Connection(receiver, Limits()), sock=ours)
    with theirs:
        theirs.sendall(b"\n" * 1000)
        async with asyncio.timeout(WAIT_S):
            assert await receiver.ended == "enough"
    assert len(receiver.items) == 1


async def test_what_comes_faster_than_the_pace_stays_with_its_sender() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    limits = Limits(frames_burst_max=1, frames_per_s_max=0.001)
    _, connection = await loop.create_connection(lambda: Connection(Noted(), limits), sock=ours)
    theirs.setblocking(False)
    with theirs:
        taken = 0
        with pytest.raises(BlockingIOError):
            while taken < 10_000_000:
                taken += theirs.send(b"\n" * 10_000)
                await asyncio.sleep(0)  # the connection's turn to read
        connection.cut("enough")
    assert taken < 2_000_000  # what the kernel keeps, and what was read before the first frame was judged
