"""What a crash could leave of files on a disk: the beginning of the writes, a torn write, or any of their sectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from interlock.sim.forgetful_files import Change, Contents, Disk, Unsynced

SECTOR_BYTES = 512


def prefix(disk: Disk, random: Random) -> Contents:
    """Of each file the first few writes came to the disk, and of the names the first few changes."""
    return _world(disk, random, lambda file: file.after(file.changes[: random.randint(0, len(file.changes))]))


def torn(disk: Disk, random: Random) -> Contents:
    """The same, and of each file's next write a part that ends at any byte."""

    def left_of(file: Unsynced) -> bytes:
        if not file.changes:
            return file.durable
        whole = file.changes[: random.randrange(len(file.changes))]
        cut = file.changes[len(whole)]
        part = [Change(cut.at, cut.data[: random.randrange(len(cut.data))])] if cut.data else []
        return file.after([*whole, *part])

    return _world(disk, random, left_of)


def reordered(disk: Disk, random: Random) -> Contents:
    """Of what was written to each file any sectors came to the disk; the others are as before, or zeros."""

    def left_of(file: Unsynced) -> bytes:
        whole = file.after(file.changes)
        size = random.choice([len(whole), random.randint(min(len(file.durable), len(whole)), len(whole))])
        former = file.durable.ljust(size, b"\0")
        sectors = range(0, size, SECTOR_BYTES)
        mixed = (random.choice([whole, former])[at : min(at + SECTOR_BYTES, size)] for at in sectors)
        return b"".join(mixed)

    return _world(disk, random, left_of)


KINDS: Mapping[str, Callable[[Disk, Random], Contents]] = {"prefix": prefix, "torn": torn, "reordered": reordered}


def is_open(disk: Disk, kind: str) -> bool:
    """Whether a crash at this moment could leave more than one state of this kind."""
    files = [file for table in disk.tables for file in table.values()]
    return kind == "prefix" or any(change.at > 0 for file in files for change in file.changes)


def _world(disk: Disk, random: Random, left_of: Callable[[Unsynced], bytes]) -> Contents:
    table = random.choice(disk.tables)
    return {path: left_of(file) for path, file in table.items()}
