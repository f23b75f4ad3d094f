"""Ways in which what was durable in a journal's file can be lost or changed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tests.agent.crash_states.worlds import SECTOR_BYTES


def flipped(data: bytes, random: Random) -> bytes:
    """A few bits changed."""
    bad = bytearray(data)
    for _ in range(random.randint(1, 3)):
        bad[random.randrange(len(bad))] ^= 1 << random.randrange(8)
    return bytes(bad)


def zeroed(data: bytes, random: Random) -> bytes:
    """One to three sectors beside each other are zeros."""
    start = random.randrange(0, len(data), SECTOR_BYTES)
    end = min(len(data), start + SECTOR_BYTES * random.randint(1, 3))
    return data[:start] + bytes(end - start) + data[end:]


def headless(data: bytes, random: Random) -> bytes:
    """Nothing sensible at the beginning."""
    size = random.randint(1, min(len(data), 2 * SECTOR_BYTES))
    return random.randbytes(size) + data[size:]


def cut(data: bytes, random: Random) -> bytes:
    """The end is gone."""
    return data[: random.randrange(len(data))]


def cut_out(data: bytes, random: Random) -> bytes:
    """A part of the middle is gone, and what follows it has moved up."""
    start, end = _part(data, random)
    return data[:start] + data[end:]


def doubled(data: bytes, random: Random) -> bytes:
    """A part lies there twice, the second time anywhere between the rest."""
    (start, end), at = _part(data, random), random.randrange(len(data))
    return data[:at] + data[start:end] + data[at:]


def copied_over(data: bytes, random: Random) -> bytes:
    """A part lies over another one."""
    (start, end), at = _part(data, random), random.randrange(len(data))
    return data[:at] + data[start:end] + data[at + end - start :]


KINDS: Mapping[str, Callable[[bytes, Random], bytes]] = {
    "flipped": flipped,
    "zeroed": zeroed,
    "headless": headless,
    "cut": cut,
    "cut out": cut_out,
    "doubled": doubled,
    "copied over": copied_over,
}


def _part(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) - 1)
    return start, random.randint(start + 1, min(len(data), start + 8 * SECTOR_BYTES))
