"""Heart-beats, floods and slow readers, at our client."""

import asyncio
from dataclasses import replace

from interlock.wire.client import NotSent, Unanswered
from tests.wire.peers import QUICK, WAIT_S, RawPeer, asked, connected, farewell, greet, message, raw_server

EVENT = message(b'{"jsonrpc":"2.0","method":"e","params":{"n":1}}', destination="jms.queue.events")


async def test_both_sides_beat_and_a_silent_host_is_cut() -> None:
    async def host(peer: RawPeer) -> None:
        assert await peer.frame() == b"CONNECT\naccept-version:1.2\nheart-beat:40,40\n\n\0"
        await peer.write(b"CONNECTED\nversion:1.2\nheart-beat:20,30\n\n\0")
        await peer.frame()
        assert set(await peer.rest()) == {0x0A}

    limits = replace(QUICK, heartbeat_send_ms=40, heartbeat_receive_ms=40)
    async with raw_server(host) as port, connected(port, limits) as client:
        async with asyncio.timeout(WAIT_S):
            await client.wait_closed()
        assert client.closed_because == "the peer was silent for 0.08 s"


async def test_a_host_that_beats_is_kept() -> None:
    async def host(peer: RawPeer) -> None:
        await peer.frame()
        await peer.write(b"CONNECTED\nversion:1.2\nheart-beat:40,40\n\n\0")
        await peer.frame()
        request_id = await asked(peer)
        for _ in range(16):  # beats of the client's, 30 ms apart: longer than the 400 ms that silence may last
            assert await peer.reader.readexactly(1) == b"\n"
            await peer.write(b"\n")
        await peer.write(message(b'{"id":"%s","result":1}' % request_id))
        await farewell(peer)

    limits = replace(QUICK, heartbeat_send_ms=40, heartbeat_receive_ms=40, heartbeat_grace_factor=10.0)
    async with raw_server(host) as port, connected(port, limits) as client:
        assert await client.call("m", {}) == 1


async def test_a_flood_of_notifications_is_read_at_its_pace_and_whole_and_its_host_is_kept() -> None:
    events: list[str] = []

    async def host(peer: RawPeer) -> None:
        await peer.frame()
        await peer.write(b"CONNECTED\nversion:1.2\nheart-beat:100,0\n\n\0")
        for _ in ("answers", "events"):
            assert (await peer.frame()).startswith(b"SUBSCRIBE\n")
        await peer.write(EVENT * 22 + message(b'{"id":"%s","result":1}' % await asked(peer)))
        await farewell(peer)

    limits = replace(QUICK, frames_burst_max=4, frames_per_s_max=40.0, heartbeat_receive_ms=100)
    async with raw_server(host) as port:
        async with connected(port, limits, on_event=lambda method, params: events.append(method)) as client:
            began_s = asyncio.get_running_loop().time()
            assert await client.call("m", {}) == 1  # half a second; silence may last for 0.2 s
            took_s = asyncio.get_running_loop().time() - began_s
        assert client.closed_because == "this side closed the connection"
    assert events == ["e"] * 22
    assert took_s >= (23 - limits.frames_burst_max - 1) / limits.frames_per_s_max


async def test_a_host_that_stops_reading_leaves_calls_not_sent() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        peer.stop_reading()
        await stop.wait()

    stop = asyncio.Event()
    limits = replace(QUICK, body_bytes_max=60_000, send_buffer_bytes_max=600_000)
    async with raw_server(host) as port, connected(port, limits) as client:
        calls = [asyncio.create_task(client.call("m", {"a": "x" * 50_000})) for _ in range(200)]
        async with asyncio.timeout(WAIT_S):
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        stop.set()
    kinds = [type(outcome) for outcome in outcomes]
    first = kinds.index(NotSent)
    assert kinds == [Unanswered] * first + [NotSent] * (200 - first)
