"""The world of the example: a fleet in a folder, its servers as processes, and customers who ask them all the time."""

import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.rolling_change import outside, web_server

SERVERS = ("s1", "s2", "s3", "s4", "s5")
FIRST_RELEASE = "v1"
#: memory of the servers, and what the releases need: v3 is too much for one server
MEMORY_MB = {name: 2048 for name in SERVERS} | {"s3": 1024}
NEEDS_MB = {"v1": 512, "v2": 1024, "v3": 2048, "v4": 1024}
#: the near mirror is late with the second release
MIRRORS = {"near": ("v3", "v4"), "far": ("v2", "v3", "v4")}
READY_S = 20.0


@contextmanager
def fleet(folder: Path) -> Iterator[Path]:
    """The fleet's folder, its servers answering with the first release; they end with the block."""
    _lay_out(folder)
    processes = [_start(folder / "servers" / name) for name in SERVERS]
    try:
        for name in SERVERS:
            _until_well(folder / "servers" / name)
        yield folder
    finally:
        for process in processes:
            process.communicate(timeout=READY_S)  # its standard input ends, and so does it


def _lay_out(folder: Path) -> None:
    for name in SERVERS:
        server = folder / "servers" / name
        server.mkdir(parents=True)
        (server / "memory_mb").write_text(str(MEMORY_MB[name]))
        (server / "current").symlink_to(folder / "releases" / FIRST_RELEASE)
    _write_release(folder / "releases" / FIRST_RELEASE)
    for mirror, releases in MIRRORS.items():
        for release in releases:
            _write_release(folder / "mirrors" / mirror / release)
    (folder / "notices").mkdir()
    (folder / "balancer").write_text("\n".join(SERVERS))


def _write_release(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(f"<h1>{folder.name}</h1>")
    (folder / "needs_mb").write_text(str(NEEDS_MB[folder.name]))


def _start(server: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, web_server.__file__, str(server)], stdin=subprocess.PIPE)


def _until_well(server: Path) -> None:
    until = time.monotonic() + READY_S
    while True:
        try:
            return outside.check_health(str(server), FIRST_RELEASE)
        except (OSError, RuntimeError):
            if time.monotonic() > until:
                raise
            time.sleep(outside.POLL_S)


def shown(folder: Path) -> dict[str, str]:
    """What each server says that it has, asked at its own door."""
    return {name: outside.ask(str(folder / "servers" / name), "/health") for name in SERVERS}


def in_use(folder: Path) -> list[str]:
    """Who gets traffic."""
    return (folder / "balancer").read_text().split()


class Customers:
    """They ask whoever is in the balancer, in turn, until the block ends; what they got is counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_over = threading.Event()
        self._asking = threading.Thread(target=self._ask)
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> "Customers":
        self._asking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._asking.join()

    def _ask(self) -> None:
        for turn in itertools.count():
            if self._is_over.wait(web_server.LOADING_S / 10):
                return
            servers = in_use(self._folder)
            server = servers[turn % len(servers)]
            try:
                self.answers[outside.ask(str(self._folder / "servers" / server), "/")] += 1
            except (OSError, RuntimeError) as failure:
                self.failures.append(f"{server}: {failure}")
