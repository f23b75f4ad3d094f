"""Measures commands per second and CPU per command, after a warm-up that does not count."""

from pathlib import Path

from bench.runs import Measured, Stopwatch, timing
from bench.workload import FourTasks, NoTasks, drive, opened
from interlock import Command

WARM_UP_S = 3.0

PROMISES = (
    "each command accepted, its tasks named and its end decided in durable transactions; locks, "
    "steps, events; a crash anywhere leads to one true end"
)


async def measure(folder: Path, commands: int, runs: int) -> list[Measured]:
    """The command with four tasks, and the one without any; each in a database of its own."""
    cases: list[tuple[str, type[Command[int]]]] = [("interlock, 4 tasks", FourTasks), ("interlock, 0 tasks", NoTasks)]
    return [await _measure(folder / f"{command.__name__}.db", name, command, commands, runs) for name, command in cases]


async def _measure(database: Path, name: str, command: type[Command[int]], commands: int, runs: int) -> Measured:
    watch = Stopwatch()
    async with opened(database) as coordinator:
        await drive(coordinator, 1_000_000, seconds_max=WARM_UP_S, command=command)
        for _ in range(runs):
            with timing(watch):
                watch.commands = await drive(coordinator, commands, command=command)
    return Measured(name, PROMISES, tuple(watch.runs))
