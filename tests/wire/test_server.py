"""The server, asked by raw bytes: every rule of the protocol, every bound, and garbage."""

import asyncio
import json
from dataclasses import replace
from typing import Any  # JSON values

import pytest
from structlog.testing import capture_logs

from interlock.wire.jsonrpc import RpcError
from interlock.wire.limits import Limits
from interlock.wire.server import Call, Peer, PlainRefused, Server
from tests.wire.peers import CONNECT, CONNECTED, QUICK, WAIT_S, message, raw_client, send, serving

ECHO = b'{"jsonrpc":"2.0","method":"echo","params":{"a":1},"id":"1"}'
ECHOED = b'{"jsonrpc":"2.0","id":"1","result":{"a":1}}'

NO_ROOM = b"ERROR\ncontent-length:30\n\nNo room for another connection\0"


def request(method: str, request_id: int = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "id": request_id}).encode()


class Gate:
    """A handler whose calls wait until they are let through; knows which began and how many at once."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.changed = asyncio.Condition()

    async def __call__(self, call: Call) -> Any:
        async with self.changed:
            self.begun.append(call.method)
            self.changed.notify_all()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call.method)
            raise
        async with self.changed:
            self.ended.append(call.method)
            self.changed.notify_all()
        return call.method

    async def until(self, *, begun: int = 0, ended: int = 0) -> None:
        async with asyncio.timeout(WAIT_S), self.changed:
            await self.changed.wait_for(lambda: len(self.begun) >= begun and len(self.ended) >= ended)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("heart-beat:2400,4000\n", "4000,2400"),
        ("heart-beat:0,24000\n", "24000,0"),
        ("heart-beat:1,999\n", "1000,1000"),
        ("", "0,0"),
    ],
)
async def test_connect_is_answered_with_the_pair_swapped_and_raised(asked: str, answered: str) -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(f"CONNECT\naccept-version:1.2\n{asked}\n\0".encode())
        assert await peer.frame() == f"CONNECTED\nversion:1.2\nheart-beat:{answered}\n\n\0".encode()


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (b"CONNECT\naccept-version:1.0,1.1\n\n\0", b"Version unsupported"),
        (b"CONNECT\n\n\0", b"Version unsupported"),
        (
            b"CONNECT\naccept-version:1.2\nheart-beat:-1,x\n\n\0",
            b"Header heart-beat must be two numbers of milliseconds",
        ),
        (send(ECHO), b"CONNECT must come first"),
    ],
)
async def test_a_bad_greeting_gets_an_error_and_the_end(frame: bytes, text: bytes) -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(frame)
        assert await peer.rest() == b"ERROR\ncontent-length:%d\n\n%s\0" % (len(text), text)


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\n", b"\x16\x03\x01\x00", b"CONNECTX", b"connect\n"])
async def test_first_bytes_that_are_no_command_are_cut(first: bytes) -> None:
    async with serving() as (_, port), raw_client(port) as other, raw_client(port, greeted=False) as peer:
        await peer.write(first)
        assert await peer.rest() == b""
        await other.write(b"DISCONNECT\nreceipt:77\n\n\0")
        assert await other.rest() == b"RECEIPT\nreceipt-id:77\n\n\0"


async def test_the_greeting_may_be_called_stomp() -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(CONNECT.replace(b"CONNECT", b"STOMP"))
        assert await peer.frame() == CONNECTED


async def test_what_came_before_garbage_counts() -> None:
    async with serving() as (_, port), raw_client(port) as peer:
        await peer.write(b"SUBSCRIBE\ndestination:me\nid:s1\nreceipt:5\n\n\0rubbish")
        text = b"a frame begins with b'rubbish', which is no STOMP command"
        assert await peer.rest() == (b"RECEIPT\nreceipt-id:5\n\n\0ERROR\ncontent-length:%d\n\n%s\0" % (len(text), text))


async def test_a_client_that_says_nothing_is_cut() -> None:
    limits = replace(QUICK, handshake_timeout_s=0.05)
    async with serving(limits=limits) as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"CONN")
        assert await peer.rest() == b""


@pytest.mark.parametrize(
    "garbage",
    [
        b"rubbish\n\n\0",
        b"SEND\nno colon\n\n\0",
        b"SEND\ncontent-length:99999999\n\n",
        b"\xff\xfe",
        b"SEND\na:\\x\n",
    ],
)
async def test_later_garbage_gets_an_error_and_the_end_and_others_go_on(garbage: bytes) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as other, raw_client(port) as peer:
        await peer.write(garbage)
        assert (await peer.rest()).startswith(b"ERROR\ncontent-length:")
        await other.write(send(ECHO))
        assert await other.frame() == message(ECHOED)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (b"SUBSCRIBE\nid:x\n\n\0", b"Missing destination or subscription id header"),
        (b"SUBSCRIBE\ndestination:x\n\n\0", b"Missing destination or subscription id header"),
        (b"SUBSCRIBE\ndestination:x\nid:s1\n\n\0", b"Subscription id already exists"),
        (b"SUBSCRIBE\ndestination:x\nack:client\nid:s2\n\n\0", b"Only ack:auto is offered"),
        (b"UNSUBSCRIBE\n\n\0", b"Missing id header"),
        (b"UNSUBSCRIBE\nid:nope\n\n\0", b"Subscription id not found"),
        (b"SEND\ndestination:elsewhere\n\n{}\0", b"Subscription not available"),
        (b"SEND\n\n{}\0", b"Subscription not available"),
        (send(ECHO, reply_to="not-mine"), b"Subscription not available"),
        (b"BEGIN\ntransaction:t\n\n\0", b"Command BEGIN is not offered"),
        (b"MESSAGE\n\n\0", b"Command MESSAGE is not offered"),
    ],
)
async def test_a_refused_frame_gets_an_error_and_the_connection_stays(frame: bytes, text: bytes) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(frame)
        assert await peer.frame() == b"ERROR\ncontent-length:%d\n\n%s\0" % (len(text), text)
        await peer.write(send(ECHO))
        assert await peer.frame() == message(ECHOED)


async def test_an_error_names_the_receipt_that_was_asked_for() -> None:
    async with serving() as (_, port), raw_client(port) as peer:
        await peer.write(b"UNSUBSCRIBE\nid:nope\nreceipt:9\n\n\0")
        assert await peer.frame() == b"ERROR\nreceipt-id:9\ncontent-length:25\n\nSubscription id not found\0"


async def test_connecting_twice_ends_the_connection() -> None:
    async with serving() as (_, port), raw_client(port) as peer:
        await peer.write(CONNECT)
        assert await peer.rest() == b"ERROR\ncontent-length:17\n\nAlready connected\0"


async def test_no_more_subscriptions_than_allowed() -> None:
    async with (
        serving(limits=replace(QUICK, subscriptions_max=1)) as (_, port),
        raw_client(port, subscribed="me") as peer,
    ):
        await peer.write(b"SUBSCRIBE\ndestination:x\nid:s2\n\n\0")
        assert b"No more than 1 subscriptions are allowed" in await peer.frame()


def error(code: int, text: str, request_id: str = "null") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{request_id},"error":{{"code":{code},"message":"{text}"}}}}'.encode()


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (ECHO, ECHOED),
        (b"[" + ECHO + b"]", ECHOED),
        (b"[" + ECHO + b"," + ECHO + b"]", b"[" + ECHOED + b"," + ECHOED + b"]"),
        (
            b"[" + ECHO + b",3]",
            b"[" + ECHOED + b"," + error(-32600, "Invalid request: a request is an object") + b"]",
        ),
        (b"}", error(-32700, "Parse error: the body is not JSON in UTF-8")),
        (b"[]", error(-32600, "Invalid request: the array is empty")),
        (request("No.such"), error(-32601, "The method 'No.such' does not exist or is not available", "1")),
    ],
)
async def test_requests_are_answered_to_the_letter(body: bytes, reply: bytes) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(body))
        assert await peer.frame() == message(reply)


async def test_without_reply_to_the_answer_goes_to_the_topic_of_responses() -> None:
    async with serving() as (_, port), raw_client(port, subscribed="jms.topic.vdsm_responses") as peer:
        await peer.write(b"SEND\ndestination:jms.topic.vdsm_irs_requests\n\n" + ECHO + b"\0")
        assert await peer.frame() == message(ECHOED, destination="jms.topic.vdsm_responses")


async def test_a_notification_is_run_and_not_answered() -> None:
    gate = Gate()
    gate.opened.set()
    async with serving(gate) as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(b'[{"jsonrpc":"2.0","method":"silent"}]', reply_to="nobody"))
        await peer.write(send(b'[{"jsonrpc":"2.0","method":"quiet"},{"jsonrpc":"2.0","method":"loud","id":1}]'))
        assert await peer.frame() == message(b'[{"jsonrpc":"2.0","id":1,"result":"loud"}]')
    assert gate.begun == ["silent", "quiet", "loud"]


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


async def test_events_go_to_every_subscriber_and_to_nobody_else() -> None:
    body = b'{"jsonrpc":"2.0","method":"|jobs|status|j","params":{"notify_time":5,"a":1}}'
    events = "jms.queue.events"
    async with (
        serving() as (server, port),
        raw_client(port, subscribed=events) as one,
        raw_client(port, subscribed=events) as two,
        raw_client(port, subscribed="me") as other,
    ):
        server.publish("|jobs|status|j", {"notify_time": 5, "a": 1})
        assert await one.frame() == message(body, destination=events)
        assert await two.frame() == message(body, destination=events)
        await two.write(b"UNSUBSCRIBE\nid:s1\nreceipt:2\n\n\0")
        assert await two.frame() == b"RECEIPT\nreceipt-id:2\n\n\0"
        server.publish("|jobs|status|j", {"notify_time": 5, "a": 1})
        assert await one.frame() == message(body, destination=events)
        for peer in (two, other):
            await peer.write(b"DISCONNECT\nreceipt:3\n\n\0")
            assert await peer.rest() == b"RECEIPT\nreceipt-id:3\n\n\0"
        server.publish("e", {})
        event = json.loads((await one.frame()).partition(b"\n\n")[2][:-1])
        assert isinstance(event["params"].pop("notify_time"), int)
        assert event == {"jsonrpc": "2.0", "method": "e", "params": {}}


async def test_an_event_that_no_frame_can_hold_is_the_publishers_fault() -> None:
    async with serving() as (server, _):
        with pytest.raises(ValueError, match=r"event e has \d+ bytes; 1048576 are allowed"):
            server.publish("e", {"a": "x" * 2_000_000})


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


async def test_the_server_beats_and_cuts_a_client_that_does_not() -> None:
    limits = replace(QUICK, heartbeat_ms_min=40)
    async with serving(limits=limits) as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"CONNECT\naccept-version:1.2\nheart-beat:1,1\n\n\0")
        assert await peer.frame() == b"CONNECTED\nversion:1.2\nheart-beat:40,40\n\n\0"
        beats = await peer.rest()
    assert set(beats) == {0x0A}


async def test_a_client_that_beats_is_kept() -> None:
    limits = replace(QUICK, heartbeat_ms_min=40, heartbeat_grace_factor=6.0)
    async with serving(limits=limits) as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"CONNECT\naccept-version:1.2\nheart-beat:1,1\n\n\0")
        assert (await peer.frame()).startswith(b"CONNECTED\n")
        for _ in range(6):  # six beats of the server's, 75 ms apart: longer than the 200 ms that silence may last
            assert await peer.reader.readexactly(1) == b"\n"
            await peer.write(b"\n")
        await peer.write(b"DISCONNECT\nreceipt:1\n\n\0")
        assert await peer.frame() == b"RECEIPT\nreceipt-id:1\n\n\0"


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


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1"])
async def test_plain_tcp_is_refused_off_loopback(host: str) -> None:
    async def handler(call: Call) -> None:
        raise AssertionError(call)

    with pytest.raises(PlainRefused, match="plain TCP is for loopback only"):
        await Server(handler, tls=None, limits=Limits()).start(host, 0)
