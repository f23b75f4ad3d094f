"""Counts the fsyncs of a run from outside, with strace where it is installed.

Run as `python -m bench.fsyncs DATABASE COMMANDS` it is the program that is watched: it prints its commits.
"""

import asyncio
import logging
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.workload import drive, opened
from interlock import logs

TIMEOUT_S = 25.0
_CALL = re.compile(r"\bf(?:data)?sync\(")


@dataclass(frozen=True)
class Fsyncs:
    """Of a run under strace, without what opening and closing the database take."""

    commands: int
    commits: int
    fsyncs: int


def measure(folder: Path, commands: int) -> Fsyncs | None:
    """None where there is no strace, or it may not trace."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    idle = _watched(strace, folder / "idle.db", 0)
    busy = _watched(strace, folder / "busy.db", commands)
    if idle is None or busy is None:
        return None
    return Fsyncs(commands, busy[0] - idle[0], busy[1] - idle[1])


def _watched(strace: str, database: Path, commands: int) -> tuple[int, int] | None:
    """Commits and fsyncs of a process that opens the database, runs the commands and closes it."""
    calls = database.with_suffix(".calls")
    program = [sys.executable, "-m", "bench.fsyncs", str(database), str(commands)]
    ran = subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(calls), *program],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if ran.returncode:
        return None
    return int(ran.stdout), len(_CALL.findall(calls.read_text()))


async def _run(database: Path, commands: int) -> int:
    async with opened(database) as coordinator:
        await drive(coordinator, commands)
        return coordinator.commits


if __name__ == "__main__":
    logs.configure(json_lines=False, level=logging.WARNING)
    print(asyncio.run(_run(Path(sys.argv[1]), int(sys.argv[2]))))
