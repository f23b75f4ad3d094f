"""`python -m bench.million`: the commonest questions, asked of a database of a million jobs, on both databases."""

import argparse
import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from bench import many_jobs
from bench.report import table
from interlock.clock import SystemClock
from interlock.model.records import JobRecord
from interlock.model.refs import Ref
from interlock.store.database import Database
from interlock.store.tables import job as job_table
from interlock.testing.postgres import PostgresServer
from interlock.views import changed, job, jobs, loading
from interlock.views.search import commands, entities, events, searching, steps
from interlock.views.search import jobs as found_jobs
from interlock.views.search.sources import Collection
from interlock.views.words import Json

#: how often each is asked, after once to warm up; and how long it may take in the median
TIMES, MS_MAX = 21, 50.0
TYPES = ("disk", "host", "vm")

Question = Callable[[Connection], Json | list[Json] | None]


@dataclass(frozen=True)
class Took:
    """How long a question took, in milliseconds, and how many rows it found."""

    name: str
    rows: int
    median: float
    worst: float


def questions(now: int, some_job: JobRecord, last_change: int) -> list[tuple[str, Question]]:
    """The questions, by the text that people type or by what they ask the API."""

    def search(collection: Collection, query: str) -> tuple[str, Question]:
        asked = searching.Search(collection, query, TYPES, now)
        return f"{collection.name}: {query or '(all)'}", lambda connection: searching.page(connection, asked)

    def second_page(query: str) -> tuple[str, Question]:
        asked = searching.Search(found_jobs.JOBS, query, TYPES, now)
        cursors: list[str] = []

        def ask(connection: Connection) -> Json:
            if not cursors:
                cursors.append(searching.page(connection, asked)["next"])
            return searching.page(connection, asked, after=cursors[0])

        return f"jobs: {query}, second page", ask

    every, log = found_jobs.JOBS, events.EVENTS
    vm = some_job.refs[0]
    return [
        ("the newest page, as it was listed before", lambda connection: jobs.page(connection)),
        search(every, ""),
        search(every, "status = failed"),
        search(every, "status = failed and started = today"),
        search(every, "status = aborted and action = vm.add"),
        search(every, "status in (pending, started)"),
        search(every, "attention is set"),
        search(every, "user = user7"),
        search(every, 'action = vm.migrate and started > "2 hours ago"'),
        search(every, "vm.name = web1"),
        search(every, "vm.name = web12*"),
        search(every, "web12"),
        search(every, 'status = failed and vm.name = web* and started > "7 days ago" sortby started desc'),
        search(every, f"correlation_id = {some_job.correlation_id}"),
        search(every, "host = h7"),
        search(every, "host = h7 and result = failed"),
        search(every, "user = user7 and title = *db*"),
        search(every, "ended >= yesterday sortby ended desc"),
        search(every, "duration > 10m and user = nightly"),
        search(every, "not status = finished and not user = nightly"),
        search(every, "user = user7 and priority > 5"),
        second_page("status = failed"),
        search(log, ""),
        search(log, "kind = task_stalled"),
        search(log, "severity = error and at > yesterday"),
        search(log, f"job = {some_job.id}"),
        search(steps.STEPS, "status = failed"),
        search(commands.COMMANDS, "result = failed and name = vm.add"),
        search(entities.of_type("vm"), "name = web1*"),
        ("one job, whole", lambda connection: job.one(connection, some_job.id)),
        ("the newest jobs of an entity", lambda connection: jobs.touching(connection, Ref("vm", vm.id))),
        ("jobs, modified since", lambda connection: changed.jobs(connection, changed.cursor_at(last_change - 100))),
        ("events of all jobs, after", lambda connection: changed.events(connection, 1_000)),
    ]


def measure(database: Database, now: int, number: int) -> list[Took]:
    """Asks each question as the API does: on a connection of its own, from parsing to JSON."""
    with database.reading() as connection:
        (some_job,) = loading.records(connection, JobRecord, job_table.c.change_no == number // 2)
    gc.collect()
    gc.freeze()  # what filling has left is not what a server would have to look through
    took = []
    for name, question in questions(now, some_job, number):
        times = []
        for _ in range(TIMES + 1):
            began = time.perf_counter()
            with database.reading() as connection:
                answer = question(connection)
            times.append((time.perf_counter() - began) * 1e3)
        took.append(Took(name, _count(answer), statistics.median(times[1:]), max(times[1:])))
    return took


def _count(answer: object) -> int:
    if isinstance(answer, dict):
        return max((len(each) for each in answer.values() if isinstance(each, list)), default=0)
    return len(answer) if isinstance(answer, list) else 0


def main() -> int:
    """Builds, asks and prints; 1 where an answer takes too long in the median, which other work disturbs little."""
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, metavar="N", help="jobs (1000000)")
    parser.add_argument("--only", choices=("sqlite", "postgresql"), help="only this database")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="the SQLite file's folder; it is kept, and used again"
    )
    arguments = parser.parse_args()
    site = many_jobs.Site(SystemClock().now_us(), arguments.jobs, random.Random(1))
    slow: list[str] = []
    for name, made in (("sqlite", _sqlite), ("postgresql", _postgresql)):
        if arguments.only in (None, name):
            with made(site, arguments.folder) as database:
                slow += _show(name, measure(database, site.now, site.jobs), site.jobs)
    for line in slow:
        print(line, file=sys.stderr)
    return 1 if slow else 0


def _show(name: str, took: list[Took], count: int) -> list[str]:
    rows = [("", "rows", "median ms", "worst ms")]
    rows += [(each.name, str(each.rows), f"{each.median:.1f}", f"{each.worst:.1f}") for each in took]
    print(f"{name}, {count:,} jobs; {TIMES} times each\n{table(rows)}\n", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}; slower than {MS_MAX:g} ms at its worst: {_slowest(took)}\n", flush=True)
    return [f"{name}: {each.name} took {each.median:.0f} ms" for each in took if each.median >= MS_MAX]


def _slowest(took: list[Took]) -> str:
    return "; ".join(each.name for each in took if each.worst >= MS_MAX) or "none"


@contextmanager
def _sqlite(site: many_jobs.Site, folder: Path | None) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="interlock-million-") as scratch:
        path = (folder or Path(scratch)) / f"million-{site.jobs}.db"
        is_new = not path.exists()
        with Database.open(f"sqlite:///{path}") as database:
            if is_new:
                with _timed(f"filling {path.name}"):
                    many_jobs.fill_sqlite(path, site, database.writer().dialect)
                print(f"{os.path.getsize(path) / 1e9:.1f} GB", file=sys.stderr)
            yield database


@contextmanager
def _postgresql(site: many_jobs.Site, _folder: Path | None) -> Iterator[Database]:
    server = PostgresServer()
    server.start()
    try:
        url = server.create("million")
        with Database.open(url) as database:
            with _timed("filling PostgreSQL"):
                many_jobs.fill_postgresql(server.url("million", "root_of_all"), site, database.writer().dialect)
            yield database
    finally:
        server.remove()


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what} took {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
