"""The command that is measured: four async tasks that end at once, and nothing else to hide behind."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from interlock import NOTHING, Catalog, Command, Coordinator, Local, Plan, Tx, local, parallel, part

#: async tasks of one command
TASKS = 4
#: commands under way at once
UNDER_WAY = 256
#: what each command returns; a run that gets anything else is no run
ANSWER = 7
#: a run is cut off after so long, and counts what it has done
RUN_S_MAX = 10.0


class FourTasks(Command[int], name="bench.four_tasks"):
    """Four local functions in parallel, then a result."""

    def execute(self, db: Tx) -> Plan:
        return parallel(*(part(local("bench.nothing")) for _ in range(TASKS)))

    def end_successfully(self, db: Tx) -> int:
        return ANSWER


class NoTasks(Command[int], name="bench.no_tasks"):
    """What a command costs before it does anything."""

    def execute(self, db: Tx) -> Plan:
        return NOTHING

    def end_successfully(self, db: Tx) -> int:
        return ANSWER


async def nothing() -> None:
    """Ends at once."""


CATALOG = Catalog(FourTasks, NoTasks, Local("bench.nothing", nothing, repeatable=True))


@asynccontextmanager
async def opened(database: Path) -> AsyncIterator[Coordinator]:
    """A coordinator with its defaults on a file: WAL, synchronous FULL."""
    async with Coordinator.open(f"sqlite:///{database}", CATALOG) as coordinator:
        yield coordinator


async def drive(
    coordinator: Coordinator,
    commands: int,
    *,
    seconds_max: float = RUN_S_MAX,
    command: type[Command[int]] = FourTasks,
) -> int:
    """Submits commands and waits for each end, 256 under way; returns how many ended by then."""
    numbers, until = count(), time.monotonic() + seconds_max
    done = 0

    async def lane() -> None:
        nonlocal done
        while next(numbers) < commands and time.monotonic() < until:
            job = await coordinator.submit(command())
            answer = await job.result(RUN_S_MAX)
            if answer != ANSWER:
                raise AssertionError(f"job {job.id} returned {answer}, not {ANSWER}; the run is void")
            done += 1

    async with asyncio.TaskGroup() as lanes:
        for _ in range(UNDER_WAY):
            lanes.create_task(lane())
    return done
