"""The archive of removed jobs: a file a day of JSON lines, each with all that belonged to one job.

A line is on disk before its job is erased. A crash in between archives the job a second time, and loses none.
"""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interlock.model.errors import NotArchived


def append(folder: Path, lines: Iterable[dict[str, Any]], now: int) -> None:
    """Adds lines to the file of the day, durably. Raises NotArchived."""
    try:
        _append(folder, lines, now)
    except OSError as error:
        words = "its jobs are kept; look at the folder's rights and at the disk"
        raise NotArchived(f"the archive {folder} cannot be written ({error.strerror or error}); {words}") from error


def _append(folder: Path, lines: Iterable[dict[str, Any]], now: int) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / datetime.fromtimestamp(now / 1e6, UTC).strftime("%Y-%m-%d.jsonl")
    text = "".join(json.dumps(line, ensure_ascii=False, default=str, separators=(",", ":")) + "\n" for line in lines)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        if file.tell() and os.pread(descriptor, 1, file.tell() - 1) != b"\n":  # a crash cut the last line
            file.write(b"\n")
        file.write(text.encode())
        file.flush()
        os.fsync(descriptor)
    _fsync_folder(folder)  # also for a file that is there: who made it may have died before this


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
