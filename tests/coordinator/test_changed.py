"""What has changed since: a client that asks again and again misses nothing that was committed."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from interlock import Command, Coordinator
from interlock.model.errors import Refused
from interlock.views import changed
from interlock.views.words import Json
from tests.coordinator.support import WAIT_S, AddDisk, Call, job, opened
from tests.databases import Scratch


class Follower:
    """Asks for changes, a few at a time, on snapshots of its own."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._since, self._after = "0", 0
        self.jobs: dict[UUID, Json] = {}
        self.numbers: list[int] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and then once more to the end."""
        while not stop.is_set():
            await asyncio.to_thread(self.ask)
            await asyncio.sleep(0)
        while await asyncio.to_thread(self.ask):
            pass

    def ask(self) -> bool:
        """One question for jobs, one for events; whether there was anything new."""
        with self._coordinator.reading() as connection:
            found = changed.jobs(connection, self._since, limit=3)
            told = changed.events(connection, self._after, limit=7)
        self._since, self._after = found["next"], told["next"]
        self.jobs |= {UUID(each["id"]): each for each in found["jobs"]}
        self.numbers += [each["number"] for each in told["events"]]
        return bool(found["jobs"] or told["events"])


async def submit_some(coordinator: Coordinator, count: int) -> None:
    """Jobs that succeed, that fail, and that meet in one batch over one name, so that it is halved."""

    async def one(number: int) -> None:
        name = "same" if number % 3 else f"d{number}"
        wanted: Command[Any] = AddDisk(disk_name=name) if number % 2 else Call(function="broken")
        try:
            submitted = await coordinator.submit(wanted)
            await coordinator.wait_ended(submitted.id, WAIT_S)
        except Refused:
            return

    await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.hard_case(18)
async def test_a_client_misses_no_change_of_any_job(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        follower, stop = Follower(coordinator), asyncio.Event()
        following = asyncio.create_task(follower.run(stop))
        for _ in range(3):
            await submit_some(coordinator, 12)
        stop.set()
        await following
        with coordinator.reading() as connection:
            whole = changed.jobs(connection, "0", limit=500)["jobs"]
        assert len(whole) > 20
        assert {UUID(each["id"]): each for each in whole} == follower.jobs
        numbers = [number for (number,) in scratch.rows("SELECT id FROM audit_log ORDER BY id")]
        assert follower.numbers == numbers


@pytest.mark.hard_case(18)
async def test_numbers_never_go_back(scratch: Scratch) -> None:
    """Not even where the job with the greatest has been deleted before a restart."""
    async with opened(scratch) as coordinator:
        await submit_some(coordinator, 2)
        with coordinator.reading() as connection:
            cursor = changed.jobs(connection, changed.NOW)["next"]
    scratch.rows("UPDATE job SET change_no = 0")
    async with opened(scratch) as coordinator:
        late = await coordinator.submit(AddDisk(disk_name="late"))
        await late.result(WAIT_S)
        with coordinator.reading() as connection:
            found = changed.jobs(connection, cursor)
        assert [each["id"] for each in found["jobs"]] == [str(late.id)]
        assert job(coordinator, late.id).change_no > int(cursor.partition(".")[0])
