"""Destinations, subscriptions and JSON-RPC, as our server has them."""

import json

import pytest

from interlock.wire.server import Call
from tests.wire.peers import ECHO, ECHOED, Gate, error, message, raw_client, request, send, serving

EVENTS = "jms.queue.events"
RESPONSES = "jms.topic.vdsm_responses"
#: A notification, its parameters, and its body.
EVENT, TOLD = "|virt|VM_status|v", {"notify_time": 830445, "status": "Up"}
EVENT_BODY = b'{"jsonrpc":"2.0","method":"|virt|VM_status|v","params":{"notify_time":830445,"status":"Up"}}'


@pytest.mark.parametrize("destination", ["jms.topic.vdsm_requests", "jms.topic.vdsm_irs_requests"])
@pytest.mark.parametrize("beneath", ["", ".sub", ".sub.sub", "."])
async def test_requests_are_taken_at_both_destinations_and_beneath_them(destination: str, beneath: str) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(ECHO, destination=destination + beneath))
        assert await peer.frame() == message(ECHOED)


@pytest.mark.parametrize(
    "destination", ["elsewhere", "jms.topic", "jms.topic.vdsm_requests2", "JMS.topic.vdsm_requests", "me.too", ""]
)
async def test_a_destination_that_nobody_has_is_refused_and_the_connection_stays(destination: str) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="you") as peer:
        await peer.write(send(ECHO, destination=destination, reply_to="you") + b"SEND\n\n{}\0")
        refused = b"ERROR\ncontent-length:26\n\nSubscription not available\0"
        assert [await peer.frame(), await peer.frame()] == [refused, refused]
        await peer.write(send(ECHO, reply_to="you"))
        assert await peer.frame() == message(ECHOED, destination="you")


async def test_the_answer_goes_to_reply_to_and_to_nobody_else() -> None:
    async with (
        serving() as (_, port),
        raw_client(port, subscribed="me") as peer,
        raw_client(port, subscribed=RESPONSES) as other,
    ):
        await peer.write(send(ECHO))
        assert await peer.frame() == message(ECHOED)
        await other.write(b"DISCONNECT\nreceipt:1\n\n\0")
        assert await other.rest() == b"RECEIPT\nreceipt-id:1\n\n\0"


async def test_without_reply_to_the_answer_goes_to_all_who_subscribed_to_the_topic_of_responses() -> None:
    async with (
        serving() as (_, port),
        raw_client(port, subscribed=RESPONSES) as peer,
        raw_client(port, subscribed=RESPONSES) as listener,
    ):
        await peer.write(send(ECHO, reply_to=None))
        expected = message(ECHOED, destination=RESPONSES)
        assert [await peer.frame(), await listener.frame()] == [expected, expected]


async def test_nothing_is_run_whose_answer_nobody_could_hear() -> None:
    gate = Gate()
    async with serving(gate) as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(request("m"), reply_to="nobody") + send(request("m"), reply_to=None))
        refused = error(b"Subscription not available")
        assert [await peer.frame(), await peer.frame()] == [refused, refused]
    assert gate.begun == []


async def test_answers_and_notifications_go_to_exactly_their_destination() -> None:
    async with (
        serving() as (server, port),
        raw_client(port, subscribed="me.sub") as asker,
        raw_client(port, subscribed="jms.queue") as above,
        raw_client(port, subscribed="jms.queue.events.sub") as beneath,
    ):
        await above.write(b"SUBSCRIBE\ndestination:me\nid:s2\n\n\0")
        server.publish(EVENT, TOLD)
        await asker.write(send(ECHO, reply_to="me.sub"))
        assert await asker.frame() == message(ECHOED, destination="me.sub")
        for peer in (above, beneath):
            await peer.write(b"DISCONNECT\nreceipt:1\n\n\0")
            assert await peer.rest() == b"RECEIPT\nreceipt-id:1\n\n\0"


@pytest.mark.parametrize("destination", ["jms.queue.events", "jms.queue.events.sub"])
async def test_what_a_client_sends_is_passed_on_to_subscribers_of_its_destination_and_of_parents(
    destination: str,
) -> None:
    async with (
        serving() as (_, port),
        raw_client(port, subscribed=EVENTS) as one,
        raw_client(port, subscribed="jms") as two,
        raw_client(port, subscribed="jms.queue.events2") as other,
        raw_client(port) as sender,
    ):
        sent = b"destination:%s\nx:a\\cb\ncontent-length:3\n\nhey\0" % destination.encode()
        await sender.write(b"SEND\nsubscription:forged\nreceipt:5\n" + sent)
        assert await sender.frame() == b"RECEIPT\nreceipt-id:5\n\n\0"
        expected = b"MESSAGE\nsubscription:s1\n" + sent
        assert [await one.frame(), await two.frame()] == [expected, expected]
        await other.write(b"DISCONNECT\nreceipt:1\n\n\0")
        assert await other.rest() == b"RECEIPT\nreceipt-id:1\n\n\0"


async def test_a_request_is_answered_and_passed_on_to_subscribers_of_its_destination() -> None:
    async with (
        serving() as (_, port),
        raw_client(port, subscribed="jms.topic.vdsm_requests") as listener,
        raw_client(port, subscribed="me") as asker,
    ):
        await asker.write(send(ECHO))
        assert await asker.frame() == message(ECHOED)
        assert await listener.frame() == b"MESSAGE\nsubscription:s1\n" + send(ECHO).removeprefix(b"SEND\n")


async def test_notifications_go_to_every_subscription_until_it_is_ended() -> None:
    told = message(EVENT_BODY, destination=EVENTS)
    async with (
        serving() as (server, port),
        raw_client(port, subscribed=EVENTS) as one,
        raw_client(port, subscribed=EVENTS) as two,
        raw_client(port, subscribed="me") as other,
    ):
        await two.write(b"SUBSCRIBE\ndestination:jms.queue.events\nack:client\nid:s2\nreceipt:1\n\n\0")
        assert await two.frame() == b"RECEIPT\nreceipt-id:1\n\n\0"
        server.publish(EVENT, TOLD)
        again = message(EVENT_BODY, destination=EVENTS, subscription="s2")
        assert [await one.frame(), await two.frame(), await two.frame()] == [told, told, again]
        await two.write(b"UNSUBSCRIBE\nid:s1\nreceipt:2\n\n\0")
        assert await two.frame() == b"RECEIPT\nreceipt-id:2\n\n\0"
        server.publish(EVENT, TOLD)
        assert [await one.frame(), await two.frame()] == [told, again]
        await two.write(b"SUBSCRIBE\ndestination:me\nid:s1\n\n\0DISCONNECT\nreceipt:3\n\n\0")
        assert await two.rest() == b"RECEIPT\nreceipt-id:3\n\n\0"
        await other.write(b"DISCONNECT\nreceipt:3\n\n\0")
        assert await other.rest() == b"RECEIPT\nreceipt-id:3\n\n\0"


async def test_a_notification_tells_when_it_was_made() -> None:
    async with serving() as (server, port), raw_client(port, subscribed=EVENTS) as peer:
        server.publish("e", {})
        event = json.loads((await peer.frame()).partition(b"\n\n")[2][:-1])
        assert isinstance(event["params"].pop("notify_time"), int)
        assert event == {"jsonrpc": "2.0", "method": "e", "params": {}}


def refused(code: int, text: str, request_id: str = "null") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{request_id},"error":{{"code":{code},"message":"{text}"}}}}'.encode()


NO_OBJECT = refused(-32600, "Invalid request: a request is an object")


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (ECHO, ECHOED),
        (b" [ " + ECHO + b" ] ", ECHOED),
        (b"[" + ECHO + b"," + ECHO + b"]", b"[" + ECHOED + b"," + ECHOED + b"]"),
        (b"[" + ECHO + b",3]", b"[" + ECHOED + b"," + NO_OBJECT + b"]"),
        (b"[3]", NO_OBJECT),
        (b'{"jsonrpc":"2.0","method":"echo","params":[],"id":7}', b'{"jsonrpc":"2.0","id":7,"result":{}}'),
        (b'{"jsonrpc":"2.0","method":"echo","id":null}', b'{"jsonrpc":"2.0","id":null,"result":{}}'),
    ],
)
async def test_requests_are_answered_to_the_letter(body: bytes, reply: bytes) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(body))
        assert await peer.frame() == message(reply)


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (b"}", refused(-32700, "Parse error: the body is not JSON in UTF-8")),
        (b"", refused(-32700, "Parse error: the body is not JSON in UTF-8")),
        (b'"\xff"', refused(-32700, "Parse error: the body is not JSON in UTF-8")),
        (b'{"id":NaN}', refused(-32700, "Parse error: the body is not JSON in UTF-8")),
        (b"[]", refused(-32600, "Invalid request: the array is empty")),
        (b"[" + b"3," * 64 + b"3]", refused(-32600, "Invalid request: 65 requests in one array; 64 allowed")),
        (b"[" * 65 + b"]" * 65, refused(-32600, "Invalid request: nested deeper than 64 levels")),
        (b'{"method":"echo","id":"1"}', refused(-32600, r"Invalid request: jsonrpc must be \"2.0\"", '"1"')),
        (b'{"jsonrpc":"2.0","id":"1"}', refused(-32600, "Invalid request: method must be a string", '"1"')),
        (
            b'{"jsonrpc":"2.0","method":"echo","params":"x","id":"1"}',
            refused(-32600, "Invalid request: params must be an object", '"1"'),
        ),
        (
            b'{"jsonrpc":"2.0","method":"echo","params":[1],"id":"1"}',
            refused(-32602, "Invalid params: give them by name, in an object", '"1"'),
        ),
        (request("No.such"), refused(-32601, "The method 'No.such' does not exist or is not available", "1")),
    ],
)
async def test_what_cannot_be_run_is_answered_with_its_code_and_the_connection_stays(body: bytes, reply: bytes) -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(body))
        assert await peer.frame() == message(reply)
        await peer.write(send(ECHO))
        assert await peer.frame() == message(ECHOED)


async def test_a_notification_is_run_and_not_answered() -> None:
    gate = Gate()
    gate.opened.set()
    async with serving(gate) as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(b'[{"jsonrpc":"2.0","method":"silent"}]', reply_to="nobody"))
        await peer.write(send(b'[{"jsonrpc":"2.0","method":"quiet"},{"jsonrpc":"2.0","method":"loud","id":1}]'))
        assert await peer.frame() == message(b'[{"jsonrpc":"2.0","id":1,"result":"loud"}]')
    assert gate.begun == ["silent", "quiet", "loud"]


async def test_answers_go_out_as_they_come() -> None:
    gate = Gate()

    async def handler(call: Call) -> object:
        return await gate(call) if call.method == "slow" else call.method

    async with serving(handler) as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(request("slow", 1)) + send(request("quick", 2)))
        assert await peer.frame() == message(b'{"jsonrpc":"2.0","id":2,"result":"quick"}')
        gate.opened.set()
        assert await peer.frame() == message(b'{"jsonrpc":"2.0","id":1,"result":"slow"}')
