"""Heart-beats, floods and slow readers, at our server."""

import asyncio
from dataclasses import replace

from structlog.testing import capture_logs

from interlock.wire.server import Call
from tests.wire.peers import ECHO, ECHOED, QUICK, WAIT_S, message, raw_client, request, send, serving


async def test_the_server_beats_and_cuts_a_client_that_does_not() -> None:
    limits = replace(QUICK, heartbeat_ms_min=40)
    with capture_logs() as logs:
        async with serving(limits=limits) as (_, port), raw_client(port, greeted=False) as peer:
            await peer.write(b"CONNECT\naccept-version:1.2\nheart-beat:1,1\n\n\0")
            assert await peer.frame() == b"CONNECTED\nversion:1.2\nheart-beat:40,40\n\n\0"
            assert set(await peer.rest()) == {0x0A}
    assert [entry["reason"] for entry in logs] == ["the peer was silent for 0.08 s"]


async def test_a_client_that_beats_is_kept() -> None:
    limits = replace(QUICK, heartbeat_ms_min=40, heartbeat_grace_factor=10.0)
    async with serving(limits=limits) as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"CONNECT\naccept-version:1.2\nheart-beat:1,1\n\n\0")
        assert (await peer.frame()).startswith(b"CONNECTED\n")
        for _ in range(16):  # beats of the server's, 30 ms apart: longer than the 400 ms that silence may last
            assert await peer.reader.readexactly(1) == b"\n"
            await peer.write(b"\n")
        await peer.write(b"DISCONNECT\nreceipt:1\n\n\0")
        assert await peer.frame() == b"RECEIPT\nreceipt-id:1\n\n\0"


async def test_a_flood_is_read_at_its_pace_whole_and_neither_cut_for_silence_nor_felt_by_others() -> None:
    asked: list[str] = []

    async def handler(call: Call) -> str:
        asked.append(call.method)
        return call.method

    limits = replace(QUICK, frames_burst_max=4, frames_per_s_max=40.0, heartbeat_ms_min=100)
    async with (
        serving(handler, limits=limits) as (_, port),
        raw_client(port, greeted=False) as flood,
        raw_client(port, subscribed="other") as other,
    ):
        await flood.write(b"CONNECT\naccept-version:1.2\nheart-beat:100,0\n\n\0SUBSCRIBE\ndestination:me\nid:s1\n\n\0")
        assert await flood.frame() == b"CONNECTED\nversion:1.2\nheart-beat:0,100\n\n\0"
        began_s = asyncio.get_running_loop().time()
        requests = b"".join(send(request(f"m{number}", number)) for number in range(22))
        # the beats let the last answer go before the end
        await flood.write(requests + b"\n" * 8 + b"DISCONNECT\nreceipt:1\n\n\0")
        await other.write(send(request("quick"), reply_to="other"))
        assert await other.frame() == message(b'{"jsonrpc":"2.0","id":1,"result":"quick"}', destination="other")
        assert "m21" not in asked
        for number in range(22):  # within half a second; silence may last for 0.2 s
            assert await flood.frame() == message(b'{"jsonrpc":"2.0","id":%d,"result":"m%d"}' % (number, number))
        took_s = asyncio.get_running_loop().time() - began_s
        assert await flood.rest() == b"RECEIPT\nreceipt-id:1\n\n\0"
    assert took_s >= (22 - limits.frames_burst_max - 1) / limits.frames_per_s_max


async def test_a_slow_reader_is_cut_and_others_are_not() -> None:
    limits = replace(QUICK, body_bytes_max=60_000, send_buffer_bytes_max=600_000)
    async with (
        serving(limits=limits) as (server, port),
        raw_client(port, subscribed="jms.queue.events") as slow,
        raw_client(port, subscribed="me") as other,
    ):
        slow.stop_reading()
        with capture_logs() as logs:
            async with asyncio.timeout(WAIT_S):
                while not logs:
                    server.publish("e", {"a": "x" * 50_000})
                    await other.write(send(ECHO))
                    assert await other.frame() == message(ECHOED)
    assert logs == [
        {
            "event": "connection_ended",
            "peer": "127.0.0.1",
            "reason": "the peer left more than 600000 bytes unread",
            "log_level": "info",
        }
    ]
