"""Whatever a crash interrupts (a wait, a signal, an answer, a job of its own, a call), what is left ends truly.

A copy of the database is what a crash just after that commit would leave; each is opened and brought to its end.
"""

from contextlib import suppress
from uuid import UUID

import pytest

from interlock import (
    CallOrder,
    Command,
    Coordinator,
    Plan,
    Reader,
    Ref,
    Refused,
    Result,
    Tx,
    approval,
    detached,
    part,
    sequence,
    signal,
    until,
)
from interlock.coordinator.answers import EVERYTHING
from interlock.coordinator.settings import Settings
from interlock.model.waits import wait_of
from tests.coordinator.support import WAIT_S, Disk, Work, add_disk, job, opened, tasks
from tests.coordinator.test_settling import copying
from tests.coordinator.test_waits import MEMBERS
from tests.databases import Scratch


class Patient(Command[None], name="patient"):
    """Waits for an entity, a signal, a person and a job of its own, in turn."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        return sequence(
            part(until(self.is_large, watch=self.disk), step="GROW"),
            part(signal("tick", about=self.disk), step="TICK"),
            part(approval("Go on?", permission="go"), step="ASK"),
            part(detached(Work(disk=self.disk)), step="WORK"),
        )

    def is_large(self, db: Reader) -> bool:
        return db.get(self.disk).size >= 5


#: what each run commits by itself, so that every step has a copy
ONE_BY_ONE = Settings(sets_max=1)


async def drive(coordinator: Coordinator, id: UUID, disk: Ref[Disk]) -> None:
    """Gives a patient job whatever it waits for, until it has ended; what was given before the crash counts."""
    while job(coordinator, id).result is None:
        seen = job(coordinator, id).events
        for task in tasks(coordinator, id):
            if task.wait_json is None or task.outcome is not None:
                continue
            wait = wait_of(task.wait_json)
            if wait.signal is not None:
                await coordinator.signal(wait.signal, about=disk)
            elif wait.question is not None:
                with suppress(Refused):  # it was answered before the crash
                    await coordinator.answer(id, {"approve": True}, by="ada", holds=EVERYTHING)
            elif wait.until is not None:
                await coordinator.report("disks", disk, {"size": 5})
        await coordinator.changed(id, seen, WAIT_S)


@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)  # a live server's database cannot be copied
async def test_wherever_the_engine_dies_every_wait_ends_once_and_truly(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Scratch] = []
    async with opened(scratch, *MEMBERS, Patient, settings=ONE_BY_ONE) as coordinator:
        disk = await add_disk(coordinator)
        monkeypatch.setattr("interlock.failpoints.after", copying(scratch, copies))
        patient = await coordinator.submit(Patient(disk=disk))
        await drive(coordinator, patient.id, disk)
        await patient.result(WAIT_S)
    monkeypatch.undo()
    assert len(copies) >= 10, "it was accepted, and each wait was given what it waits for, taken and ended"
    for number, copy in enumerate(copies):
        async with opened(copy, *MEMBERS, Patient) as coordinator:
            await drive(coordinator, patient.id, disk)
            [(others,)] = copy.rows("SELECT count(*) FROM job WHERE action = 'disk.work'")
            assert (number, others, job(coordinator, patient.id).result) == (number, 1, Result.SUCCEEDED)
            waits = [task for task in tasks(coordinator, patient.id) if task.wait_json]
            assert all(task.outcome == "SUCCEEDED" for task in waits)
            [(audited,)] = copy.rows("SELECT count(*) FROM audit_log WHERE kind = 'wait_answered'")
            assert audited == 1


@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)
@pytest.mark.parametrize("order", CallOrder)
async def test_wherever_the_engine_dies_a_call_is_whole_and_in_its_order(
    scratch: Scratch, order: CallOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Scratch] = []
    async with opened(scratch, settings=ONE_BY_ONE) as coordinator:
        disk = await add_disk(coordinator)
        other = await add_disk(coordinator, "e")
        monkeypatch.setattr("interlock.failpoints.after", copying(scratch, copies))
        jobs = await coordinator.submit_all([Work(disk=disk), Work(disk=other)], order=order)
        for each in jobs:
            await each.result(WAIT_S)
    monkeypatch.undo()
    assert len(copies) > 4
    for number, copy in enumerate(copies):
        async with opened(copy) as coordinator:
            ended = [await coordinator.wait_ended(each.id, WAIT_S) for each in jobs]
            assert (number, [each.result for each in ended]) == (number, [Result.SUCCEEDED] * 2)
            if order is not CallOrder.PARALLEL:
                first, second = ended
                assert first.ended_at is not None
                assert second.started_at is not None
                assert first.ended_at <= second.started_at
