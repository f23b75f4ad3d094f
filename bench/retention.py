"""`python -m bench.retention`: how long submissions wait while 100,000 ended jobs are removed."""

import argparse
import asyncio
import logging
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.workload import FourTasks, NoTasks, opened
from interlock import Coordinator, logs
from interlock.store.erasing import PARTS
from interlock.store.types import Id

#: how old the jobs are that are to go
AGE_US = 8 * 86_400 * 1_000_000
#: between two submissions
PAUSE_S = 0.005


async def main() -> None:
    """Builds the database, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.retention", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, metavar="N", help="ended jobs (100000)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="measure on the disk that holds DIR")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="removing for so long (120)")
    arguments = parser.parse_args()
    logs.configure(json_lines=False, level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="interlock-bench-", dir=arguments.folder) as folder:
        file = Path(folder) / "state.db"
        async with opened(file) as coordinator:
            job = await coordinator.submit(FourTasks())
            await job.result()
        rows = _multiply(file, job.id, arguments.jobs)
        print(f"{arguments.jobs} ended jobs, {rows} rows, {file.stat().st_size / 1e6:.0f} MB")
        async with opened(file) as coordinator:
            await _measured(coordinator, asyncio.sleep(1))  # what is loaded late is loaded
            began = time.perf_counter()
            removing = asyncio.ensure_future(coordinator.clean(limit_s=arguments.seconds))
            beside = await _measured(coordinator, removing)
            took_s, removed = time.perf_counter() - began, removing.result().removed
            print(f"removed {removed} jobs in {took_s:.0f} s ({removed / took_s:.0f} a second)")
            print(f"while removing: {_words(beside)}")
            alone = await _measured(coordinator, asyncio.sleep(took_s))
            print(f"alone:          {_words(alone)}")
            print(f"the longest wait was {(max(beside) - max(alone)) * 1e3:+.0f} ms; at most +100 ms are promised")


async def _measured(coordinator: Coordinator, meanwhile: Any) -> list[float]:
    """How many seconds each submission took, one after the other, until that is over."""
    over, took = asyncio.ensure_future(meanwhile), list[float]()
    while not over.done():
        began = time.perf_counter()
        await coordinator.submit(NoTasks())
        took.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_S)
    return took


def _words(took: list[float]) -> str:
    cuts = statistics.quantiles(took, n=1000)
    middle, most, nearly_all = (cuts[place] * 1e3 for place in (499, 989, 998))
    longest = f"median {middle:.1f}, 99% {most:.1f}, 99.9% {nearly_all:.1f}, longest {max(took) * 1e3:.1f} ms"
    return f"{len(took)} submissions: {longest}"


def _multiply(file: Path, job: UUID, many: int) -> int:
    """Writes the job so many times, with ids of its own each time and as if long ago; how many rows that were."""
    with closing(sqlite3.connect(file)) as connection, connection:
        written = 0
        for part in reversed(PARTS):
            columns = [
                column for column in part.table.columns if not (column.primary_key and column.autoincrement is True)
            ]
            names = ", ".join(f'"{column.name}"' for column in columns)
            rows = connection.execute(f'SELECT {names} FROM "{part.table.name}"').fetchall()
            kinds = [isinstance(column.type, Id) for column in columns]
            times = [column.name.endswith("_at") or column.name == "at" for column in columns]
            marks = ", ".join("?" * len(columns))
            insert = f'INSERT INTO "{part.table.name}" ({names}) VALUES ({marks})'
            connection.executemany(insert, _copies(rows, kinds, times, many))
            written += len(rows) * many
        connection.execute("ANALYZE")
    return written


def _copies(rows: list[Any], ids: list[bool], times: list[bool], many: int) -> Iterator[list[Any]]:
    for number in range(1, many + 1):
        prefix = number.to_bytes(4, "big")
        for row in rows:
            yield [
                value if value is None
                else prefix + value[4:] if is_id
                else value - AGE_US + number if is_time
                else value
                for value, is_id, is_time in zip(row, ids, times, strict=True)
            ]  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
