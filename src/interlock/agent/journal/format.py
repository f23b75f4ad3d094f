"""How journal entries lie in files, and what a file that was found says."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from interlock.agent.records import Entry

_MAGIC = b"ILJ1"
#: magic, length of the payload, number of the record, number of the last record known durable, checksum
_HEAD = struct.Struct("<4sIQQI")
#: One entry is never larger.
RECORD_BYTES_MAX = 1 << 20
#: Version 1 numbered its records anew in each file, and named no damage; 2 knew no generations of clusters.
VERSION = 3
_VERSIONS_READ = (1, 2, VERSION)


class OtherVersion(Exception):
    """A journal that this version of the agent does not understand. The agent does not start."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry as found in a file: length, number, durable mark and checksum, then the entry as JSON."""

    #: Counts up within a journal's life, also where its file is written anew.
    number: int
    #: Every record up to this number was durable before this one was written.
    durable: int
    entry: Entry
    end: int

    @property
    def is_header(self) -> bool:
        """Whether a journal's file begins with this record."""
        return self.entry.get("kind") == "journal"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file beside the journal says, written after each fsync of it and never fsynced itself.

    It proves records durable upon which no other was written yet. One that is missing or old proves less.
    """

    incarnation: str
    #: The numbers of the header and of the last record that was durable.
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What can be read of a journal's file."""

    #: From the header on, without a break; empty if the file does not begin with a header.
    records: tuple[Record, ...]
    #: How many bytes these take.
    size: int
    #: What can be read behind the break, in the order of the file.
    beyond: tuple[Record, ...]
    mark: Mark | None

    @property
    def header(self) -> Record | None:
        """The header, wherever in the file it is."""
        if self.records:
            return self.records[0]
        return max((r for r in self.beyond if r.is_header), key=lambda r: r.number, default=None)

    @property
    def durable(self) -> int:
        """The highest number of a record that is proved to have been durable; -1 if none is."""
        proofs = [record.durable for record in self.beyond]
        if self.header is not None:  # its file got the journal's name only when that many entries were durable in it
            proofs.append(self.header.number + self.header.entry["entries"])
        if self.mark is not None:
            proofs.append(self.mark.last)
        return max(proofs, default=-1)

    @property
    def is_damaged(self) -> bool:
        """Whether something that was durable cannot be read; a crash alone leaves but a torn end."""
        return not self.records or self.records[-1].number < self.durable


def encode(number: int, durable: int, entry: Entry) -> bytes:
    """One record. Raises ValueError if the entry is too large."""
    payload = json.dumps(entry, separators=(",", ":")).encode()
    if len(payload) > RECORD_BYTES_MAX:
        raise ValueError(f"a journal entry of {len(payload)} bytes; at most {RECORD_BYTES_MAX} are allowed")
    return _HEAD.pack(_MAGIC, len(payload), number, durable, _checksum(number, durable, payload)) + payload


def encode_mark(mark: Mark) -> bytes:
    """A mark as its file holds it; small enough for one sector."""
    return encode(mark.last, mark.last, {"kind": "mark", "incarnation": mark.incarnation, "first": mark.first})


def read(data: bytes, mark: bytes) -> Reading:
    """Reads a journal's file and its mark's, whatever is in them. Raises `OtherVersion`."""
    records: list[Record] = []
    position = 0
    while (record := _record_at(data, position)) is not None:
        if record.number != records[-1].number + 1 if records else not record.is_header:
            break
        records.append(record)
        position = record.end
    reading = Reading(tuple(records), position, tuple(_scan(data, position)), _read_mark(mark))
    if reading.header is not None and reading.header.entry["version"] not in _VERSIONS_READ:
        raise OtherVersion(
            f"a journal of version {reading.header.entry['version']}; this agent reads version {VERSION}: "
            "start the agent that wrote it"
        )
    return reading


def _read_mark(data: bytes) -> Mark | None:
    record = _record_at(data, 0)
    if record is None or record.entry.get("kind") != "mark":
        return None
    return Mark(record.entry["incarnation"], record.entry["first"], record.number)


def _scan(data: bytes, position: int) -> Iterator[Record]:
    """Every record that can be read from `position` on, whatever lies between them."""
    while (position := data.find(_MAGIC, position)) != -1:
        record = _record_at(data, position)
        if record is not None:
            yield record
        position = record.end if record is not None else position + 1


def _record_at(data: bytes, position: int) -> Record | None:
    if position + _HEAD.size > len(data):
        return None
    magic, length, number, durable, checksum = _HEAD.unpack_from(data, position)
    start = position + _HEAD.size
    if magic != _MAGIC or length > RECORD_BYTES_MAX or start + length > len(data):
        return None
    payload = data[start : start + length]
    if _checksum(number, durable, payload) != checksum:
        return None
    return Record(number, durable, json.loads(payload), start + length)


def _checksum(number: int, durable: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<QQ", number, durable)))
