"""The server and its handler: what a call sees, how many run at once, what outlives what, and closing."""

import asyncio
import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from interlock.wire.jsonrpc import RpcError
from interlock.wire.limits import Limits
from interlock.wire.server import Call, Peer, PlainRefused, Server
from tests.wire.peers import ECHO, QUICK, Gate, error, message, raw_client, request, send, serving

NO_ROOM = error(b"No room for another connection")


async def test_the_handler_sees_method_params_headers_and_peer() -> None:
    seen: list[Call] = []

    async def handler(call: Call) -> None:
        seen.append(call)

    async with serving(handler) as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(ECHO, extra="interlockTerm:3\ninterlockTerm:9\n"))
        assert await peer.frame() == message(b'{"jsonrpc":"2.0","id":"1","result":null}')
    headers = {
        "destination": "jms.topic.vdsm_requests",
        "reply-to": "me",
        "interlockTerm": "3",
        "content-length": str(len(ECHO)),
    }
    assert seen == [Call("echo", {"a": 1}, headers, Peer((), "127.0.0.1"))]


@pytest.mark.parametrize(
    "fault", [KeyError("secret detail"), RecursionError("secret detail"), RpcError(1, "m", data=object())]
)
async def test_a_bug_in_the_handler_is_an_internal_error_and_is_logged(fault: Exception) -> None:
    async def handler(call: Call) -> None:
        raise fault

    with capture_logs() as logs:
        async with serving(handler) as (_, port), raw_client(port, subscribed="me") as peer:
            await peer.write(send(ECHO))
            assert await peer.frame() == message(
                b'{"jsonrpc":"2.0","id":"1","error":{"code":-32603,"message":"Internal error"}}'
            )
    assert [entry for entry in logs if entry["log_level"] == "error"] == [
        {
            "event": "call_failed",
            "method": "echo",
            "peer": "127.0.0.1",
            "log_level": "error",
            "exc_info": True,
        }
    ]


@pytest.mark.parametrize("value", [object(), float("nan"), {"big": "x" * 2_000_000}])
async def test_an_answer_that_cannot_be_sent_is_an_internal_error(value: object) -> None:
    async def handler(call: Call) -> object:
        return value

    async with serving(handler) as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(ECHO))
        assert b'{"jsonrpc":"2.0","id":"1","error":{"code":-32603,' in await peer.frame()


async def test_calls_of_one_connection_run_at_once_up_to_a_bound_and_wait_up_to_another() -> None:
    gate = Gate()
    limits = replace(QUICK, calls_running_max=2, calls_waiting_max=1)
    async with serving(gate, limits=limits) as (_, port), raw_client(port, subscribed="me") as peer:
        for number in range(4):
            await peer.write(send(request(f"m{number}", number)))
        busy = json.loads((await peer.frame()).partition(b"\n\n")[2][:-1])
        assert (busy["id"], busy["error"]["code"]) == (3, 1100)
        await gate.until(begun=2)
        assert (gate.begun, gate.ended) == (["m0", "m1"], [])
        gate.opened.set()
        answers = {(await peer.frame()).partition(b"\n\n")[2][:-1] for _ in range(3)}
        await peer.write(send(request("again")))
        assert await peer.frame() == message(b'{"jsonrpc":"2.0","id":1,"result":"again"}')
    assert answers == {b'{"jsonrpc":"2.0","id":%d,"result":"m%d"}' % (n, n) for n in range(3)}


async def test_calls_whose_bodies_are_too_much_together_are_refused_and_not_kept() -> None:
    gate = Gate()
    body = json.dumps({"jsonrpc": "2.0", "method": "m", "params": {"a": "x" * 600}, "id": 1}).encode()
    told = b'{"jsonrpc":"2.0","method":"m","params":{"a":"%s"}}' % (b"x" * 600)
    limits = replace(QUICK, body_bytes_max=1000, calls_bytes_max=1000)
    async with serving(gate, limits=limits) as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(body) + send(told) + send(body))
        refused = f"the bodies of unfinished calls have {len(body)} bytes; nothing was started, try again later"
        reply = {"jsonrpc": "2.0", "id": 1, "error": {"code": 1100, "message": refused}}
        assert await peer.frame() == message(json.dumps(reply, separators=(",", ":")).encode())
        gate.opened.set()
        assert await peer.frame() == message(b'{"jsonrpc":"2.0","id":1,"result":"m"}')
        await peer.write(send(body))
        assert await peer.frame() == message(b'{"jsonrpc":"2.0","id":1,"result":"m"}')
    assert gate.ended == ["m", "m"]


async def test_a_begun_call_outlives_its_connection_and_a_waiting_one_does_not_begin() -> None:
    gate = Gate()
    async with serving(gate, limits=replace(QUICK, calls_running_max=1)) as (_, port):
        async with raw_client(port, subscribed="me") as peer:
            await peer.write(send(request("begun")) + send(request("waiting")))
            await gate.until(begun=1)
            await peer.write(b"DISCONNECT\nreceipt:1\n\n\0")
            assert await peer.rest() == b"RECEIPT\nreceipt-id:1\n\n\0"
        gate.opened.set()
        await gate.until(ended=1)
    assert (gate.begun, gate.ended) == (["begun"], ["begun"])


async def test_an_event_that_no_frame_can_hold_is_the_publishers_fault() -> None:
    async with serving() as (server, _):
        with pytest.raises(ValueError, match=r"event e has \d+ bytes; 1048576 are allowed"):
            server.publish("e", {"a": "x" * 2_000_000})


async def test_what_is_passed_on_has_its_length_written_anew() -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(b"SEND\ndestination:me\ncontent-length:003\nx:y\n\nhey\0")
        assert await peer.frame() == b"MESSAGE\nsubscription:s1\ndestination:me\nx:y\ncontent-length:3\n\nhey\0"


async def test_no_more_connections_than_allowed_and_running_calls_count() -> None:
    gate = Gate()
    async with serving(gate, limits=replace(QUICK, connections_max=1)) as (_, port):
        async with raw_client(port, subscribed="me") as peer:
            await peer.write(send(request("m")))
            await gate.until(begun=1)
            async with raw_client(port, greeted=False) as refused:
                assert await refused.rest() == NO_ROOM
            await peer.write(b"DISCONNECT\n\n\0")
            assert await peer.rest() == b""
        async with raw_client(port, greeted=False) as refused:
            assert await refused.rest() == NO_ROOM
        gate.opened.set()
        await gate.until(ended=1)
        async with raw_client(port, subscribed="me"):
            pass


async def test_closing_lets_calls_answer_and_starts_none() -> None:
    gate = Gate()
    async with (
        serving(gate, limits=replace(QUICK, calls_running_max=1)) as (server, port),
        raw_client(port, subscribed="me") as peer,
    ):
        await peer.write(send(request("begun", 1)) + send(request("waiting", 2)))
        await gate.until(begun=1)
        closing = asyncio.create_task(server.close())
        await peer.write(send(request("late", 3)))
        gate.opened.set()
        rest = await peer.rest()
        await closing
    assert gate.begun == ["begun"]
    assert b'{"jsonrpc":"2.0","id":1,"result":"begun"}' in rest
    assert b'"id":2,"error":{"code":1100,"message":"The server is closing; nothing was started' in rest


async def test_closing_cancels_calls_that_do_not_end() -> None:
    gate = Gate()
    async with (
        serving(gate, limits=replace(QUICK, close_timeout_s=0.05)) as (server, port),
        raw_client(port, subscribed="me") as peer,
    ):
        await peer.write(send(request("m")))
        await gate.until(begun=1)
        await server.close()
        assert await peer.rest() == b""
    assert (gate.begun, gate.ended, gate.cancelled) == (["m"], [], ["m"])


@pytest.mark.parametrize("name", ["a..b", "a" * 64])
async def test_what_is_no_name_of_a_host_is_an_error_of_the_address(name: str) -> None:
    with pytest.raises(OSError, match="is no name of a host"):
        await Server(Gate(), tls=None).start(name, 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1"])
async def test_plain_tcp_is_refused_off_loopback(host: str) -> None:
    async def handler(call: Call) -> None:
        raise AssertionError(call)

    with pytest.raises(PlainRefused, match="plain TCP is for loopback only"):
        await Server(handler, tls=None, limits=Limits()).start(host, 0)
