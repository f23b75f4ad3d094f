"""The few file operations of the journal, so that tests can put a forgetful cache beneath it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from interlock.agent import durable

#: What the kernel reads at once: if a part of it cannot be read, none of it can.
_PAGE_BYTES = 4096


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
        """The contents, or None if there is no such file; zeros stand for what the disk cannot read."""
        ...

    def names(self, folder: Path) -> list[str]:
        """What lies in a folder, by name."""
        ...

    def overwrite(self, path: Path, data: bytes) -> None:
        """Puts `data` over the beginning of a file, made if absent, without making it durable."""
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


def _readable_part(path: Path) -> bytes:
    """A file on a disk with bad sectors, which are zeros in what is returned."""
    parts = []
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for start in range(0, size, _PAGE_BYTES):
            length = min(_PAGE_BYTES, size - start)
            try:
                parts.append(os.pread(file.fileno(), length, start))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                parts.append(bytes(length))
    return b"".join(parts)


class RealFiles:
    """`Files` of the machine."""

    def read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return _readable_part(path)

    def names(self, folder: Path) -> list[str]:
        return sorted(os.listdir(folder))

    def overwrite(self, path: Path, data: bytes) -> None:
        descriptor = _private(str(path), os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)

    def append_to(self, path: Path, *, size: int) -> Appender:
        return _OpenFile(path, size)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def fsync_folder(self, path: Path) -> None:
        durable.fsync_folder(path)
