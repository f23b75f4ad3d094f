"""Frames, as our server takes and gives them."""

from dataclasses import replace

import pytest

from tests.wire.peers import ECHO, ECHOED, QUICK, error, message, raw_client, send, serving


async def test_escapes_in_headers_are_read_and_written() -> None:
    async with serving() as (_, port), raw_client(port) as peer:
        await peer.write(b"SUBSCRIBE\ndestination:a\\cb\\\\\nid:x\\ny\\rz\nreceipt:\\c1\n\n\0")
        assert await peer.frame() == b"RECEIPT\nreceipt-id:\\c1\n\n\0"
        await peer.write(send(ECHO, reply_to="a\\cb\\\\"))
        assert await peer.frame() == message(ECHOED, destination="a\\cb\\\\", subscription="x\\ny\\rz")


async def test_a_colon_in_a_value_may_come_unescaped() -> None:
    async with serving() as (_, port), raw_client(port) as peer:
        await peer.write(b"SUBSCRIBE\ndestination:me\nid:s:1\nreceipt:r\n\n\0")
        assert await peer.frame() == b"RECEIPT\nreceipt-id:r\n\n\0"
        await peer.write(send(ECHO))
        assert await peer.frame() == message(ECHOED, subscription="s\\c1")


async def test_headers_of_connect_are_not_unescaped() -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"CONNECT\naccept-version:1.2\nhost:C\\Dir\nlogin:a:b\n\n\0")
        assert await peer.frame() == b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0"


async def test_the_first_of_repeated_headers_counts() -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(send(ECHO, extra="reply-to:nobody\ndestination:nowhere\nreceipt:1\nreceipt:2\n"))
        assert {await peer.frame(), await peer.frame()} == {message(ECHOED), b"RECEIPT\nreceipt-id:1\n\n\0"}


async def test_ends_of_lines_between_frames_are_heart_beats() -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(b"\n\r\n\n" + send(ECHO) + b"\n\r\n" + send(ECHO) + b"\n")
        assert [await peer.frame(), await peer.frame()] == [message(ECHOED)] * 2


async def test_lines_may_end_with_a_carriage_return() -> None:
    async with serving() as (_, port), raw_client(port, greeted=False) as peer:
        await peer.write(b"CONNECT\r\naccept-version:1.2\r\n\r\n\0\r\nDISCONNECT\r\nreceipt:77\r\n\r\n\0")
        assert await peer.rest() == b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0RECEIPT\nreceipt-id:77\n\n\0"


async def test_a_body_of_known_length_may_hold_nul() -> None:
    async with serving() as (_, port), raw_client(port, subscribed="talk") as peer:
        await peer.write(b"SEND\ndestination:talk\ncontent-length:5\n\na\0\0b\n\0")
        frame = b"MESSAGE\nsubscription:s1\ndestination:talk\ncontent-length:5\n\na\0\0b\n\0"
        assert await peer.reader.readexactly(len(frame)) == frame


async def test_a_body_of_unknown_length_ends_at_nul() -> None:
    async with serving() as (_, port), raw_client(port, subscribed="me") as peer:
        await peer.write(b"SEND\ndestination:jms.topic.vdsm_requests\nreply-to:me\n\n" + ECHO + b"\0")
        assert await peer.frame() == message(ECHOED)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (b"rubbish\n\n\0", b"a frame begins with b'r"),
        (b"\xff\xfe", b"a frame begins with b'\\xff"),
        (b"SEND\nno colon\n\n\0", b"SEND has a header line without name and colon: b'no colon'"),
        (b"SEND\na:\\t\n", b"header has the escape '\\\\t'; only \\\\ \\r \\n \\c are known"),
        (b"SEND\na:\xff\n", b"SEND has a header that is not UTF-8: b'a:\\xff'"),
        (b"SEND\na:b\0", b"SEND has a NUL before the empty line that ends its headers"),
        (b"SEND\ncontent-length:2\n\nabc", b"SEND has no NUL after its body of 2 bytes"),
        (b"SEND\ncontent-length:x\n\n", b"SEND has content-length 'x', which is no number of bytes"),
        (b"SEND\ncontent-length:-1\n\n", b"SEND has content-length '-1', which is no number of bytes"),
        (b"SEND\ncontent-length:1001\n\n", b"SEND has a body of 1001 bytes; 1000 allowed"),
        (b"SEND\n\n" + b"x" * 1001, b"SEND has a body of more than 1000 bytes"),
        (b"SEND\n" + b"a:b\n" * 5, b"SEND has more than 4 headers"),
        (b"SEND\na:" + b"x" * 100, b"SEND has a line of more than 100 bytes"),
    ],
)
async def test_bytes_that_are_no_frame_get_an_error_and_the_end_and_others_go_on(broken: bytes, said: bytes) -> None:
    limits = replace(QUICK, header_count_max=4, line_bytes_max=100, body_bytes_max=1000)
    async with (
        serving(limits=limits) as (_, port),
        raw_client(port, subscribed="me") as other,
        raw_client(port) as peer,
    ):
        await peer.write(b"SUBSCRIBE\ndestination:x\nid:s1\nreceipt:5\n\n\0" + broken)
        receipt, rest = (await peer.rest()).split(b"\0", 1)
        assert receipt == b"RECEIPT\nreceipt-id:5\n\n"
        text = rest.partition(b"\n\n")[2][:-1]
        assert rest == error(text)
        assert text.startswith(said)
        await other.write(send(ECHO))
        assert await other.frame() == message(ECHOED)
