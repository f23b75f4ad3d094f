"""Drives huey on SQLite, a task queue: four tasks per command, and whoever asked waits for their results."""

from pathlib import Path
from typing import Any

from bench.peers import serve
from bench.runs import Run, Stopwatch, timing
from bench.workload import TASKS, UNDER_WAY

WORKERS = 2
RESULT_S_MAX = 30.0
#: how long its idle workers and its waiters look away; its defaults of up to a second would hide its speed
LOOK_S = 0.005


def nothing() -> int:
    """Ends at once; huey forgets results that are None."""
    return 1


def run(folder: Path, commands: int, runs: int) -> list[Run]:
    """Timed runs of that many commands, as many under way as in the measurement of the coordinator."""
    import huey  # type: ignore[import-not-found,unused-ignore]  # optional

    queue: Any = huey.SqliteHuey("bench", filename=str(folder / "huey.db"), fsync=True, journal_mode="wal")
    task = queue.task()(nothing)
    consumer = queue.create_consumer(workers=WORKERS, periodic=False, initial_delay=LOOK_S, max_delay=LOOK_S)
    consumer.start()
    watch = Stopwatch(commands)
    try:
        _drive(task, UNDER_WAY)
        for _ in range(runs):
            with timing(watch):
                _drive(task, commands)
    finally:
        consumer.stop(graceful=True)
    return watch.runs


def _drive(task: Any, commands: int) -> None:
    for start in range(0, commands, UNDER_WAY):
        size = min(UNDER_WAY, commands - start)
        for result in [task() for _ in range(size * TASKS)]:
            if result.get(blocking=True, timeout=RESULT_S_MAX, backoff=1, max_delay=LOOK_S) != 1:
                raise AssertionError("a task of huey returned something else; the run is void")


if __name__ == "__main__":
    serve(run)
