"""Drives DBOS Transact on SQLite, durable workflows: one workflow with four steps at once per command."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from bench.peers import serve
from bench.runs import Run, Stopwatch, timing
from bench.workload import ANSWER, TASKS

#: more under way only wait for SQLite's lock
UNDER_WAY = 16


def run(folder: Path, commands: int, runs: int) -> list[Run]:
    """Timed runs of that many workflows."""
    return asyncio.run(_run(folder / "dbos.db", commands, runs))


async def _run(file: Path, commands: int, runs: int) -> list[Run]:
    import dbos  # type: ignore[import-not-found,unused-ignore]  # optional

    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode = WAL").close()  # kept in the file; faster than its own default
    connection.close()
    library: Any = dbos.DBOS
    library(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{file}",
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    step = library.step(name="nothing")(_nothing)

    async def four_steps() -> int:
        await asyncio.gather(*(step() for _ in range(TASKS)))
        return ANSWER

    workflow = library.workflow(name="four_steps")(four_steps)
    library.launch()
    watch = Stopwatch(commands)
    try:
        await _drive(library, workflow, UNDER_WAY)
        for _ in range(runs):
            with timing(watch):
                await _drive(library, workflow, commands)
    finally:
        library.destroy()
    return watch.runs


async def _nothing() -> None:
    """Ends at once."""


async def _drive(library: Any, workflow: Any, commands: int) -> None:
    numbers = iter(range(commands))

    async def lane() -> None:
        for _ in numbers:
            handle = await library.start_workflow_async(workflow)
            if await handle.get_result() != ANSWER:
                raise AssertionError("a workflow of DBOS returned something else; the run is void")

    async with asyncio.TaskGroup() as lanes:
        for _ in range(UNDER_WAY):
            lanes.create_task(lane())


if __name__ == "__main__":
    serve(run)
