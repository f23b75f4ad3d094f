"""What people do is kept with it, in a chain; what programs do without a name is not."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from interlock import (
    Command,
    Coordinator,
    Failure,
    InvalidInput,
    Monitor,
    Plan,
    Ref,
    Refused,
    Tx,
    approval,
    detached,
    part,
)
from interlock.coordinator.answers import EVERYTHING
from interlock.invariants import check
from interlock.model.decisions import Decision
from interlock.store import tables
from interlock.store.chain import FIRST
from tests.coordinator.support import WAIT_S, AddDisk, Call, Disk, Work, add_disk, job, opened, until_job
from tests.databases import Scratch


class Ask(Command[None], name="ask"):
    """Asks a person."""

    def execute(self, db: Tx) -> Plan:
        return part(approval("Go on?", permission="go"), step="ASK")


class Parent(Command[None], name="parent"):
    """Begins a job of its own."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        return part(detached(Work(disk=self.disk)), step="WORK")


class Stuck(Command[None], name="stuck"):
    """Needs attention."""

    def execute(self, db: Tx) -> Plan:
        raise ValueError("no")

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        raise ValueError("no end")


def ignored(db: Tx, disk: Ref[Any], told: dict[str, int]) -> None:
    """Writes nothing."""


MEMBERS = (Ask, Parent, Stuck, Monitor("ignored", ignored))


def actions(coordinator: Coordinator) -> list[Any]:
    with coordinator.reading() as connection:
        assert check(connection) == []
        return list(connection.execute(select(tables.actions).order_by(tables.actions.c.number)).mappings())


async def test_each_action_is_kept_with_who_what_why_before_and_after(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.core.retrying.END_RETRY_US", 1_000)
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        asking = await coordinator.submit(Ask(), user="ada", correlation_id="ticket-1")
        await coordinator.answer(asking.id, {"approve": True}, by="bob", holds=EVERYTHING)
        await asking.result(WAIT_S)
        await coordinator.signal("tick", about=disk, data={"n": 1}, by="ada")
        await coordinator.report("ignored", disk, {"n": 1}, by="ada")
        stuck = await coordinator.submit(Stuck(), user="ada")
        await until_job(coordinator, stuck.id, lambda row: row.attention is not None)
        await coordinator.settle(stuck.id, Decision.FORCE_FAILURE, by="bob", reason="mended by hand")
        found = actions(coordinator)
    subjects = ["job"] * 2 + ["disk"] * 2 + ["job"] * 2
    assert [(row["what"], row["by"], row["subject_type"], row["reason"]) for row in found] == [
        ("job.submit", "ada", subjects[0], None),
        ("wait.answer", "bob", subjects[1], None),
        ("signal.send", "ada", subjects[2], None),
        ("report.tell", "ada", subjects[3], None),
        ("job.submit", "ada", subjects[4], None),
        ("job.force-failure", "bob", subjects[5], "mended by hand"),
    ]
    assert [row["subject_id"] for row in found] == [asking.id, asking.id, disk.id, disk.id, stuck.id, stuck.id]
    assert json.loads(found[0]["after_json"]) == {"command": "ask", "version": 1, "parameters": {}}
    assert json.loads(found[1]["after_json"])["answer"] == {"approve": True, "reason": ""}
    assert json.loads(found[5]["before_json"])["state"] == "FINALIZING"
    assert json.loads(found[5]["after_json"]) == {"state": "ENDED"}


async def test_what_a_program_without_a_name_does_is_no_action(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        await coordinator.signal("tick", about=disk)
        await coordinator.report("ignored", disk, {"n": 1})
        assert actions(coordinator) == []


async def test_a_job_that_another_begins_is_nobodys_action(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        parent = await coordinator.submit(Parent(disk=disk), user="ada")
        await parent.result(WAIT_S)
        assert [row["subject_id"] for row in actions(coordinator)] == [parent.id]


async def test_what_a_job_from_before_there_were_actions_begins_is_no_breach(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        parent = await coordinator.submit(Parent(disk=await add_disk(coordinator)), user="ada")
        await parent.result(WAIT_S)
    scratch.rows("DELETE FROM actions")
    [(began,)] = scratch.rows("SELECT started_at FROM job WHERE id = ?", parent.id)
    scratch.rows("UPDATE actions_head SET number = 0, digest = ?, since = ?", FIRST, began - 1)
    scratch.rows("UPDATE job SET started_at = ? WHERE id = ?", began - 1, parent.id)


async def test_a_batch_that_is_halved_leaves_no_gap_in_the_chain(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        with scratch.held():
            wanted = [AddDisk(disk_name="same" if number in (3, 5, 6) else f"d{number}") for number in range(9)]
            submitted = [asyncio.ensure_future(coordinator.submit(each, user="ada")) for each in wanted]
            await asyncio.sleep(0)
        await asyncio.gather(*submitted, return_exceptions=True)
        assert [row["number"] for row in actions(coordinator)] == list(range(1, 10))


async def test_the_chain_goes_on_after_a_restart(scratch: Scratch) -> None:
    ids: list[UUID] = []
    for _ in range(3):
        async with opened(scratch) as coordinator:
            submitted = await coordinator.submit(Call(), user="ada")
            ids.append(submitted.id)
            await submitted.result(WAIT_S)
            found = actions(coordinator)
    assert [(row["number"], row["subject_id"]) for row in found] == list(enumerate(ids, 1))


async def test_an_action_that_is_refused_is_not_told(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        disk = await add_disk(coordinator)
        done = await coordinator.submit(Work(disk=disk), user="ada")
        await done.result(WAIT_S)
        with pytest.raises(Refused):
            await coordinator.settle(done.id, Decision.RETRY, by="bob", reason="why not")
        assert [row["by"] for row in actions(coordinator)] == ["ada"]
        assert job(coordinator, done.id).user == "ada"


async def test_a_name_that_no_row_can_hold_is_refused_before_a_database_is_asked(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        for ask in (coordinator.subject, coordinator.named):
            for text in (f"jo\0b:{UUID(int=1)}", "disk:d\0"):
                with pytest.raises(InvalidInput):
                    ask(text)
