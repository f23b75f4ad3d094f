"""Frames, as our client takes and gives them; a stock host is played by bytes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any  # JSON values

import pytest

from interlock.wire.client import NotSent, Unanswered
from tests.wire.peers import QUICK, RawPeer, asked, connected, farewell, greet, message, raw_server

EVENT = b'{"jsonrpc":"2.0","method":"|virt|VM_status|v","params":{"n":1}}'


async def answer(peer: RawPeer, form: bytes) -> None:
    """Play a host that answers its one request with bytes in which %s is the answer's body."""
    await greet(peer, events=True)
    body = b'{"jsonrpc":"2.0","id":"%s","result":[1,null]}' % await asked(peer)
    await peer.write(form.replace(b"LENGTH", b"%d" % len(body)).replace(b"BODY", body))
    await farewell(peer)


@pytest.mark.parametrize(
    "form",
    [
        b"MESSAGE\nsubscription:s\ndestination:d\ncontent-length:LENGTH\n\nBODY\0",
        b"MESSAGE\nsubscription:s\ndestination:d\n\nBODY\0",
        b"\n\r\n\nMESSAGE\nsubscription:s\ndestination:d\n\nBODY\0\n\r\n",
        b"MESSAGE\r\nsubscription:s\r\ndestination:d\r\ncontent-length:LENGTH\r\n\r\nBODY\0",
        b"MESSAGE\nx:\\c\\n\\r\\\\\nhost\\cport:a:b\ncontent-length:LENGTH\n\nBODY\0",
        b"MESSAGE\ncontent-length:LENGTH\ncontent-length:1\n\nBODY\0",
        b"ERROR\ncontent-length:3\n\na\0b\0MESSAGE\n\nBODY\0",
    ],
    ids=["length", "no length", "heart-beats", "CRLF", "escapes", "repeated length", "NUL in a body"],
)
async def test_an_answer_is_taken_in_every_form_that_a_frame_has(form: bytes) -> None:
    async def host(peer: RawPeer) -> None:
        await answer(peer, form)

    async with raw_server(host) as port, connected(port, on_event=lambda method, params: None) as client:
        assert await client.call("m", {"a": 1}) == [1, None]


async def test_headers_of_a_request_are_escaped() -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        head, _, body = (await peer.frame()).partition(b"\n\n")
        assert head.split(b"\n")[4:] == [b"ovirtCorrelationId:a\\cb\\\\c\\nd\\re", b"x\\cy:1", b"content-length:100"]
        await peer.write(message(b'{"id":"%s","result":1}' % body.partition(b'"id":"')[2][:36]))
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        headers = {"ovirtCorrelationId": "a:b\\c\nd\re", "x:y": "1"}
        assert await client.call("m", {"a": "ä"}, headers=headers) == 1


async def test_the_first_of_repeated_headers_counts() -> None:
    events: list[tuple[str, Mapping[str, Any]]] = []
    there = b"MESSAGE\ndestination:jms.queue.events\ndestination:elsewhere\n\n%s\0" % EVENT
    not_there = b"MESSAGE\ndestination:elsewhere\ndestination:jms.queue.events\n\n%s\0" % EVENT

    async def host(peer: RawPeer) -> None:
        await answer(peer, there + not_there + b"MESSAGE\n\nBODY\0")

    async with (
        raw_server(host) as port,
        connected(port, on_event=lambda method, params: events.append((method, params))) as client,
    ):
        await client.call("m", {})
    assert events == [("|virt|VM_status|v", {"n": 1})]


async def test_headers_of_connected_are_not_unescaped() -> None:
    async def host(peer: RawPeer) -> None:
        await peer.frame()
        await peer.write(b"CONNECTED\nversion:1.2\nserver:C\\Dir\nsession:a:b\n\n\0")
        await peer.frame()
        await farewell(peer)

    async with raw_server(host) as port, connected(port) as client:
        assert client.is_open


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (b"rubbish\n\n\0", "a frame begins with b'r"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame begins with b'H"),
        (b"MESSAGE\nno colon\n\n\0", "MESSAGE has a header line without name and colon: b'no colon'"),
        (b"MESSAGE\na:\\t\n", r"header has the escape '\\\\t'"),
        (b"MESSAGE\na:b\0", "MESSAGE has a NUL before the empty line that ends its headers"),
        (b"MESSAGE\ncontent-length:2\n\nabc", "MESSAGE has no NUL after its body of 2 bytes"),
        (b"MESSAGE\ncontent-length:x\n\n", "MESSAGE has content-length 'x', which is no number of bytes"),
        (b"MESSAGE\ncontent-length:1001\n\n", "MESSAGE has a body of 1001 bytes; 1000 allowed"),
        (b"MESSAGE\n\n" + b"x" * 1001, "MESSAGE has a body of more than 1000 bytes"),
        (b"MESSAGE\n" + b"a:b\n" * 5, "MESSAGE has more than 4 headers"),
        (b"MESSAGE\na:" + b"x" * 100, "MESSAGE has a line of more than 100 bytes"),
    ],
)
async def test_bytes_that_are_no_frame_end_the_connection_and_say_why(broken: bytes, why: str) -> None:
    async def host(peer: RawPeer) -> None:
        await greet(peer)
        await asked(peer)
        await peer.write(broken)
        assert await peer.rest() == b""

    limits = replace(QUICK, header_count_max=4, line_bytes_max=100, body_bytes_max=1000)
    async with raw_server(host) as port, connected(port, limits) as client:
        with pytest.raises(Unanswered, match=f"m to 127.0.0.1 has no answer: the peer broke the protocol: {why}"):
            await client.call("m", {})
        with pytest.raises(NotSent, match=r"next was not sent to 127.0.0.1: .*; connect again"):
            await client.call("next", {})
