"""Frames: encoding, parsing in any pieces, and every refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.wire.frames import (
    COMMANDS,
    HEART_BEAT,
    Frame,
    HeartBeat,
    Parser,
    ProtocolError,
    UnknownCommand,
    encode,
)
from interlock.wire.limits import Limits

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NAMES = TEXT.filter(lambda name: name not in ("", "content-length"))
ESCAPED = sorted(COMMANDS - {"CONNECT", "STOMP", "CONNECTED"})
FRAMES = st.builds(
    Frame,
    st.sampled_from(ESCAPED),
    st.lists(st.tuples(NAMES, TEXT), max_size=5).map(tuple),
    st.binary(max_size=60),
)
SMALL = Limits(header_count_max=2, line_bytes_max=20, body_bytes_max=10)


def as_parsed(frame: Frame) -> Frame:
    """The frame with the content-length that its encoding adds to a body."""
    if not frame.body:
        return frame
    return Frame(frame.command, (*frame.headers, ("content-length", str(len(frame.body)))), frame.body)


def feed(parser: Parser, data: bytes) -> list[Frame | HeartBeat]:
    """What became complete with these bytes."""
    parser.put(data)
    return list(iter(parser.next, None))


def parse(data: bytes, limits: Limits = Limits()) -> list[Frame | HeartBeat]:  # noqa: B008
    """What a fresh parser makes of the bytes, given one by one."""
    parser = Parser(limits)
    return [item for at in range(len(data)) for item in feed(parser, data[at : at + 1])]


@given(st.lists(st.one_of(FRAMES, st.just(HEART_BEAT)), max_size=5), st.data())
def test_frames_survive_any_splitting(items: list[Frame | HeartBeat], data: st.DataObject) -> None:
    raw = b"".join(encode(item) if isinstance(item, Frame) else b"\n" for item in items)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    parser = Parser()
    parsed = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        parsed += feed(parser, raw[start:end])
    assert parsed == [as_parsed(item) if isinstance(item, Frame) else item for item in items]


@given(st.binary(max_size=200), st.data())
def test_garbage_is_refused_the_same_way_however_it_is_split(garbage: bytes, data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from([b"", b"SEND\n", b"SEND\na:b\n\n", b"ERROR\ncontent-length:3\n\n"])) + garbage

    def outcome(pieces: list[bytes]) -> tuple[list[Frame | HeartBeat], str]:
        parser, parsed = Parser(SMALL), list[Frame | HeartBeat]()
        try:
            for piece in pieces:
                parser.put(piece)
                while (item := parser.next()) is not None:
                    parsed.append(item)
        except ProtocolError as fault:
            return parsed, type(fault).__name__
        return parsed, ""

    assert outcome([raw]) == outcome([raw[at : at + 1] for at in range(len(raw))])


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        (
            b"CONNECT\naccept-version:1.2\nheart-beat:2400,4000\n\n\0",
            Frame("CONNECT", {"accept-version": "1.2", "heart-beat": "2400,4000"}),
        ),
        (b"ERROR\ncontent-length:19\n\nVersion unsupported\0", Frame("ERROR", (), b"Version unsupported")),
        (b"DISCONNECT\nreceipt:77\n\n\0", Frame("DISCONNECT", {"receipt": "77"})),
        (b"SEND\na\\c\\n\\r\\\\b:x\\cy\n\n\0", Frame("SEND", {"a:\n\r\\b": "x:y"})),
        (b"SEND\ncontent-length:3\n\na\0b\0", Frame("SEND", {"content-length": "3"}, b"a\0b")),
        (b"CONNECTED\nsession:C\\D:1\n\n\0", Frame("CONNECTED", {"session": "C\\D:1"})),
        (b"MESSAGE\n\n\0", Frame("MESSAGE")),
    ],
)
def test_bytes_and_frame_are_each_other(raw: bytes, frame: Frame) -> None:
    assert encode(frame) == raw
    assert parse(raw) == [as_parsed(frame) if frame.get("content-length") is None else frame]


@pytest.mark.parametrize(
    ("raw", "frame"),
    [
        (b"SEND\r\na:b\r\n\r\nbody\0", Frame("SEND", {"a": "b"}, b"body")),
        (b"SEND\n\nbody up to NUL\0", Frame("SEND", (), b"body up to NUL")),
        (b"SEND\na:b:c\n\n\0", Frame("SEND", {"a": "b:c"})),
        (b"SEND\na:\n\n\0", Frame("SEND", {"a": ""})),
        (b"SEND\ncontent-length:0\n\n\0", Frame("SEND", {"content-length": "0"})),
    ],
)
def test_what_others_may_send_is_understood(raw: bytes, frame: Frame) -> None:
    assert parse(raw) == [frame]


def test_the_first_of_repeated_headers_wins() -> None:
    (frame,) = parse(b"SEND\na:1\nb:2\na:3\ncontent-length:1\ncontent-length:9\n\nx\0")
    assert isinstance(frame, Frame)
    assert (frame.fields, frame.body) == ({"a": "1", "b": "2", "content-length": "1"}, b"x")
    assert frame.headers == (
        ("a", "1"),
        ("b", "2"),
        ("a", "3"),
        ("content-length", "1"),
        ("content-length", "9"),
    )


def test_ends_of_lines_between_frames_are_heart_beats() -> None:
    assert parse(b"\nSEND\n\n\0\r\n\n") == [HEART_BEAT, Frame("SEND"), HEART_BEAT, HEART_BEAT]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"GET / HTTP/1.1", "begins with b'GET / HTTP/1.'"),
        (b"send\n", "b'send', which is no STOMP command"),
        (b"SENDX", "b'SENDX', which is no STOMP command"),
        (b"SEN\n", "b'SEN', which is no STOMP command"),
        (b"\x16\x03\x01", "which is no STOMP command"),
        (b"\rSEND", "begins with a carriage return"),
        (b"SEND\nno colon\n", "header line without name and colon: b'no colon'"),
        (b"SEND\n:value\n", "header line without name and colon: b':value'"),
        (b"SEND\na:\\t\n", "the escape '\\\\t'"),
        (b"SEND\na:\\\n", "the escape '\\\\'"),
        (b"SEND\na:\xff\n", "not UTF-8"),
        (b"SEND\na:b\0", "NUL before the empty line"),
        (b"SEND\ncontent-length:x\n\n", "content-length 'x', which is no number"),
        (b"SEND\ncontent-length:-1\n\n", "content-length '-1', which is no number"),
        (b"SEND\ncontent-length:1_0\n\n", "content-length '1_0', which is no number"),
        ("SEND\ncontent-length:\u0663\n\n".encode(), "which is no number"),
        (b"SEND\ncontent-length:11\n\n", "a body of 11 bytes; 10 allowed"),
        (b"SEND\ncontent-length:2\n\nabc", "no NUL after its body of 2 bytes"),
        (b"SEND\n\n12345678901", "a body of more than 10 bytes"),
        (b"SEND\na:b\nc:d\ne:f\n", "more than 2 headers"),
        (b"SEND\na:" + b"x" * 19 + b"\n", "a line of more than 20 bytes"),
        (b"SEND\na:" + b"x" * 20, "a line of more than 20 bytes"),
    ],
)
def test_garbage_is_named(raw: bytes, words: str) -> None:
    parser = Parser(SMALL)
    with pytest.raises(ProtocolError) as caught:
        feed(parser, raw)
    assert words in str(caught.value)
    with pytest.raises(ProtocolError) as again:
        feed(parser, b"SEND\n\n\0")
    assert str(again.value) == str(caught.value)


def test_what_was_complete_before_a_fault_is_given() -> None:
    parser = Parser()
    parser.put(b"SEND\n\n\0\nrubbish")
    assert [parser.next(), parser.next()] == [Frame("SEND"), HEART_BEAT]
    with pytest.raises(UnknownCommand):
        parser.next()


def test_the_largest_allowed_frame_is_taken() -> None:
    line = b"a:" + b"x" * 18
    headers = (("a", "x" * 18), ("content-length", "10"))
    assert parse(b"SEND\r\n" + line + b"\r\ncontent-length:10\r\n\r\n0123456789\0", SMALL) == [
        Frame("SEND", headers, b"0123456789")
    ]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Frame("HELLO"), "no STOMP command"),
        (Frame("SEND", {"a": "b\0"}), "NUL cannot be sent"),
        (Frame("SEND", {"": "b"}), "names need a character"),
        (Frame("CONNECT", {"a": "b\nc"}), "escapes that it may not use"),
        (Frame("SEND", {"content-length": "2"}, b"abc"), "content-length 2, but its body has 3 bytes"),
    ],
)
def test_what_stomp_cannot_carry_is_not_encoded(frame: Frame, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(frame)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("header_count_max", 0, "header_count_max is 0; give a positive"),
        ("heartbeat_send_ms", -1, "heartbeat_send_ms is -1"),
        ("body_bytes_max", 1 << 30, "less than one largest frame"),
        ("calls_bytes_max", 1, "less than one largest body"),
    ],
)
def test_limits_that_cannot_work_are_refused(name: str, value: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Limits(**{name: value})
