"""Ended jobs go when their time is over, whole; what is referred to, refused for or young stays."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from interlock import CallOrder, Command, Coordinator, Plan, Refused, Tx, end_of, part, signal
from interlock.coordinator import archive, janitor
from interlock.coordinator.settings import Settings
from interlock.model.errors import Missing, NotArchived
from interlock.model.retention import DAY_S, Retention
from interlock.store import tables
from interlock.store.erasing import PARTS
from tests.coordinator.support import WAIT_S, Call, Gate, Work, add_disk, opened
from tests.coordinator.test_schedules import Clock, copies_of
from tests.databases import Scratch

DAY = int(DAY_S)
SETTINGS = Settings(retention=Retention())


class WaitFor(Command[None], name="wait.for"):
    """Waits for the end of another job, or for a signal."""

    job: str = ""

    def execute(self, db: Tx) -> Plan:
        return part(end_of(UUID(self.job))) if self.job else part(signal("tick"))


def left(coordinator: Coordinator) -> set[UUID]:
    with coordinator.reading() as connection:
        return set(connection.scalars(select(tables.job.c.id)))


async def ended(coordinator: Coordinator, *commands: Command[Any]) -> list[UUID]:
    ids = []
    for command in commands:
        submitted = await coordinator.submit(command, user="ada")
        await coordinator.wait_ended(submitted.id, WAIT_S)
        ids.append(submitted.id)
    return ids


async def test_jobs_go_whole_each_when_its_time_is_over(scratch: Scratch) -> None:
    clock = Clock()
    ages = Settings(retention=Retention(by_command={"disk.work": 60 * DAY_S}))
    async with opened(scratch, clock=clock, settings=ages) as coordinator:
        disk = await add_disk(coordinator)
        good, bad, long_kept = await ended(coordinator, Call(), Call(function="broken"), Work(disk=disk))
        clock.pass_s(7 * DAY - 1)
        assert (await coordinator.clean()).removed == 0
        clock.pass_s(1)
        shown = coordinator.would_go().to_json()
        assert shown == {"jobs": 2, "signals": 0, "kept": {"its time has not come": 2}, "more": False}
        assert (await coordinator.clean(by="bob")).to_json() == shown
        assert left(coordinator) == {bad, long_kept}
        clock.pass_s(23 * DAY)
        await coordinator.clean()
        assert left(coordinator) == {long_kept}
        clock.pass_s(30 * DAY)
        await coordinator.clean()
        with coordinator.reading() as connection:
            sizes = {each.table.name: connection.scalar(select(func.count()).select_from(each.table)) for each in PARTS}
            assert sizes == dict.fromkeys(sizes, 0)
            actions = list(connection.scalars(select(tables.actions.c.what).order_by(tables.actions.c.number)))
        assert actions == ["job.submit"] * 3 + ["retention.run"]
        with pytest.raises(Missing):
            await coordinator.wait_ended(UUID(int=5), WAIT_S)
        assert (await ended(coordinator, Call(), Work(disk=disk)))[0] != good


@pytest.mark.hard_case(31)
async def test_what_an_unfinished_job_refers_to_stays(scratch: Scratch) -> None:
    clock, gate = Clock(), Gate()
    async with opened(scratch, WaitFor, gate=gate, clock=clock) as coordinator:
        former, gated = await coordinator.submit_all([Call(), Call(function="gate")], order=CallOrder.SEQUENTIAL)
        await coordinator.wait_ended(former.id, WAIT_S)
        await gate.wait_entered()
        clock.pass_s(8 * DAY)
        assert (await coordinator.clean()).removed == 1, "it has begun, and needs who came before no longer"
        awaiting = await coordinator.submit(WaitFor(job=str(gated.id)))
        gate.open.set()
        await coordinator.wait_ended(awaiting.id, WAIT_S)
        clock.pass_s(8 * DAY)
        assert (await coordinator.clean()).removed == 2
        assert left(coordinator) == set()


@pytest.mark.hard_case(31)
async def test_what_comes_after_keeps_what_it_comes_after(scratch: Scratch) -> None:
    clock, gate = Clock(), Gate()
    async with opened(scratch, gate=gate, clock=clock) as coordinator:
        [first] = await ended(coordinator, Call())
        with coordinator.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(tables.job)) == 1
        running = await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        if scratch.dialect == "sqlite":
            # as a job whose former has ended, and that has not been told
            scratch.rows("INSERT INTO job_formers VALUES (?, ?, 'succeeded', NULL)", running.id, first)
            clock.pass_s(8 * DAY)
            done = await coordinator.clean()
            assert done.to_json()["kept"] == {"a job that has not ended refers to it": 1}
            scratch.rows("DELETE FROM job_formers")
        gate.open.set()
        await coordinator.wait_ended(running.id, WAIT_S)


async def test_who_was_cancelled_before_its_turn_kept_what_it_would_have_come_after(scratch: Scratch) -> None:
    clock, gate = Clock(), Gate()
    async with opened(scratch, gate=gate, clock=clock) as coordinator:
        former = await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        follower = await coordinator.submit(Call(), after=[former.id])
        await coordinator.cancel(follower.id, by="ada")
        gate.open.set()
        for each in (former, follower):
            await coordinator.wait_ended(each.id, WAIT_S)
        clock.pass_s(8 * DAY)
        assert (await coordinator.clean()).removed == 1
        assert left(coordinator) == {follower.id}


@pytest.mark.hard_case(31)
async def test_an_open_leftover_keeps_its_job_until_it_is_cleared(scratch: Scratch) -> None:
    clock, gate = Clock(), Gate()
    async with opened(scratch, gate=gate, repeatable=False, clock=clock) as coordinator:
        disk = await add_disk(coordinator)
        lost = await coordinator.submit(Work(disk=disk, function="gate"))
        await gate.wait_entered()
    async with opened(scratch, gate=gate, repeatable=False, clock=clock) as coordinator:
        await coordinator.wait_ended(lost.id, WAIT_S)
        clock.pass_s(31 * DAY)
        done = await coordinator.clean()
        with coordinator.reading() as connection:
            leftovers = list(connection.scalars(select(tables.leftovers.c.id)))
        assert done.to_json()["kept"] == {"a leftover of it is open": 1}
        for each in leftovers:
            await coordinator.clear_leftover(each, by="bob", reason="looked")
        assert (await coordinator.clean()).removed == 1
        assert left(coordinator) == set()


async def test_broadcast_signals_go_unless_a_wait_may_still_take_them(scratch: Scratch) -> None:
    clock = Clock()
    async with opened(scratch, WaitFor, clock=clock) as coordinator:
        await coordinator.signal("tock")
        waiting = await coordinator.submit(WaitFor())
        await coordinator.signal("tock")
        clock.pass_s(8 * DAY)
        assert (await coordinator.clean()).signals == 1, "the second came after the wait began"
        await coordinator.signal("tick")
        await coordinator.wait_ended(waiting.id, WAIT_S)
        clock.pass_s(8 * DAY)
        assert (await coordinator.clean()).signals == 2


async def test_each_job_is_archived_before_it_goes(scratch: Scratch, tmp_path: Path) -> None:
    clock = Clock()
    settings = replace(SETTINGS, archive_dir=tmp_path / "archive")
    async with opened(scratch, clock=clock, settings=settings) as coordinator:
        ids = await ended(coordinator, Call(), Call())
        clock.pass_s(8 * DAY)
        await coordinator.clean()
        [file] = (tmp_path / "archive").iterdir()
        assert (file.name, file.stat().st_mode & 0o777) == ("2027-01-23.jsonl", 0o600)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [line["job_id"] for line in lines] == list(map(str, ids))
        assert set(lines[0]) == {"job_id", "job", "command_entities", "async_tasks", "step", "audit_log"}
        assert lines[0]["command_entities"][0]["name"] == "call"
        file.write_text(file.read_text()[:-20])  # a crash cut the last line
        await ended(coordinator, Call())
        clock.pass_s(-1)
        clock.pass_s(8 * DAY)
        file.rename(file.with_name("2027-01-31.jsonl"))
        await coordinator.clean()
        whole = (tmp_path / "archive" / "2027-01-31.jsonl").read_text().splitlines()
        assert len(whole) == 3
        assert json.loads(whole[2])["job"][0]["action"] == "call"


async def test_an_archive_that_cannot_be_written_keeps_every_job(scratch: Scratch, tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "file").touch()
    async with opened(scratch, clock=clock, settings=replace(SETTINGS, archive_dir=tmp_path / "file")) as coordinator:
        ids = await ended(coordinator, Call())
        clock.pass_s(8 * DAY)
        with pytest.raises(NotArchived, match=r"file cannot be written .*its jobs are kept; look at"):
            await coordinator.clean()
        assert left(coordinator) == set(ids)


async def test_what_is_changed_after_it_was_archived_stays_for_the_next_round(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with opened(scratch, clock=clock, settings=replace(SETTINGS, archive_dir=tmp_path / "a")) as coordinator:
        [id] = await ended(coordinator, Call())
        clock.pass_s(8 * DAY)
        janitor = coordinator._supervision.janitor
        archive = janitor._archive
        loop = asyncio.get_running_loop()

        def archive_and_change(folder: Path, jobs: list[UUID]) -> None:
            archive(folder, jobs)
            clock.pass_s(1)
            wish = coordinator.set_visible(id, visible=False, by="bob")
            asyncio.run_coroutine_threadsafe(wish, loop).result(WAIT_S)

        monkeypatch.setattr(janitor, "_archive", archive_and_change)
        assert ((await coordinator.clean()).removed, left(coordinator)) == (0, {id})
        monkeypatch.undo()
        assert (await coordinator.clean()).removed == 1


async def test_one_round_at_a_time(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        first = asyncio.ensure_future(coordinator.clean())
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="being removed already"):
            await coordinator.clean()
        await first


@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)  # a live server's database cannot be copied
async def test_wherever_the_engine_dies_what_goes_is_in_the_archive(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    settings = Settings(sets_max=1, archive_dir=tmp_path / "archive")
    archived: list[set[str]] = []
    async with opened(scratch, clock=clock, settings=settings) as coordinator:
        ids = await ended(coordinator, *[Call() for _ in range(4)])
        clock.pass_s(8 * DAY)
        coordinator._supervision.janitor._size = 1
        with copies_of(scratch, monkeypatch) as copies:
            monkeypatch.setattr("interlock.coordinator.janitor.BATCH_MIN", 1)
            monkeypatch.setattr("interlock.coordinator.janitor.BATCH_MAX", 1)
            await coordinator.clean()
        archived = [{json.loads(line)["job_id"] for line in file.read_text().splitlines()}
                    for file in (tmp_path / "archive").iterdir()]  # fmt: skip
    assert len(copies) >= 4
    for copy in copies:
        async with opened(copy, clock=clock, settings=settings) as coordinator:
            gone = {str(id) for id in ids if id not in left(coordinator)}
            assert gone <= set.union(*archived)
            await coordinator.clean()
            assert left(coordinator) == set()


def test_every_table_that_refers_to_a_job_is_erased_with_it() -> None:
    listed = {each.table for each in PARTS}
    referring = {
        table for table in tables.metadata.sorted_tables
        if any(key.column.table in listed for key in table.foreign_keys)
    }  # fmt: skip
    assert referring <= listed


async def test_who_removed_jobs_until_the_archive_was_full_is_told(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("BATCH_MIN", "BATCH_MAX"):
        monkeypatch.setattr(janitor, bound, 1)
    appended: list[Any] = []
    append = archive.append

    def until_full(folder: Path, lines: list[dict[str, Any]], now: int) -> None:
        if appended:
            raise OSError("no space left")
        append(folder, lines, now)
        appended.append(lines)

    monkeypatch.setattr(archive, "append", until_full)
    clock = Clock()
    settings = replace(SETTINGS, archive_dir=tmp_path / "archive")
    async with opened(scratch, clock=clock, settings=settings) as coordinator:
        await ended(coordinator, Call(), Call())
        clock.pass_s(8 * DAY)
        with pytest.raises(OSError, match="no space left"):
            await coordinator.clean(by="bob")
        assert len(left(coordinator)) == 1
        with coordinator.reading() as connection:
            last = (
                connection.execute(select(tables.actions).order_by(tables.actions.c.number.desc())).mappings().first()
            )
        assert last is not None
        assert (last["what"], last["by"], json.loads(last["after_json"])["jobs"]) == ("retention.run", "bob", 1)


def test_the_folder_of_an_archive_is_made_durable_whoever_made_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[Path] = []
    monkeypatch.setattr(archive, "_fsync_folder", died.append)
    for _ in range(2):
        archive.append(tmp_path, [{"job_id": 1}], 0)
    assert died == [tmp_path, tmp_path]
