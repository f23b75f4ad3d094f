"""Effects on files that survive a power cut: fsync of files and of the folders that name them.

Whatever changes a storage domain goes through here, so that each change is a place where a test can kill the agent.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from interlock import failpoints

_ZEROS = bytes(1 << 20)


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
        aside = _aside(path)
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            fsync_file(aside)
            os.rename(aside, path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def make_file(path: Path, *, mode: int = 0o640) -> None:
    """Makes an empty file, which whoever fills it makes durable. Raises OSError if there is one."""
    with failpoints.around("agent_write"):
        path.touch(mode=mode, exist_ok=False)


def remove_aside(path: Path) -> None:
    """Removes what an agent that was killed while it wrote the file at `path` has left beside it."""
    if _aside(path).exists():
        remove_file(_aside(path))


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".new")


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


def ensure_renamed(source: Path, target: Path) -> None:
    """The same for a file or folder that may have the other name already; there may be none at all.

    An agent that was killed just after the rename may not have made it durable, so that is done in any case.
    """
    if os.path.lexists(source):
        rename(source, target)
    else:
        for folder in {target.parent, source.parent}:
            fsync_folder(folder)


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


def allocate(path: Path, size_bytes: int) -> None:
    """Takes room on the disk for the first `size_bytes` of a file, which grows to them if it is smaller."""
    with failpoints.around("agent_write"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        finally:
            os.close(descriptor)


def overwrite(path: Path, start: int, size_bytes_max: int) -> int | None:
    """Overwrites with zeros, durably, up to `size_bytes_max` of what a file holds from `start` on.

    Holes stay holes. Returns the place to go on from, None at the end of the file. Raises OSError and `FsyncFailed`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        with failpoints.around("agent_write"):
            position = _next_data(descriptor, start)
            left = size_bytes_max
            while position is not None and left > 0:
                end = min(os.lseek(descriptor, position, os.SEEK_HOLE), position + left)
                left -= end - position
                while position < end:
                    position += os.pwrite(descriptor, _ZEROS[: end - position], position)
                position = _next_data(descriptor, position)
            fsync_file(path)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # nobody will read it: others need the cache
        return position
    finally:
        os.close(descriptor)


def _next_data(descriptor: int, start: int) -> int | None:
    """Where data begins at or after `start`; None if there is none up to the end."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
