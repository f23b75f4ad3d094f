"""Unix-domain sockets: for this machine only, and for one user only."""

import contextlib
import os
import socket
import stat
import struct
from pathlib import Path

#: struct ucred: pid, uid, gid
_CREDENTIALS = struct.Struct("=iII")


class SocketFile:
    """A bound socket and its file, mode 0600; nobody gets in before somebody listens on it."""

    def __init__(self, path: Path) -> None:
        """Bind; the file of a process that is gone is replaced.

        Raises OSError: FileExistsError where something else has that name, or where somebody listens.
        """
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_stale(path)
            self.socket.bind(os.fspath(path))
            path.chmod(0o600)
            self._identity = _identity(path)
        except BaseException:
            self.socket.close()
            raise

    def remove(self) -> None:
        """Remove the file, unless it is somebody else's by now."""
        with contextlib.suppress(FileNotFoundError):
            if _identity(self.path) == self._identity:
                self.path.unlink()


def peer_uid(sock: socket.socket) -> int | None:
    """The user who connected, as the kernel says; None where the socket is no Unix-domain one."""
    if sock.family != socket.AF_UNIX:
        return None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid


def _remove_stale(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(f"{path} is no socket; move it away, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is somebody's too
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise FileExistsError(f"somebody listens on {path} already; end that process, or choose another path")


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
