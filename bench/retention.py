"""`python -m bench.retention`: how long submissions wait while 100,000 ended jobs are removed."""

import argparse
import asyncio
import logging
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Table

from bench.workload import CATALOG, FourTasks, NoTasks
from interlock import Coordinator, logs
from interlock.store.erasing import PARTS
from interlock.store.types import Id
from interlock.testing.postgres import PostgresServer

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
    parser.add_argument("--only", choices=("sqlite", "postgresql"), default="sqlite", help="the database (sqlite)")
    arguments = parser.parse_args()
    logs.configure(json_lines=False, level=logging.WARNING)
    with _sqlite(arguments.folder) if arguments.only == "sqlite" else _postgresql() as (url, multiply):
        async with Coordinator.open(url, CATALOG) as coordinator:
            job = await coordinator.submit(FourTasks())
            await job.result()
        print(f"{arguments.only}: {arguments.jobs} ended jobs, {multiply(arguments.jobs)} rows")
        async with Coordinator.open(url, CATALOG) as coordinator:
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


@contextmanager
def _sqlite(folder: Path | None) -> Iterator[tuple[str, Callable[[int], int]]]:
    with tempfile.TemporaryDirectory(prefix="interlock-bench-", dir=folder) as scratch:
        file = Path(scratch) / "state.db"

        def multiply(many: int) -> int:
            with closing(sqlite3.connect(file)) as connection, connection:
                written = 0
                for table, names in _tables():
                    rows = connection.execute(f'SELECT {names} FROM "{table.name}"').fetchall()
                    marks = ", ".join("?" * len(_columns(table)))
                    insert = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})'
                    connection.executemany(insert, _copies(table, rows, many))
                    written += len(rows) * many
                connection.execute("ANALYZE")
            return written

        yield f"sqlite:///{file}", multiply


@contextmanager
def _postgresql() -> Iterator[tuple[str, Callable[[int], int]]]:
    server = PostgresServer("autovacuum=on", "shared_buffers=512MB")
    server.start()

    def multiply(many: int) -> int:
        written = 0
        with psycopg.connect(server.url("retention", "root_of_all"), autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            for table, names in _tables():
                rows = connection.execute(f'SELECT {names} FROM "{table.name}"').fetchall()
                with connection.cursor().copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
                    for row in _copies(table, rows, many):
                        copy.write_row(row)
                written += len(rows) * many
            connection.execute("VACUUM ANALYZE")
        return written

    try:
        yield server.create("retention"), multiply
    finally:
        server.remove()


def _tables() -> Iterator[tuple[Table, str]]:
    """The tables of what belongs to a job, jobs first, and the columns that are not numbered by the database."""
    for part in reversed(PARTS):
        yield part.table, ", ".join(f'"{column.name}"' for column in _columns(part.table))


def _columns(table: Table) -> list[Any]:
    return [column for column in table.columns if not (column.primary_key and column.autoincrement is True)]


def _copies(table: Table, rows: list[Any], many: int) -> Iterator[list[Any]]:
    """The rows so many times, with ids of their own each time and as if long ago."""
    ids = [isinstance(column.type, Id) for column in _columns(table)]
    times = [column.name.endswith("_at") or column.name == "at" for column in _columns(table)]
    for number in range(1, many + 1):
        for row in rows:
            yield [
                value if value is None
                else _copied(value, number) if is_id
                else value - AGE_US + number if is_time
                else value
                for value, is_id, is_time in zip(row, ids, times, strict=True)
            ]  # fmt: skip


def _copied(id: bytes | UUID, number: int) -> bytes | UUID:
    prefix = number.to_bytes(4, "big")
    return UUID(bytes=prefix + id.bytes[4:]) if isinstance(id, UUID) else prefix + id[4:]


if __name__ == "__main__":
    asyncio.run(main())
