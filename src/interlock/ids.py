"""Time-ordered ids (UUID version 7, RFC 9562), never going back within a process."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

NewId = Callable[[], UUID]

#: random bytes are asked for by the page: each call to the system gives way to other threads, with the lock held
_PAGE_BYTES = 4096
_lock = threading.Lock()
_last = 0
_page = b""
_now_ns: Callable[[], int] = time.time_ns
_draw: Callable[[int], bytes] = os.urandom


def _forget_page() -> None:
    """A forked child must not hand out the randomness of its parent."""
    global _page
    _page = b""


os.register_at_fork(after_in_child=_forget_page)


def new_id() -> UUID:
    """A new UUIDv7: 48 bits of milliseconds, then 74 random bits; strictly greater than the one before."""
    global _last, _page
    with _lock:
        if len(_page) < 10:
            _page = _draw(_PAGE_BYTES)
        random, _page = _page[:10], _page[10:]
        candidate = (_now_ns() // 1_000_000) << 80 | int.from_bytes(random, "big")
        candidate = candidate & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
        if candidate <= _last:  # same millisecond, or the clock went back
            candidate = _successor(_last)
        _last = candidate
        return UUID(int=candidate)


@contextmanager
def drawn_from(now_ns: Callable[[], int], draw: Callable[[int], bytes]) -> Iterator[None]:
    """While it lasts, ids are made of that time and those bytes: for simulators, where the same seed gives the same."""
    global _now_ns, _draw, _last, _page
    former = _now_ns, _draw, _last, _page
    _now_ns, _draw, _last, _page = now_ns, draw, 0, b""
    try:
        yield
    finally:
        _now_ns, _draw, _last, _page = former


def _successor(value: int) -> int:
    """The next valid version 7 id after `value`: the 62 random low bits count up, then the fields above."""
    low = (value & (1 << 62) - 1) + 1
    if low < 1 << 62:
        return value & ~((1 << 62) - 1) | low
    high = (value >> 64 & 0xFFF) + 1
    if high < 1 << 12:
        return value >> 76 << 76 | high << 64 | 0x2 << 62
    return ((value >> 80) + 1) << 80 | 0x7 << 76 | 0x2 << 62
