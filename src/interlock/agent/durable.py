"""Effects on files that survive a power cut: fsync of files and of the folders that name them.

Whatever changes a storage domain goes through here, so that each change is a place where a test can kill the agent.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from interlock import failpoints


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
    with failpoints.around("agent_write"):
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
    with failpoints.around("agent_folder"):
        path.mkdir(mode=mode, exist_ok=True)
        fsync_folder(path.parent)


def rename(source: Path, target: Path) -> None:
    """Gives a file or folder another name, durably; a file that had it is replaced."""
    with failpoints.around("agent_rename"):
        os.rename(source, target)
        fsync_folder(target.parent)
        if source.parent != target.parent:
            fsync_folder(source.parent)


def remove_file(path: Path) -> None:
    """Removes a file, durably; an absent file, or an absent folder, is fine."""
    with failpoints.around("agent_remove"):
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            fsync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Removes an empty folder, durably. Raises OSError if something is in it."""
    with failpoints.around("agent_remove"):
        path.rmdir()
        fsync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Removes a folder and all that is in it, durably, following no link; an absent one is fine."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(kind):
        remove_file(path)
        return
    for each in sorted(path.iterdir()):
        remove_tree(each)
    remove_folder(path)
