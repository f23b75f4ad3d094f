"""Measures commands per second and CPU per command, after a warm-up that does not count."""

from pathlib import Path

from bench.runs import Measured, Run, Stopwatch, timing
from bench.workload import FourTasks, NoTasks, drive, opened
from interlock import Command

WARM_UP_S = 3.0
#: of the warm-up, which its time ends
COMMANDS_MAX = 100_000

PROMISES = (
    "each command accepted, its tasks named and its end decided in durable transactions; locks, steps, events; a "
    "crash anywhere leads to one true end"
)
NO_TASKS_PROMISES = "the same; what a command costs before it does anything, its end stored with its acceptance"


async def measure(folder: Path, commands: int, runs: int) -> list[Measured]:
    """The command with four tasks, and (in shorter runs) the one without any; each in a database of its own."""
    return [
        Measured("interlock, 4 tasks", PROMISES, await _runs(folder / "four.db", FourTasks, commands, runs)),
        Measured(
            "interlock, 0 tasks", NO_TASKS_PROMISES, await _runs(folder / "none.db", NoTasks, commands // 3, runs)
        ),
    ]


async def _runs(database: Path, command: type[Command[int]], commands: int, runs: int) -> tuple[Run, ...]:
    watch = Stopwatch()
    async with opened(database) as coordinator:
        await drive(coordinator, COMMANDS_MAX, seconds_max=WARM_UP_S, command=command)
        for _ in range(runs):
            with timing(watch):
                watch.commands = await drive(coordinator, commands, command=command)
    return tuple(watch.runs)
