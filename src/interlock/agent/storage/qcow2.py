"""What a qcow2 file refers to, read from its header without letting any program open what it names."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"QFI\xfb"
_HEAD = struct.Struct(">4sIQIIQ")
_FEATURES = struct.Struct(">Q")
_FEATURES_AT = 72
_LENGTH_AT = 100
_EXTENSION = struct.Struct(">II")
_END = 0
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE_NAME = 0x44415441
_HAS_DATA_FILE = 1 << 2
_HEADER_BYTES_MAX = 1 << 16
_NAME_BYTES_MAX = 1023


class NotQcow2(Exception):
    """The file has no qcow2 header that can be understood."""


@dataclass(frozen=True, slots=True)
class References:
    """The other files that a qcow2 file needs."""

    size: int
    backing_file: str | None
    backing_format: str | None
    has_data_file: bool


def references(path: Path) -> References:
    """Reads the header. Raises `NotQcow2` or OSError."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES_MAX)
    if len(head) < _FEATURES_AT or not head.startswith(_MAGIC):
        raise NotQcow2(f"{path} does not begin as a qcow2 file does")
    _, version, name_at, name_length, _, size = _HEAD.unpack_from(head)
    if version not in (2, 3):
        raise NotQcow2(f"{path} is qcow2 of the unknown version {version}")
    if name_length > _NAME_BYTES_MAX or name_at + name_length > len(head):
        raise NotQcow2(f"{path} has a backing name outside its header")
    header_length, features = _FEATURES_AT, 0
    if version == 3:
        if len(head) < _LENGTH_AT + 4:
            raise NotQcow2(f"{path} is shorter than its header")
        (features,) = _FEATURES.unpack_from(head, _FEATURES_AT)
        (header_length,) = struct.unpack_from(">I", head, _LENGTH_AT)
    # They end where the backing name begins: QEMU reads no further, and would guess a format that it does not see.
    extensions = _extensions(path, head[: name_at or None], header_length)
    backing_format = extensions.get(_BACKING_FORMAT)
    return References(
        size=size,
        backing_file=head[name_at : name_at + name_length].decode(errors="replace") if name_at else None,
        backing_format=backing_format.decode(errors="replace") if backing_format is not None else None,
        has_data_file=bool(features & _HAS_DATA_FILE) or _DATA_FILE_NAME in extensions,
    )


def _extensions(path: Path, head: bytes, position: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while position + _EXTENSION.size <= len(head):
        kind, length = _EXTENSION.unpack_from(head, position)
        if kind == _END:
            return found
        position += _EXTENSION.size
        if position + length > len(head):
            break
        found[kind] = head[position : position + length]
        position += -(-length // 8) * 8
    raise NotQcow2(f"{path} has header extensions without an end")
