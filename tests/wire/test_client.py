"""The client, against scripted bytes of a stock host and against our own server."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any  # JSON values

import pytest

from interlock.wire.client import Client, ConnectFailed, ConnectReason, NotSent, Unanswered
from interlock.wire.jsonrpc import RpcError
from interlock.wire.limits import Limits
from interlock.wire.server import Call
from tests.wire.peers import CONNECTED, QUICK, WAIT_S, RawPeer, message, raw_server, serving

UUID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@contextlib.asynccontextmanager
async def connected(port: int, limits: Limits = QUICK, **options: Any) -> AsyncIterator[Client]:
    client = await Client.connect("127.0.0.1", port, tls=None, server_name=None, limits=limits, **options)
    try:
        yield client
    finally:
        await client.close()


async def greet(peer: RawPeer, *, events: bool = False) -> tuple[str, str]:
    """Play a host's part up to the subscriptions; the reply destination and its subscription's id."""
    assert (await peer.frame()).startswith(b"CONNECT\naccept-version:1.2\nheart-beat:")
    await peer.write(CONNECTED)
    match = re.fullmatch(rb"SUBSCRIBE\ndestination:(%s)\nack:auto\nid:(%s)\n\n\0" % (UUID, UUID), await peer.frame())
    assert match is not None
    if events:
        pattern = rb"SUBSCRIBE\ndestination:jms.queue.events\nack:auto\nid:%s\n\n\0" % UUID
        assert re.fullmatch(pattern, await peer.frame())
    return match[1].decode(), match[2].decode()


async def asked(peer: RawPeer) -> str:
    """Read one request; its id."""
    body = (await peer.frame()).partition(b"\n\n")[2][:-1]
    (request,) = json.loads(body)
    return str(request["id"])


async def farewell(peer: RawPeer) -> None:
    """Answer the client's DISCONNECT."""
    match = re.fullmatch(rb"DISCONNECT\nreceipt:(%s)\n\n\0" % UUID, await peer.frame())
    assert match is not None
    await peer.write(b"RECEIPT\nreceipt-id:%s\n\n\0" % match[1])


async def test_a_request_is_sent_and_a_bare_answer_taken_to_the_letter() -> None:
    async def host(peer: RawPeer) -> None:
        assert await peer.frame() == b"CONNECT\naccept-version:1.2\nheart-beat:8000,8000\n\n\0"
        await peer.write(CONNECTED)
        subscribe = await peer.frame()
        destination = subscribe.split(b"\n")[1].partition(b":")[2]
        assert re.fullmatch(rb"SUBSCRIBE\ndestination:%s\nack:auto\nid:%s\n\n\0" % (UUID, UUID), subscribe)
        match = re.fullmatch(
            rb"SEND\ndestination:jms.topic.vdsm_requests\ncontent-type:application/json\nreply-to:%s\n"
            rb"ovirtCorrelationId:corr-42\ncontent-length:97\n\n"
            rb'\[{"jsonrpc":"2.0","method":"Host.ping2","params":{},"id":"(%s)"}\]\0' % (destination, UUID),
            await peer.frame(),
        )
        assert match is not None
        await peer.write(message(b'{"jsonrpc": "2.0", "id": "%s", "result": true}' % match[1]))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        assert await client.call("Host.ping2", {}, headers={"ovirtCorrelationId": "corr-42"}) is True
        was_open = client.is_open
    assert (was_open, client.is_open) == (True, False)
    assert client.closed_because == "this side closed the connection"


@pytest.mark.parametrize("form", [b"%s", b"[%s]", b'[{"jsonrpc":"2.0","id":"other","result":1},%s]'])
async def test_an_answer_may_be_bare_or_in_an_array(form: bytes) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        body = form % (b'{"jsonrpc":"2.0","id":"%s","result":[1,null]}' % (await asked(peer)).encode())
        await peer.write(message(body))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        assert await client.call("m", {"a": 1}) == [1, None]


async def test_an_error_answer_is_raised_whole() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        answer = {"id": await asked(peer), "error": {"code": 410, "message": "not done", "data": {"x": 1}}}
        await peer.write(message(json.dumps(answer).encode()))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(RpcError) as caught:
            await client.call("Task.clear", {"taskID": "t"})
    assert caught.value == RpcError(410, "not done", {"x": 1})


async def test_answers_may_come_in_any_order_twice_or_unasked() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        ids = [await asked(peer), await asked(peer)]
        for request_id in ("stranger", ids[1], ids[1], ids[0]):
            await peer.write(message(json.dumps({"id": request_id, "result": request_id}).encode()))
        await peer.write(message(b'{"id":null,"error":{"code":-32700,"message":"whose?"}}') + b"\n")
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        one, two = await asyncio.gather(client.call("one", {}), client.call("two", {}))
    assert one != two


async def test_events_are_handed_over_and_a_failing_listener_harms_nothing() -> None:
    events: list[tuple[str, Mapping[str, Any]]] = []

    def listen(method: str, params: Mapping[str, Any]) -> None:
        events.append((method, params))
        raise KeyError(method)

    async def host(peer: RawPeer) -> None:
        await greet(peer, events=True)
        for number in (1, 2):
            body = b'{"jsonrpc":"2.0","method":"|virt|VM_status|v","params":{"n":%d}}' % number
            await peer.write(message(body, destination="jms.queue.events"))
            await peer.write(message(body, destination="elsewhere"))
        await peer.write(message(b'{"id":"%s","result":1}' % (await asked(peer)).encode()))
        await farewell(peer)

    async with raw_server(host) as port, connected(port, on_event=listen) as client:
        assert await client.call("m", {}) == 1
    assert events == [("|virt|VM_status|v", {"n": 1}), ("|virt|VM_status|v", {"n": 2})]


@pytest.mark.parametrize(
    ("last_words", "why"),
    [
        (b"", "the peer closed the connection"),
        (b"ERROR\n\nno room\0", r"the peer closed the connection \(the host sent an error: 'no room'\)"),
        (
            b"rubbish",
            "the peer broke the protocol: a frame begins with b'rubbish', which is no STOMP command",
        ),
        (
            b"MESSAGE\ncontent-length:99999999\n\n",
            "the peer broke the protocol: MESSAGE has a body of 99999999",
        ),
        (message(b"}"), "the peer sent a body that cannot be read: Parse error"),
    ],
)
async def test_a_call_whose_host_dies_is_unanswered_and_the_next_is_not_sent(last_words: bytes, why: str) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        await asked(peer)
        await peer.write(last_words)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(Unanswered, match=f"m to 127.0.0.1 has no answer: {why}"):
            await client.call("m", {})
        await client.wait_closed()
        assert not client.is_open
        with pytest.raises(NotSent, match=r"next was not sent to 127.0.0.1: .*; connect again"):
            await client.call("next", {})


async def test_a_call_without_an_answer_in_time_is_unanswered_and_the_connection_stays() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        late = await asked(peer)
        request_id = await asked(peer)
        await peer.write(message(b'{"id":"%s","result":"late"}' % late.encode()))
        await peer.write(message(b'{"id":"%s","result":"in time"}' % request_id.encode()))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(Unanswered, match=r"no answer within 0\.05 s"):
            await client.call("m", {}, timeout_s=0.05)
        assert await client.call("m", {}) == "in time"


@pytest.mark.parametrize("answer", [b'{"id":"%s"}', b'{"id":"%s","error":7}'])
async def test_an_answer_that_says_nothing_is_unanswered(answer: bytes) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        await peer.write(message(answer % (await asked(peer)).encode()))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(Unanswered, match="neither a result nor an error"):
            await client.call("m", {})


async def test_closing_ends_open_calls_as_unanswered() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def handler(call: Call) -> None:
        begun.set()
        await gate.wait()

    async with serving(handler) as (_, port):
        client = await Client.connect("127.0.0.1", port, tls=None, server_name=None)
        call = asyncio.create_task(client.call("m", {}))
        await begun.wait()
        await client.close()
        with pytest.raises(Unanswered, match="this side closed the connection"):
            await call
        with pytest.raises(NotSent):
            await client.call("m", {})
        await client.close()
        gate.set()


async def test_what_cannot_be_sent_is_not_sent() -> None:
    async with serving() as (_, port), connected(port, replace(QUICK, calls_pending_max=1)) as client:
        with pytest.raises(NotSent, match=r"it has \d+ bytes, 1048576 are allowed"):
            await client.call("echo", {"a": "x" * 2_000_000})
        with pytest.raises(TypeError):
            await client.call("echo", {"a": object()})
        with pytest.raises(ValueError, match="header reply-to of echo is set by the client itself"):
            await client.call("echo", {}, headers={"reply-to": "x"})
        with pytest.raises(ValueError, match="NUL cannot be sent"):
            await client.call("echo", {}, headers={"x": "\0"})
        outcomes = await asyncio.gather(client.call("echo", {}), client.call("echo", {}), return_exceptions=True)
        assert outcomes[0] == {}
        assert isinstance(outcomes[1], NotSent)
        assert await client.call("echo", {"a": "ä\n\0"}) == {"a": "ä\n\0"}


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


async def test_cancelling_a_call_leaves_the_connection_usable() -> None:
    begun = asyncio.Event()

    async def handler(call: Call) -> Any:
        begun.set()
        if call.method == "stuck":
            await asyncio.Event().wait()
        return call.method

    async with (
        serving(handler, limits=replace(QUICK, close_timeout_s=0.05)) as (_, port),
        connected(port) as client,
    ):
        call = asyncio.create_task(client.call("stuck", {}))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await client.call("free", {}) == "free"


async def test_calls_of_one_client_run_concurrently() -> None:
    everybody = asyncio.Barrier(5)

    async def handler(call: Call) -> Any:
        async with asyncio.timeout(WAIT_S):
            await everybody.wait()
        return call.params["n"]

    async with serving(handler) as (_, port), connected(port) as client:
        assert await asyncio.gather(*(client.call("m", {"n": n}) for n in range(5))) == [0, 1, 2, 3, 4]


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


async def test_our_two_sides_keep_each_other() -> None:
    limits = replace(QUICK, heartbeat_send_ms=20, heartbeat_receive_ms=20, heartbeat_ms_min=20)
    limits = replace(limits, heartbeat_grace_factor=10.0)
    hold = asyncio.Event()

    async def handler(call: Call) -> None:
        await hold.wait()

    async with serving(handler, limits=limits) as (_, port), connected(port, limits) as client:
        with pytest.raises(Unanswered, match="within"):  # longer than silence may last
            await client.call("m", {}, timeout_s=0.35)
        assert client.is_open
        hold.set()


@pytest.mark.parametrize(
    ("greeting", "detail"),
    [
        (b"ERROR\ncontent-length:19\n\nVersion unsupported\0", "Version unsupported"),
        (b"CONNECTED\nversion:1.1\n\n\0", "CONNECTED answered"),
        (b"CONNECTED\nheart-beat:x\n\n\0", "CONNECTED answered"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the peer broke the protocol: a frame begins with b'HTTP/1.1 400 ",
        ),
        (b"", "the peer closed the connection, before it greeted"),
    ],
)
async def test_who_does_not_greet_is_not_connected_to(greeting: bytes, detail: str) -> None:
    async def host(peer: RawPeer) -> None:
        await peer.frame()
        await peer.write(greeting)

    async with raw_server(host) as port:
        with pytest.raises(ConnectFailed) as caught:
            await Client.connect("127.0.0.1", port, tls=None, server_name=None)
    assert caught.value.reason is ConnectReason.NOT_STOMP
    assert caught.value.detail.startswith(detail)


async def test_a_host_that_says_nothing_times_out() -> None:
    async def host(peer: RawPeer) -> None:
        await peer.frame()
        assert await peer.rest() == b""

    async with raw_server(host) as port:
        with pytest.raises(ConnectFailed, match=r"timed out \(no answer in time\)"):
            await Client.connect("127.0.0.1", port, tls=None, server_name=None, connect_timeout_s=0.05)


async def test_nobody_listening_is_refused() -> None:
    async with serving() as (_, port):
        pass
    with pytest.raises(ConnectFailed) as caught:
        await Client.connect("localhost", port, tls=None, server_name=None)
    assert caught.value.reason is ConnectReason.REFUSED


async def test_plain_tcp_is_refused_off_loopback() -> None:
    with pytest.raises(ConnectFailed) as caught:
        await Client.connect("192.0.2.1", 54321, tls=None, server_name=None)
    assert caught.value.reason is ConnectReason.PLAIN_REFUSED
