"""Runs the peers, each in a process of its own: they take over signals and leave threads behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from bench.runs import Measured, Run

TIMEOUT_S = 25.0


@dataclass(frozen=True)
class Peer:
    """Another library, measured on the same work as nearly as it can do it."""

    #: its name on PyPI and when imported
    library: str
    name: str
    promises: str
    #: the module of ours that drives it
    module: str


PEERS = (
    Peer(
        "huey",
        "huey (SqliteHuey, fsync, WAL)",
        "a queue: each task and each result is durable, but a task taken by a worker that dies is gone; four tasks "
        "are not one command: no common end, no undo, no locks, no steps",
        "bench.peer_huey",
    ),
    Peer(
        "dbos",
        "DBOS (SQLite, WAL)",
        "a durable workflow: input, each step's answer and the end are stored; steps run at least once, an "
        "interrupted workflow runs again from its start; no locks, undo or entities; its makers advise PostgreSQL "
        "for production",
        "bench.peer_dbos",
    ),
)


def measure(peer: Peer, folder: Path, commands: int, runs: int) -> Measured:
    """Skipped, with the reason, where it is not installed or does not get done."""
    skipped = Measured(peer.name, peer.promises, ())
    if find_spec(peer.library) is None:
        return replace(skipped, skipped=f"not installed; pip install {peer.library}")
    program = [sys.executable, "-m", peer.module, str(folder), str(commands), str(runs)]
    try:
        ran = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return replace(skipped, skipped=f"not done after {TIMEOUT_S:.0f} s")
    if ran.returncode:
        return replace(skipped, skipped=(ran.stderr.strip().splitlines() or ["it failed and said nothing"])[-1])
    return replace(skipped, runs=tuple(Run(**run) for run in json.loads(ran.stdout.splitlines()[-1])))


def serve(drive: Callable[[Path, int, int], list[Run]]) -> None:
    """The main of a peer's module: runs it as the command line says, prints the runs."""
    runs = drive(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps([asdict(run) for run in runs]))
