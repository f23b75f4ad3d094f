"""STOMP 1.2 frames: encoding, and an incremental parser that does no I/O."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from interlock.wire.limits import DEFAULT_LIMITS, Limits

#: The version of STOMP that is spoken.
VERSION = "1.2"

CLIENT_COMMANDS = frozenset(
    (
        "CONNECT",
        "STOMP",
        "SEND",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "ACK",
        "NACK",
        "BEGIN",
        "COMMIT",
        "ABORT",
        "DISCONNECT",
    )
)
SERVER_COMMANDS = frozenset(("CONNECTED", "MESSAGE", "RECEIPT", "ERROR"))
COMMANDS = CLIENT_COMMANDS | SERVER_COMMANDS

#: Frames whose headers STOMP 1.2 leaves unescaped, for the sake of older peers.
_UNESCAPED = frozenset(("CONNECT", "STOMP", "CONNECTED"))
_ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
_UNESCAPES = {escape: char for char, escape in _ESCAPES.items()}
_COMMAND_BYTES = {command.encode(): command for command in COMMANDS}
_COMMAND_BYTES_MAX = max(map(len, COMMANDS)) + len("\r\n")


class ProtocolError(Exception):
    """The peer sent bytes that are no STOMP frame, or one beyond the limits; the stream cannot be read on."""


class UnknownCommand(ProtocolError):
    """The bytes where a frame should begin are no STOMP command."""


@dataclass(frozen=True)
class HeartBeat:
    """A bare end of line between frames."""


HEART_BEAT = HeartBeat()


@dataclass(frozen=True)
class Frame:
    """One frame. `headers` may be given as a mapping, and are kept as pairs: wire order, repetitions too."""

    command: str
    headers: tuple[tuple[str, str], ...] | Mapping[str, str] = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        if isinstance(self.headers, Mapping):
            object.__setattr__(self, "headers", tuple(self.headers.items()))

    @property
    def fields(self) -> dict[str, str]:
        """The headers by name; of a repeated header the first wins."""
        first: dict[str, str] = {}
        for name, value in self.headers.items() if isinstance(self.headers, Mapping) else self.headers:
            first.setdefault(name, value)
        return first

    def get(self, name: str) -> str | None:
        """The first header of that name, or None."""
        return self.fields.get(name)


def encode(frame: Frame) -> bytes:
    """The frame's bytes; a body gets its content-length unless a header has it already.

    Raises ValueError for an unknown command, a header that STOMP cannot carry, or a wrong content-length.
    """
    if frame.command not in COMMANDS:
        raise ValueError(f"{frame.command!r} is no STOMP command; use one of {', '.join(sorted(COMMANDS))}")
    fields = frame.fields
    pairs = list(frame.headers.items() if isinstance(frame.headers, Mapping) else frame.headers)
    length = fields.get("content-length")
    if length is None and frame.body:
        pairs.append(("content-length", str(len(frame.body))))
    elif length is not None and length != str(len(frame.body)):
        raise ValueError(f"{frame.command} has content-length {length}, but its body has {len(frame.body)} bytes")
    escaped = frame.command not in _UNESCAPED
    lines = [frame.command, *(_encode_header(frame.command, *pair, escaped=escaped) for pair in pairs)]
    return "\n".join(lines).encode() + b"\n\n" + frame.body + b"\0"


def _encode_header(command: str, name: str, value: str, *, escaped: bool) -> str:
    if not name or "\0" in name + value:
        raise ValueError(f"{command} has the header {name!r}: {value!r}; names need a character, NUL cannot be sent")
    if escaped:
        return f"{_escape(name)}:{_escape(value)}"
    if ":" in name or re.search(r"[\r\n]", name + value):
        raise ValueError(f"{command} has the header {name!r}: {value!r}, which needs escapes that it may not use")
    return f"{name}:{value}"


def _escape(text: str) -> str:
    return re.sub(r"[\\\r\n:]", lambda match: _ESCAPES[match[0]], text)


def _unescape(text: str) -> str:
    def char(match: re.Match[str]) -> str:
        if match[0] not in _UNESCAPES:
            raise ProtocolError(f"header has the escape {match[0]!r}; only \\\\ \\r \\n \\c are known")
        return _UNESCAPES[match[0]]

    return re.sub(r"\\.?", char, text, flags=re.DOTALL) if "\\" in text else text


class Parser:
    """Takes bytes in any pieces, gives frames and heart-beats one by one.

    Keeps no more than what it was given last and one unfinished frame within the limits, if `next` is called
    until there is nothing before more is put in.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._at = 0  # what lies before is consumed
        self._scanned = 0  # no end of the current line or body lies between _at and here
        self._command = ""
        self._headers: list[tuple[str, str]] = []
        self._length: int | None = None
        self._step: Callable[[], Frame | HeartBeat | None] = self._between
        self._fault: str | None = None

    def put(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        del self._buffer[: self._at]
        self._scanned = max(0, self._scanned - self._at)
        self._at = 0
        self._buffer += data

    def next(self) -> Frame | HeartBeat | None:
        """The next item that is complete, or None. Raises ProtocolError naming what is wrong, and for ever after."""
        if self._fault is not None:
            raise ProtocolError(self._fault)
        try:
            return self._step()
        except ProtocolError as fault:
            self._fault = str(fault)
            self._buffer.clear()
            raise

    def _between(self) -> Frame | HeartBeat | None:
        if self._at == len(self._buffer):
            return None
        end = 2 if self._buffer[self._at] == 0x0D else 1
        if self._buffer[self._at] in b"\r\n":
            if self._at + end > len(self._buffer):
                return None
            if self._buffer[self._at + end - 1] != 0x0A:
                raise UnknownCommand("a frame begins with a carriage return; it must begin with a command")
            self._take(end)
            return HEART_BEAT
        self._step = self._command_line
        return self._step()

    def _command_line(self) -> Frame | HeartBeat | None:
        # The bytes are judged as they come: garbage without an end of line must not be waited for.
        start, ended, _ = bytes(self._buffer[self._at : self._at + _COMMAND_BYTES_MAX]).partition(b"\n")
        word = start.removesuffix(b"\r")
        if not ended and any(command.startswith(word) for command in _COMMAND_BYTES):
            return None
        if word not in _COMMAND_BYTES:
            raise UnknownCommand(f"a frame begins with {word!r}, which is no STOMP command")
        self._take(len(start) + 1)
        self._command, self._headers, self._length = _COMMAND_BYTES[word], [], None
        self._step = self._header_lines
        return self._step()

    def _header_lines(self) -> Frame | HeartBeat | None:
        while (line := self._line()) is not None:
            if not line:
                self._length = self._content_length()
                self._step = self._body
                return self._step()
            if len(self._headers) == self._limits.header_count_max:
                raise ProtocolError(f"{self._command} has more than {self._limits.header_count_max} headers")
            self._headers.append(self._header(line))
        return None

    def _header(self, line: bytes) -> tuple[str, str]:
        try:
            name, colon, value = line.decode().partition(":")
        except UnicodeDecodeError:
            raise ProtocolError(f"{self._command} has a header that is not UTF-8: {line[:40]!r}") from None
        if not name or not colon:
            raise ProtocolError(f"{self._command} has a header line without name and colon: {line[:40]!r}")
        return (name, value) if self._command in _UNESCAPED else (_unescape(name), _unescape(value))

    def _content_length(self) -> int | None:
        text = next((value for name, value in self._headers if name == "content-length"), None)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ProtocolError(f"{self._command} has content-length {text[:40]!r}, which is no number of bytes")
        if int(text) > self._limits.body_bytes_max:
            raise ProtocolError(f"{self._command} has a body of {text} bytes; {self._limits.body_bytes_max} allowed")
        return int(text)

    def _body(self) -> Frame | HeartBeat | None:
        length = self._length
        if length is None:
            end = self._find(b"\0")
            # Not found: everything that is here already belongs to the body.
            length = (len(self._buffer) if end is None else end) - self._at
            if length > self._limits.body_bytes_max:
                raise ProtocolError(f"{self._command} has a body of more than {self._limits.body_bytes_max} bytes")
            if end is None:
                return None
        elif len(self._buffer) <= self._at + length:
            return None
        elif self._buffer[self._at + length] != 0:
            raise ProtocolError(f"{self._command} has no NUL after its body of {length} bytes")
        body = self._take(length)
        self._take(1)
        self._step = self._between
        return Frame(self._command, tuple(self._headers), body)

    def _line(self) -> bytes | None:
        end = self._find(b"\n")
        pending = self._buffer[self._at : min(len(self._buffer) if end is None else end, self._at + self._most_line)]
        if b"\0" in pending:
            raise ProtocolError(f"{self._command} has a NUL before the empty line that ends its headers")
        line = bytes(pending)
        if end is not None:
            line = line.removesuffix(b"\r")
        if len(line) > self._limits.line_bytes_max + (end is None):
            raise ProtocolError(f"{self._command} has a line of more than {self._limits.line_bytes_max} bytes")
        if end is None:
            return None
        self._take(end - self._at)
        self._take(1)
        return line

    @property
    def _most_line(self) -> int:
        return self._limits.line_bytes_max + 2  # one for a carriage return, one to see that it is too long

    def _find(self, end: bytes) -> int | None:
        found = self._buffer.find(end, max(self._at, self._scanned))
        self._scanned = len(self._buffer)
        return None if found < 0 else found

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[self._at : self._at + count])
        self._at += count
        self._scanned = self._at
        return taken
