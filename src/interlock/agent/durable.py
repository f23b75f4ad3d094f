"""Writing that survives a power cut: fsync of files and of the folders that name them."""

from __future__ import annotations

import os
from pathlib import Path


class FsyncFailed(Exception):
    """The kernel could not make something durable. What the disk holds is not known: the agent must end."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"fsync of {path} failed: {error.strerror}; the agent ends, check the disk")


def fsync_file(path: Path) -> None:
    """Makes a file's contents durable. Raises `FsyncFailed`."""
    _fsync(path, os.O_RDONLY)


def fsync_folder(path: Path) -> None:
    """Makes a folder's entries durable. Raises `FsyncFailed`."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise FsyncFailed(path, error) from error
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes, *, mode: int = 0o640) -> None:
    """Puts `data` at `path`, durably: after a crash there is the former file or the new one."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fsync_file(aside)
    os.rename(aside, path)
    fsync_folder(path.parent)


def make_folder(path: Path, *, mode: int = 0o750) -> None:
    """Makes a folder in an existing one, durably; an existing folder is fine."""
    path.mkdir(mode=mode, exist_ok=True)
    fsync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Removes a file, durably; an absent file, or an absent folder, is fine."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        fsync_folder(path.parent)
