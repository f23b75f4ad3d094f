"""Runs the example with the coordinator as a library: `python -m examples.rolling_change`."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from examples.rolling_change import outside, scene
from examples.rolling_change.catalog import CATALOG, AddFleet, RollOut
from examples.rolling_change.entities import Fleet
from interlock import CommandFailed, Coordinator, Ref


async def main(folder: Path, say: Callable[[str], None]) -> None:
    """Rolls out a good release and then one that is too much for the third server; says what it sees."""
    with scene.fleet(folder), scene.Customers(folder) as customers:
        async with Coordinator.open(f"sqlite:///{folder}/state.db", CATALOG) as coordinator:
            add = AddFleet(name="shop", folder=str(folder), servers=scene.SERVERS, release=scene.FIRST_RELEASE)
            fleet = await (await coordinator.submit(add)).result()
            for release, asks in (("v2", True), ("v3", False)):
                say(f"{release} is rolled out:")
                watching = asyncio.create_task(_tell_changes(folder, say))
                said = await _roll_out(coordinator, fleet, release, say if asks else None)
                watching.cancel()
                say(f"{said}; shown are {_summary(folder)}")
    total, failures = sum(customers.answers.values()), len(customers.failures)
    say(f"meanwhile customers asked {total} times, and were not answered {failures} times")


async def _roll_out(
    coordinator: Coordinator, fleet: Ref[Fleet], release: str, say: Callable[[str], None] | None
) -> str:
    """How it ended. With `say` somebody is asked when the canary has it, and agrees."""
    job = await coordinator.submit(RollOut(fleet=fleet, release=release, asks=say is not None))
    if say is not None:
        await _agree(coordinator, job.id, say)
    try:
        await job.result()
    except CommandFailed as error:
        return f"{release} failed: {error.failure.causes[0].message}"
    return f"{release} succeeded"


async def _agree(coordinator: Coordinator, job_id: UUID, say: Callable[[str], None]) -> None:
    """Waits until the job asks, and approves."""
    async with asyncio.timeout(scene.READY_S):
        while not (questions := await coordinator.questions(job_id)):  # noqa: ASYNC110 - they are rows, not events
            await asyncio.sleep(outside.POLL_S)
    say(f"   it asks: {questions[0]['question']} and ann agrees")
    await coordinator.answer(job_id, {"approve": True}, by="ann", holds={"fleet.roll_out"})


async def _tell_changes(folder: Path, say: Callable[[str], None]) -> None:
    """A line for each change that can be seen from outside: the servers' releases; who gets no traffic in brackets."""
    before = ""
    while True:
        used = scene.in_use(folder)
        links = {name: (folder / "servers" / name / "current").readlink().name for name in scene.SERVERS}
        now = " ".join(f" {name} {link} " if name in used else f"({name} {link})" for name, link in links.items())
        if now != before:
            say(f"   {now}")
        before = now
        await asyncio.sleep(outside.POLL_S / 4)


def _summary(folder: Path) -> str:
    shown = scene.shown(folder)
    return ", ".join(f"{name} {release}" for name, release in shown.items())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(Path(temporary), print))
