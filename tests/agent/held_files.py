"""Files whose fsyncs take as long as a test wants, so that it can act while an answer is not durable yet."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from interlock.agent.journal.files import Appender, RealFiles
from tests.agent.asked import WAIT_S


class HeldFiles(RealFiles):
    """`hold`, and no fsync of a growing file ends until `let_go`."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()
        self._waits = threading.Event()

    def hold(self) -> None:
        self._waits.clear()
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def waits(self) -> None:
        """Returns when an fsync is held, and everybody else has gone as far as they can."""
        assert await asyncio.to_thread(self._waits.wait, WAIT_S)
        await settled()

    def append_to(self, path: Path, *, size: int) -> Appender:
        return _HeldAppender(super().append_to(path, size=size), self)

    def pass_through(self) -> None:
        if not self._free.is_set():
            self._waits.set()
            assert self._free.wait(WAIT_S)


class _HeldAppender:
    def __init__(self, file: Appender, files: HeldFiles) -> None:
        self.write, self.close = file.write, file.close
        self._file, self._files = file, files

    def fsync(self) -> None:
        self._files.pass_through()
        self._file.fsync()


async def settled() -> None:
    """Returns when whoever waits for nothing but the event loop has had its turns."""
    for _ in range(50):
        await asyncio.sleep(0)
