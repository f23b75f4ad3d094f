"""Where the time goes: CPU and waiting by part, exact, from clocks at the borders between the parts.

Each thread's own CPU clock is read where a call crosses into another part; what a thread uses outside all
borders goes to the part that the thread itself stands for. Nothing is sampled, and little is slowed down.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect

from bench.workload import drive, opened
from interlock.coordinator import writer
from interlock.coordinator.runner import Runner

PHASES = "accept, phases, decide"
CHANGES = "change set built"
FLUSH = "flush: rows, statements"
SQL_WRITES = "SQLite: writes"
SQL_READS = "SQLite: reads"
COMMIT = "SQLite: commit, fsync"
WRITER = "writer: batches, checks"
WORKER = "workers: hand-over"
LOOP = "event loop: intake, tasks, wake-ups"
WHOLE_THREADS = (WRITER, WORKER, LOOP)
PARTS = (PHASES, CHANGES, FLUSH, SQL_WRITES, SQL_READS, COMMIT, WRITER, WORKER, LOOP)

#: whose calls are borders, and into which part
BORDERS: tuple[tuple[Any, str, str], ...] = (
    (Runner, "accept", PHASES),
    (Runner, "take", PHASES),
    (Runner, "change_set", CHANGES),
    (writer, "flush", FLUSH),
    (DefaultDialect, "do_commit", COMMIT),
)


@dataclass(frozen=True)
class Part:
    """Of one command: CPU, and time passed (which includes waiting for the disk and for the interpreter)."""

    name: str
    cpu_ms: float
    share: float
    #: None for what a whole thread does: its time passes in waiting for work
    passed_ms: float | None


@dataclass(frozen=True)
class Parts:
    """All parts, of a run that is a little slower for being watched. `cpu_ms` is the whole process's."""

    commands: int
    per_s: float
    cpu_ms: float
    parts: tuple[Part, ...]


class _Thread:
    """The clocks of one thread; nobody else touches them while it runs."""

    def __init__(self) -> None:
        self.owner = _of_thread(threading.current_thread().name)
        self.part: str | None = None
        self.cpu: defaultdict[str | None, float] = defaultdict(float)
        self.passed: defaultdict[str | None, float] = defaultdict(float)
        self._cpu_s, self._passed_s = time.thread_time(), time.perf_counter()

    def enter(self, part: str | None) -> str | None:
        """Charges the part so far, goes over to the other; returns the former."""
        cpu_s, passed_s, former = time.thread_time(), time.perf_counter(), self.part
        self.cpu[former] += cpu_s - self._cpu_s
        self.passed[former] += passed_s - self._passed_s
        self._cpu_s, self._passed_s, self.part = cpu_s, passed_s, part
        return former


class _Ledger:
    def __init__(self) -> None:
        self._local = threading.local()
        self.threads: list[_Thread] = []

    def thread(self) -> _Thread:
        found: _Thread | None = getattr(self._local, "thread", None)
        if found is None:
            found = self._local.thread = _Thread()
            self.threads.append(found)
        return found

    def bordered(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def crossing(*args: Any, **named: Any) -> Any:
            thread = self.thread()
            former = thread.enter(part)
            try:
                return function(*args, **named)
            finally:
                thread.enter(former)

        return crossing

    def before(
        self, _connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        former = self.thread().enter(SQL_READS if statement.startswith("SELECT") else SQL_WRITES)
        context.bench_former = former

    def after(
        self, _connection: Connection, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        self.thread().enter(context.bench_former)


@contextmanager
def _borders() -> Iterator[_Ledger]:
    """Watches the borders within the block; the classes are as before after it."""
    ledger, originals = _Ledger(), [getattr(owner, name) for owner, name, _ in BORDERS]
    for (owner, name, part), original in zip(BORDERS, originals, strict=True):
        setattr(owner, name, ledger.bordered(original, part))
    event.listen(Engine, "before_cursor_execute", ledger.before)
    event.listen(Engine, "after_cursor_execute", ledger.after)
    try:
        yield ledger
    finally:
        event.remove(Engine, "before_cursor_execute", ledger.before)
        event.remove(Engine, "after_cursor_execute", ledger.after)
        for (owner, name, _), original in zip(BORDERS, originals, strict=True):
            setattr(owner, name, original)


def _of_thread(name: str) -> str:
    if name == "interlock-writer":
        return WRITER
    return WORKER if name.startswith("interlock-worker") else LOOP


def _cpu_by_thread() -> dict[str, float]:
    """CPU seconds so far of the threads that stand for a part."""
    found: defaultdict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.ident is not None:
            found[_of_thread(thread.name)] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return found


async def measure(folder: Path, commands: int) -> Parts:
    """One run of that many commands, after a quarter as many that do not count."""
    async with opened(folder / "parts.db") as coordinator:
        await drive(coordinator, commands // 4)
        with _borders() as ledger:
            threads, cpu_s, wall_s = _cpu_by_thread(), time.process_time(), time.perf_counter()
            done = await drive(coordinator, commands)
            wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
            used = {part: now - threads.get(part, 0.0) for part, now in _cpu_by_thread().items()}
    return _summed(ledger, used, done, wall_s, cpu_s)


def _summed(ledger: _Ledger, used: dict[str, float], commands: int, wall_s: float, cpu_s: float) -> Parts:
    cpu, passed = defaultdict(float, used), defaultdict[str, float](float)
    for thread in ledger.threads:
        for part, within_s in thread.cpu.items():
            if part is not None:
                cpu[part] += within_s
                cpu[thread.owner] -= within_s
                passed[part] += thread.passed[part]
    parts = tuple(
        Part(part, cpu[part] / commands * 1e3, cpu[part] / cpu_s,
             None if part in WHOLE_THREADS else passed[part] / commands * 1e3)
        for part in PARTS
    )  # fmt: skip
    return Parts(commands, commands / wall_s, cpu_s / commands * 1e3, parts)
