"""Post-zero: what the files of folders hold is overwritten, in chunks, before they are removed."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from interlock.agent import durable
from interlock.agent.tasks.steps import Host

#: So much is overwritten before progress is told and the agent may end.
_CHUNK_BYTES = 32 << 20


async def erase(host: Host, folders: Iterable[Path], report: Callable[[int], None]) -> None:
    """Overwrites with zeros what the regular files in some folders hold; absent folders are fine.

    Links are not followed, and a file that has a name elsewhere too is left alone: somebody still uses its data.
    `report` gets the percentage. Doing it again does no harm. Raises OSError.
    """
    files = await host.blocking(_files, folders)
    total, done = sum(size for _, size in files) or 1, 0
    for path, size in files:
        position: int | None = 0
        while position is not None:
            report((done + position) * 100 // total)
            position = await host.blocking(durable.overwrite, path, position, _CHUNK_BYTES)
        done += size


def _files(folders: Iterable[Path]) -> list[tuple[Path, int]]:
    """The files that have no names but those in the folders, each once, and their sizes."""
    names: defaultdict[tuple[int, int], list[Path]] = defaultdict(list)
    for place, _, within in (each for folder in folders for each in os.walk(folder, onerror=_raise_unless_absent)):
        for path in (Path(place, name) for name in within):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                names[status.st_dev, status.st_ino].append(path)
    own = sorted(paths[0] for paths in names.values() if paths[0].lstat().st_nlink == len(paths))
    return [(path, path.lstat().st_size) for path in own]


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
