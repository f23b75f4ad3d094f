"""Child processes that outlive the agent, and that a later agent finds again by their job folders."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from interlock import failpoints
from interlock.agent import durable

#: Runs the command under the job's lock and writes its exit status last. Data comes in as arguments only.
#: Whoever holds the lock may judge: a shim that finds the mark `dead` was judged before it began, and exits.
_SHIM = """
job=$1; shift
exec 9>>"$job/lock" || exit 125
flock 9 || exit 125
[ -e "$job/dead" ] && exit 125
"$@" </dev/null >"$job/out" 2>"$job/err" &
child=$!
read -r line <"/proc/$child/stat" && printf '%s\\n' "$line" >"$job/stat.new" && mv "$job/stat.new" "$job/stat"
wait "$child"
printf '%s\\n' "$?" >"$job/rc.new" && mv "$job/rc.new" "$job/rc"
"""
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
_ERROR_BYTES_MAX = 2000


class Fate(Enum):
    """What has become of a child."""

    #: It runs, or is about to.
    RUNNING = "running"
    #: It ended and its exit status is known.
    ENDED = "ended"
    #: It ended without an exit status: killed with its shim, or the machine went down.
    DIED = "died"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A child's fate, and its exit status if it has one."""

    fate: Fate
    exit_status: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for another one: number, start time in clock ticks, boot."""

    pid: int
    start_time: int
    boot_id: str


class Child:
    """One job folder and the process behind it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes] | None) -> None:
        self.folder = folder
        #: The shim, if this very agent started it.
        self._process = process

    def judge(self) -> Verdict:
        """What has become of the child. "Died" is said only under the job's lock, and is final."""
        with _lock(self.folder / "lock") as is_ours:
            if not is_ours:
                return Verdict(Fate.RUNNING)
            status = self._exit_status()
            if status is not None:
                self._reap()
                return Verdict(Fate.ENDED, status)
            if self._process is not None and self._process.poll() is None:
                return Verdict(Fate.RUNNING)  # our own shim, which has not taken the lock yet
            _mark_dead(self.folder)
            return Verdict(Fate.DIED)

    def forbid_start(self) -> None:
        """A shim that has not begun will not begin any more."""
        _mark_dead(self.folder)

    def kill(self) -> None:
        """Kills the command, if its process is known by now; call again until `judge` is content."""
        who = self.identity()
        if who is None or who.boot_id != _boot_id():
            return
        try:
            descriptor = os.pidfd_open(who.pid)
        except ProcessLookupError:
            return
        try:
            if _start_time(who.pid) == who.start_time:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)

    def identity(self) -> ProcessId | None:
        """The command's process, once the shim has told."""
        line = _read(self.folder / "stat")
        if not line:
            return None
        return ProcessId(int(line.split(b" ", 1)[0]), _start_time_in(line), _read(self.folder / "boot_id").decode())

    def is_running(self) -> bool:
        """Whether the command's process is there at the moment; only looks, and judges nothing."""
        who = self.identity()
        return who is not None and who.boot_id == _boot_id() and _start_time(who.pid) == who.start_time

    def output(self) -> bytes:
        """The last of what the command printed."""
        return _tail(self.folder / "out")

    def error_text(self) -> str:
        """The last of what the command complained about, on one line."""
        return " ".join(_tail(self.folder / "err").decode(errors="replace").split())

    def _exit_status(self) -> int | None:
        text = _read(self.folder / "rc").strip()
        return int(text) if text.isdigit() else None

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()


class Children:
    """The job folders of one agent: a folder for each task, and in it one for each of its children."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, task_id: str, name: str, command: Sequence[str]) -> Child:
        """Starts a command as the task's child of that name, in its own session. Raises OSError."""
        folder = self._folder / task_id / name
        for each in (self._folder, folder.parent, folder):
            durable.make_folder(each, mode=0o700)
        with failpoints.around("agent_write"):
            (folder / "boot_id").write_text(_boot_id())
        durable.write_whole(folder / "command", json.dumps(list(command)).encode())
        with failpoints.around("agent_spawn"):
            self._own[folder] = subprocess.Popen(
                ["/bin/sh", "-c", _SHIM, "interlock-job", str(folder), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=_ENVIRONMENT,
                cwd="/",
            )
        return Child(folder, self._own[folder])

    def find(self, task_id: str, name: str) -> Child | None:
        """The task's child of that name, whoever started it; None if none was ever started."""
        folder = self._folder / task_id / name
        return Child(folder, self._own.get(folder)) if folder.is_dir() else None

    def of(self, task_id: str) -> list[Child]:
        """All children of a task."""
        try:
            found = sorted((self._folder / task_id).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [Child(each, self._own.get(each)) for each in found]

    def forget(self, task_id: str) -> None:
        """Removes what the children of a task have left; not while one runs, which a later agent has to find."""
        children = self.of(task_id)
        if any(child.is_running() for child in children):
            return
        for child in children:
            process = self._own.pop(child.folder, None)
            if process is not None:
                process.wait()
        shutil.rmtree(self._folder / task_id, ignore_errors=True)

    def names(self) -> list[str]:
        """The tasks that have a job folder."""
        return sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Takes a job's lock if nobody has it, and says whether it did."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _mark_dead(folder: Path) -> None:
    if not (folder / "dead").exists():
        durable.write_whole(folder / "dead", b"")


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> int | None:
    line = _read(Path(f"/proc/{pid}/stat"))
    return _start_time_in(line) if line else None


def _start_time_in(line: bytes) -> int:
    # The name in parentheses may hold anything; the 22nd field is the 20th after it.
    return int(line.rsplit(b")", 1)[1].split()[19])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _ERROR_BYTES_MAX))
            return file.read()
    except FileNotFoundError:
        return b""
