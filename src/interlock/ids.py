"""Time-ordered ids (UUID version 7, RFC 9562), never going back within a process."""

import os
import threading
import time
from collections.abc import Callable
from uuid import UUID

NewId = Callable[[], UUID]

_lock = threading.Lock()
_last = 0


def new_id() -> UUID:
    """A new UUIDv7: 48 bits of milliseconds, then 74 random bits; strictly greater than the one before."""
    global _last
    with _lock:
        candidate = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
        candidate = candidate & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
        if candidate <= _last:  # same millisecond, or the clock went back
            candidate = _successor(_last)
        _last = candidate
        return UUID(int=candidate)


def _successor(value: int) -> int:
    """The next valid version 7 id after `value`: the 62 random low bits count up, then the fields above."""
    low = (value & (1 << 62) - 1) + 1
    if low < 1 << 62:
        return value & ~((1 << 62) - 1) | low
    high = (value >> 64 & 0xFFF) + 1
    if high < 1 << 12:
        return value >> 76 << 76 | high << 64 | 0x2 << 62
    return ((value >> 80) + 1) << 80 | 0x7 << 76 | 0x2 << 62
