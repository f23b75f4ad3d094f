"""Real processes that start quickly: forked from a server that has imported everything already.

For tests that start and kill hundreds of them; what they then run is what the command line runs.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PRELOADED = (
    "interlock.app",
    "interlock.cli",
    "interlock.cli.server_commands",
    "interlock.coordinator.coordinator",
    "interlock.rest.api",
    "interlock.rest.serving",
    "interlock.store.dialects.postgresql",  # passed over where its driver is missing
    "interlock.virt.catalog",
    "interlock.agent.main",
)


class Forked:
    """`interlock <arguments>` in a process of its own; the part of Popen's interface that a site needs."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOADED))
        self._process = context.Process(target=_run, args=(tuple(arguments), str(log), dict(environment)))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(["interlock"], timeout or 0.0)
        return self._process.exitcode


def _run(arguments: tuple[str, ...], log: str, environment: dict[str, str]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from interlock.cli import main

    sys.argv = ["interlock", *arguments]
    main()
