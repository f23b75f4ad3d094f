"""How journal entries lie in a file: length, number, durable mark, checksum, JSON."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MAGIC = b"ILJ1"
#: magic, length of the payload, number of the record, number of the last record known durable, checksum
_HEAD = struct.Struct("<4sIQQI")
#: One entry is never larger.
RECORD_BYTES_MAX = 1 << 20

Entry = Mapping[str, Any]  # Any: JSON values


class JournalDamaged(Exception):
    """Something that had been durable cannot be read any more. The agent does not start."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry as found in a file."""

    number: int
    #: Every record up to this number was durable before this one was written.
    durable: int
    entry: Entry
    end: int


def encode(number: int, durable: int, entry: Entry) -> bytes:
    """One record. Raises ValueError if the entry is too large."""
    payload = json.dumps(entry, separators=(",", ":")).encode()
    if len(payload) > RECORD_BYTES_MAX:
        raise ValueError(f"a journal entry of {len(payload)} bytes; at most {RECORD_BYTES_MAX} are allowed")
    return _HEAD.pack(_MAGIC, len(payload), number, durable, _checksum(number, durable, payload)) + payload


def decode(data: bytes, where: str) -> tuple[list[Record], int]:
    """The records of a file and the number of good bytes; what follows them was never durable.

    Raises `JournalDamaged` if a record that cannot be read had been durable.
    """
    records: list[Record] = []
    position = 0
    while position < len(data):
        record = _record_at(data, position)
        if record is None or record.number != len(records):
            _refuse_if_durable(data, position, len(records), where)
            break
        records.append(record)
        position = record.end
    return records, position


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


def _refuse_if_durable(data: bytes, broken_at: int, broken_number: int, where: str) -> None:
    """A torn tail is what a crash leaves; a later record that was written upon the broken one is damage."""
    position = data.find(_MAGIC, broken_at)
    while position != -1:
        record = _record_at(data, position)
        if record is not None and record.durable >= broken_number:
            raise JournalDamaged(
                f"{where}: record {broken_number} at byte {broken_at} cannot be read, but record "
                f"{record.number} after it can: this is damage, not a crash. Restore the file from a copy, "
                "or move it away: the host then answers as a new incarnation and its tasks count as lost"
            )
        position = data.find(_MAGIC, position + 1)


def _checksum(number: int, durable: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<QQ", number, durable)))
