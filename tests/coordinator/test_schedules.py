"""Schedules begin their jobs exactly once, whatever crashes, jumps or runs still."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from interlock import (
    Command,
    Coordinator,
    Locks,
    Plan,
    Reader,
    Ref,
    Refusals,
    Refused,
    Result,
    Secret,
    Tx,
    exclusive,
    refuse,
)
from interlock.clock import SystemClock
from interlock.coordinator.scheduling import Scheduling
from interlock.coordinator.settings import Settings
from interlock.model.errors import InvalidInput, Missing, NameTaken
from interlock.model.plan import NOTHING
from interlock.model.records import JobRecord
from interlock.model.schedules import Missed, ScheduleRecord
from interlock.store import tables
from tests.coordinator.support import WAIT_S, Call, Disk, Gate, add_disk, job, opened, read
from tests.coordinator.test_settling import copying
from tests.databases import Scratch

HOUR_S = 3600


class Clock(SystemClock):
    """A wall clock that a test sets; it begins at noon, UTC, and the monotonic one goes on."""

    def __init__(self) -> None:
        self.us = 1_800_014_400_000_000

    def now_us(self) -> int:
        return self.us

    def pass_s(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


class Picky(Command[None], name="picky"):
    """Is always refused."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def validate(self, db: Reader) -> Refusals:
        yield refuse("not today")

    def execute(self, db: Tx) -> Plan:
        return NOTHING


class Sealed(Command[None], name="sealed"):
    """Has a secret."""

    word: Secret[str]

    def execute(self, db: Tx) -> Plan:
        assert self.word.reveal() == "open sesame"
        return NOTHING


def jobs_of(coordinator: Coordinator, id: UUID) -> list[JobRecord]:
    found: list[JobRecord] = read(coordinator, JobRecord, tables.job, tables.job.c.schedule_id == id)
    return sorted(found, key=lambda row: row.started_at)


def row(coordinator: Coordinator, id: UUID) -> ScheduleRecord:
    [found] = [each for each in coordinator.schedules() if each.id == id]
    return found


async def looked_at(coordinator: Coordinator, id: UUID, seen: ScheduleRecord) -> ScheduleRecord:
    """Has the timer look, until the row is another than it was."""
    async with asyncio.timeout(WAIT_S):
        while (found := row(coordinator, id)) == seen:
            coordinator._supervision.scheduling.wake()
            await asyncio.sleep(0.01)
    return found


async def begun(coordinator: Coordinator, id: UUID, clock: Clock, seconds: float = HOUR_S) -> ScheduleRecord:
    seen = row(coordinator, id)
    clock.pass_s(seconds)
    return await looked_at(coordinator, id, seen)


async def test_a_recurring_command_begins_each_time_it_is_due(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, clock=clock) as coordinator:
        id = await coordinator.schedule("hourly", Call(), cron="0 * * * *", user="ada", priority=3)
        assert row(coordinator, id).next_at == clock.us + HOUR_S * 10**6
        for number in (1, 2):
            after = await begun(coordinator, id, clock)
            assert (after.runs, after.skipped, after.next_at) == (number, 0, clock.us + HOUR_S * 10**6)
            ended = await coordinator.wait_ended(after.last_job_id or id, WAIT_S)
            assert ended.result is Result.SUCCEEDED
        found = jobs_of(coordinator, id)
        assert [(each.user, each.priority, each.correlation_id) for each in found] == [("ada", 3, str(id))] * 2


async def test_a_delayed_command_begins_once_at_its_moment(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, clock=clock) as coordinator:
        id = await coordinator.schedule("once", Call(), at="2027-01-15T13:30", zone="Europe/Berlin")
        assert row(coordinator, id).next_at == clock.us + 1800 * 10**6
        after = await begun(coordinator, id, clock)
        assert (after.runs, after.next_at) == (1, None)
        await coordinator.wait_ended(after.last_job_id or id, WAIT_S)


async def test_no_second_begins_while_the_first_runs(scratch: Scratch) -> None:
    clock, gate = Clock(), Gate()
    async with opened(scratch, gate=gate, clock=clock) as coordinator:
        id = await coordinator.schedule("hourly", Call(function="gate"), cron="0 * * * *")
        first = await begun(coordinator, id, clock)
        second = await begun(coordinator, id, clock)
        assert (second.runs, second.skipped, second.skipped_at) == (1, 1, clock.us)
        assert second.skipped_reason == f"its former job, {first.last_job_id}, has not ended"
        gate.open.set()
        await coordinator.wait_ended(first.last_job_id or id, WAIT_S)
        assert (await begun(coordinator, id, clock)).runs == 2


async def test_a_run_that_is_refused_has_failed_and_the_schedule_goes_on(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, Picky, clock=clock) as coordinator:
        id = await coordinator.schedule("picky", Picky(disk=await add_disk(coordinator)), cron="0 * * * *")
        for number in (1, 2):
            after = await begun(coordinator, id, clock)
            assert (after.runs, job(coordinator, after.last_job_id or id).result) == (number, Result.FAILED)


async def test_what_was_missed_while_nobody_was_there_begins_once_or_is_skipped(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, clock=clock) as coordinator:
        run = await coordinator.schedule("run", Call(), cron="0 * * * *", late_s_max=3 * HOUR_S)
        skip = await coordinator.schedule("skip", Call(), cron="0 * * * *", missed=Missed.SKIP)
        late = await coordinator.schedule("late", Call(), cron="0 * * * *", late_s_max=60)
        seen = {id: row(coordinator, id) for id in (run, skip, late)}
    clock.pass_s(3.5 * HOUR_S)
    async with opened(scratch, clock=clock) as coordinator:
        after = {id: await looked_at(coordinator, id, seen[id]) for id in seen}
        assert [(after[id].runs, after[id].skipped) for id in (run, skip, late)] == [(1, 0), (0, 1), (0, 1)]
        words = "nobody was there to begin it in time: it was 9000 s late, and 60 s are allowed"
        assert after[late].skipped_reason == words
        assert {each.next_at for each in after.values()} == {clock.us + HOUR_S // 2 * 10**6}
        await coordinator.wait_ended(after[run].last_job_id or run, WAIT_S)


@pytest.mark.hard_case(27)
async def test_a_clock_that_is_put_back_begins_nothing_twice(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, clock=clock) as coordinator:
        id = await coordinator.schedule("hourly", Call(), cron="0 * * * *")
        after = await begun(coordinator, id, clock)
        await coordinator.wait_ended(after.last_job_id or id, WAIT_S)
        clock.pass_s(-HOUR_S)
        other = await coordinator.schedule("witness", Call(), cron="15 * * * *")
        witness = await begun(coordinator, other, clock, 1000)  # the timer has looked at both again
        await coordinator.wait_ended(witness.last_job_id or other, WAIT_S)
        assert (row(coordinator, id), len(jobs_of(coordinator, id))) == (after, 1)


async def test_people_pause_resume_change_and_remove_and_all_of_it_is_told(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, clock=clock) as coordinator:
        id = await coordinator.schedule("hourly", Call(), cron="0 * * * *", user="ada", correlation_id="ticket-1")
        await coordinator.pause_schedule("hourly", by="bob", reason="too loud")
        clock.pass_s(5 * HOUR_S)
        with pytest.raises(Refused, match="paused already, by bob"):
            await coordinator.pause_schedule(str(id), by="ada")
        await coordinator.resume_schedule(str(id), by="bob")
        assert (row(coordinator, id).next_at, row(coordinator, id).runs) == (clock.us + HOUR_S * 10**6, 0)
        await coordinator.change_schedule("hourly", by="ada", cron="30 * * * *", priority=2)
        changed = row(coordinator, id)
        assert (changed.cron, changed.next_at, changed.priority) == ("30 * * * *", clock.us + 1800 * 10**6, 2)
        await coordinator.remove_schedule("hourly", by="ada", reason="enough")
        assert coordinator.schedules() == []
        with pytest.raises(Missing):
            await coordinator.resume_schedule("hourly", by="ada")
    told = scratch.rows('SELECT what, "by", reason, subject_id, correlation_id FROM actions ORDER BY number')
    assert told == [
        (f"schedule.{what}", by, reason, id, "ticket-1")
        for what, by, reason in [
            ("create", "ada", None), ("pause", "bob", "too loud"), ("resume", "bob", None), ("change", "ada", None),
            ("remove", "ada", "enough"),
        ]
    ]  # fmt: skip
    [(after,)] = scratch.rows("SELECT after_json FROM actions WHERE what = 'schedule.change'")
    assert json.loads(after)["cron"] == "30 * * * *"


async def test_what_is_wrong_is_refused_whole(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, clock=clock) as coordinator:
        await coordinator.schedule("taken", Call(), cron="0 * * * *")
        wrong: list[tuple[type[Refused], str, dict[str, object]]] = [
            (NameTaken, "taken", {"cron": "0 * * * *"}), (InvalidInput, "", {"cron": "0 * * * *"}),
            (InvalidInput, "a/b", {"cron": "0 * * * *"}), (InvalidInput, str(UUID(int=1)), {"cron": "0 * * * *"}),
            (InvalidInput, "a", {}), (InvalidInput, "a", {"cron": "0 * * * *", "at": "2030-01-01T00:00"}),
            (InvalidInput, "a", {"cron": "0 0 30 2 *"}), (InvalidInput, "a", {"cron": "0 * * * *", "zone": "Mars"}),
            (InvalidInput, "a", {"at": "2020-01-01T00:00"}), (InvalidInput, "a", {"at": "soon"}),
            (InvalidInput, "a", {"cron": "0 * * * *", "late_s_max": -1}),
            (InvalidInput, "a", {"cron": "0 * * * *", "priority": 11}),
            (InvalidInput, "a", {"cron": "0 * * * *", "user": "a\0b"}),
        ]  # fmt: skip
        for error, name, options in wrong:
            with pytest.raises(error):
                await coordinator.schedule(name, Call(), **options)  # type: ignore[arg-type]
        with pytest.raises(Missing):
            await coordinator.schedule("a", Call(refs=(Ref("disk", UUID(int=9)),)), cron="0 * * * *")
        with pytest.raises(InvalidInput):
            await coordinator.schedule_input("a", "call", {"colour": "red"}, cron="0 * * * *")
        assert [each.name for each in coordinator.schedules()] == ["taken"]


async def test_an_entity_that_is_gone_skips_the_run_and_says_so(scratch: Scratch) -> None:
    class RemoveDisk(Command[None], name="disk.remove"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            db.remove(self.disk)
            return NOTHING

    clock = Clock()
    async with opened(scratch, RemoveDisk, clock=clock) as coordinator:
        disk = await add_disk(coordinator)
        id = await coordinator.schedule("hourly", Call(refs=(disk,)), cron="0 * * * *")
        await (await coordinator.submit(RemoveDisk(disk=disk))).result(WAIT_S)
        after = await begun(coordinator, id, clock)
        assert (after.runs, after.skipped) == (0, 1)
        assert f"{disk} does not exist" in (after.skipped_reason or "")


async def test_secrets_are_sealed_and_reach_the_run(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, Sealed, clock=clock) as coordinator:
        id = await coordinator.schedule("sealed", Sealed(word=Secret("open sesame")), cron="0 * * * *", user="ada")
        after = await begun(coordinator, id, clock)
        assert (await coordinator.wait_ended(after.last_job_id or id, WAIT_S)).result is Result.SUCCEEDED
        assert "sesame" not in repr(row(coordinator, id))
    if scratch.dialect == "sqlite":
        assert b"open sesame" not in scratch.all_bytes()


@contextmanager
def copies_of(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Scratch]]:
    copies: list[Scratch] = []
    monkeypatch.setattr("interlock.failpoints.after", copying(scratch, copies))
    yield copies
    monkeypatch.undo()


@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)  # a live server's database cannot be copied
async def test_wherever_the_engine_dies_each_run_begins_exactly_once(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with copies_of(scratch, monkeypatch) as copies:
        async with opened(scratch, settings=Settings(sets_max=1), clock=clock) as coordinator:
            id = await coordinator.schedule("hourly", Call(), cron="0 * * * *")
            for _ in range(2):
                after = await begun(coordinator, id, clock)
                await coordinator.wait_ended(after.last_job_id or id, WAIT_S)
    assert len(copies) >= 5, "it was made, and each job was begun and ended"
    for number, copy in enumerate(copies):
        async with opened(copy, clock=clock) as coordinator:
            if not coordinator.schedules():
                continue  # it died before the schedule was made
            schedule = row(coordinator, id)
            while (schedule.next_at or 0) <= clock.us:
                schedule = await looked_at(coordinator, id, schedule)
            begun_jobs = jobs_of(coordinator, id)
            ended = [await coordinator.wait_ended(each.id, WAIT_S) for each in begun_jobs]
            assert (number, len(ended), schedule.runs) == (number, schedule.runs, len(ended))
            assert 1 <= len(ended) <= 2  # two times that were missed in one are one run
            assert {each.result for each in ended} == {Result.SUCCEEDED}


async def test_closing_waits_for_a_look_that_reads_the_database(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave, left = threading.Event(), threading.Event(), list[bool]()

    def slow(scheduling: Scheduling) -> tuple[list[UUID], int | None]:
        entered.set()
        left.append(leave.wait(WAIT_S))
        return [], None

    monkeypatch.setattr(Scheduling, "_due", slow)
    async with opened(scratch):
        assert await asyncio.to_thread(entered.wait, WAIT_S)
        asyncio.get_running_loop().call_later(0.2, leave.set)
    assert left == [True]
