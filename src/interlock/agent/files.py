"""The few file operations of the journal, so that tests can put a forgetful cache beneath it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from interlock.agent import durable


class Appender(Protocol):
    """A file that grows at its end. What was written is durable only after `fsync`."""

    def write(self, data: bytes) -> None:
        """Adds `data` to the end."""
        ...

    def fsync(self) -> None:
        """Makes the contents durable. Raises OSError."""
        ...

    def close(self) -> None:
        """Ends the use of the file."""
        ...


class Files(Protocol):
    """Files in folders, with the durability of a real file system: nothing is durable until fsynced."""

    def read(self, path: Path) -> bytes | None:
        """The contents, or None if there is no such file."""
        ...

    def append_to(self, path: Path, *, size: int) -> Appender:
        """The file, made if absent, cut to its first `size` bytes and ready to grow."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Gives a file another name, replacing what had it."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a name; an absent one is fine."""
        ...

    def fsync_folder(self, path: Path) -> None:
        """Makes the folder's names durable."""
        ...


class _OpenFile:
    """An `Appender` on a real file."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = open(path, "ab", buffering=0, opener=_private)  # noqa: SIM115  # closed by close()
        self._file.truncate(size)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def fsync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


class RealFiles:
    """`Files` of the machine."""

    def read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def append_to(self, path: Path, *, size: int) -> Appender:
        return _OpenFile(path, size)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def fsync_folder(self, path: Path) -> None:
        durable.fsync_folder(path)
