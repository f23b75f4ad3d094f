"""One timed run, and how several of them are summed up."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Run:
    """What a run did and took. `cpu_s` is the time of this process on all its threads, user and system."""

    commands: int
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.commands / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per command."""
        return self.cpu_s / self.commands * 1e3


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the greatest of several runs."""

    least: float
    median: float
    most: float


@dataclass(frozen=True)
class Measured:
    """Runs of one thing, and what it promises: without that no two figures can be compared."""

    name: str
    promises: str
    runs: tuple[Run, ...]
    #: why it was not measured; then there are no runs
    skipped: str | None = None

    def spread(self, of: Callable[[Run], float]) -> Spread:
        """Of at least one run."""
        values = [of(run) for run in self.runs]
        return Spread(min(values), statistics.median(values), max(values))


@dataclass
class Stopwatch:
    """Filled in by `timing`; `commands` is told by whoever is timed."""

    commands: int = 0
    runs: list[Run] = field(default_factory=list)


@contextmanager
def timing(watch: Stopwatch) -> Iterator[None]:
    """Times the block as one run of `watch.commands` commands, to be set within it."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    watch.runs.append(Run(watch.commands, time.perf_counter() - wall, time.process_time() - cpu))
