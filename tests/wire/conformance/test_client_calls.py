"""Calls and notifications of our client, at a stock host that is played by bytes."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any  # JSON values

import pytest
from structlog.testing import capture_logs

from interlock.wire.client import Unanswered
from interlock.wire.jsonrpc import RpcError
from tests.wire.peers import UUID, RawPeer, asked, connected, farewell, greet, message, raw_server

EVENT = b'{"jsonrpc":"2.0","method":"|virt|VM_status|v","params":{"n":%d}}'


async def test_a_request_is_sent_and_a_bare_answer_taken_to_the_letter() -> None:
    async def host(peer: RawPeer) -> None:
        reply_to, subscription = await greet(peer)
        match = re.fullmatch(
            rb"SEND\ndestination:jms.topic.vdsm_requests\ncontent-type:application/json\nreply-to:%s\n"
            rb"ovirtCorrelationId:corr-42\ncontent-length:97\n\n"
            rb'\[{"jsonrpc":"2.0","method":"Host.ping2","params":{},"id":"(%s)"}\]\0' % (reply_to.encode(), UUID),
            await peer.frame(),
        )
        assert match is not None
        body = b'{"jsonrpc": "2.0", "id": "%s", "result": true}' % match[1]
        await peer.write(message(body, destination=reply_to, subscription=subscription))
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
        await peer.write(message(form % (b'{"jsonrpc":"2.0","id":"%s","result":[1,null]}' % await asked(peer))))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        assert await client.call("m", {"a": 1}) == [1, None]


@pytest.mark.parametrize(
    "said",
    [
        {"code": -32601, "message": "The method does not exist / is not available."},
        {"code": -32600, "message": "The JSON sent is not a valid Request object."},
        {"code": 410, "message": "not done", "data": {"x": 1}},
    ],
)
async def test_an_error_answer_is_raised_whole(said: dict[str, Any]) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        answer = {"jsonrpc": "2.0", "id": (await asked(peer)).decode(), "error": said}
        await peer.write(message(json.dumps(answer).encode()))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(RpcError) as caught:
            await client.call("Task.clear", {"taskID": "t"})
    assert caught.value == RpcError(said["code"], said["message"], said.get("data"))


@pytest.mark.parametrize(
    "other",
    [
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Invalid JSON was received by the server."}}',
        b'{"jsonrpc":"2.0","id":"stranger","result":1}',
        b'{"jsonrpc":"2.0","id":["list"],"result":1}',
        b'{"jsonrpc":"2.0","result":1}',
        b'[{"jsonrpc":"2.0","method":"Host.ping2","params":{},"id":"7"},3,null]',
    ],
)
async def test_an_answer_to_nobody_harms_nothing(other: bytes) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        request_id = await asked(peer)
        await peer.write(message(other) + message(b'{"id":"%s","result":1}' % request_id))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        assert await client.call("m", {}) == 1


@pytest.mark.parametrize("answer", [b'{"id":"%s"}', b'{"id":"%s","error":7}'])
async def test_an_answer_that_says_nothing_is_unanswered(answer: bytes) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        await peer.write(message(answer % await asked(peer)))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(Unanswered, match="neither a result nor an error"):
            await client.call("m", {})


async def test_answers_may_come_in_any_order_twice_and_wherever_they_were_sent() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        ids = [await asked(peer), await asked(peer)]
        for request_id in (ids[1], ids[1], ids[0]):
            body = b'{"id":"%s","result":"%s"}' % (request_id, request_id)
            await peer.write(message(body, destination="jms.topic.vdsm_responses"))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        one, two = await asyncio.gather(client.call("one", {}), client.call("two", {}))
    assert one != two


async def test_a_call_without_an_answer_in_time_is_unanswered_and_the_connection_stays() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        late = await asked(peer)
        request_id = await asked(peer)
        await peer.write(message(b'{"id":"%s","result":"late"}' % late))
        await peer.write(message(b'{"id":"%s","result":"in time"}' % request_id))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        with pytest.raises(Unanswered, match=r"no answer within 0\.05 s"):
            await client.call("m", {}, timeout_s=0.05)
        assert await client.call("m", {}) == "in time"


async def test_notifications_are_handed_over_wherever_beneath_their_destination_and_never_answered() -> None:
    events: list[tuple[str, Mapping[str, Any]]] = []

    def listen(method: str, params: Mapping[str, Any]) -> None:
        events.append((method, params))
        raise KeyError(method)  # a failing listener harms nothing

    async def host(peer: RawPeer) -> None:
        await greet(peer, events=True)
        await peer.write(message(EVENT % 1, destination="jms.queue.events"))
        await peer.write(message(b"[%s,%s]" % (EVENT % 2, EVENT % 3), destination="jms.queue.events"))
        # what another client sent, passed on
        await peer.write(b"MESSAGE\nsubscription:s\ndestination:jms.queue.events.sub\n\n%s\0" % (EVENT % 4))
        await peer.write(
            message(EVENT % 5, destination="jms.queue") + message(EVENT % 6, destination="jms.queue.event")
        )
        await peer.write(message(b'{"id":"%s","result":1}' % await asked(peer)))
        await farewell(peer)

    with capture_logs() as logs:
        async with raw_server(host) as port, connected(port, on_event=listen) as client:
            assert await client.call("m", {}) == 1
    assert events == [("|virt|VM_status|v", {"n": number}) for number in (1, 2, 3, 4)]
    assert [entry["event"] for entry in logs] == ["event_failed"] * 4


async def test_without_a_listener_there_is_no_subscription_to_notifications_and_none_is_missed() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        await peer.write(message(EVENT % 1, destination="jms.queue.events"))
        await peer.write(message(b'{"id":"%s","result":1}' % await asked(peer)))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        assert await client.call("m", {}) == 1
