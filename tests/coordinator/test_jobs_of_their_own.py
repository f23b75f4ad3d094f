"""Commands that become jobs of their own in another's transaction, and waits for the ends of jobs."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    NO_LOCKS,
    NOTHING,
    Command,
    Locks,
    Plan,
    Reader,
    Ref,
    Refused,
    Result,
    Tx,
    detached,
    end_of,
    exclusive,
    local,
    parallel,
    part,
    sequence,
)
from interlock.coordinator import recovery
from interlock.coordinator.engine import Engine
from interlock.coordinator.waits import Waits
from interlock.core.facts import Fact, Look
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.waits import Wait
from tests.coordinator.support import WAIT_S, Disk, Gate, Work, add_disk, events, failure_of, job, opened, tasks
from tests.databases import Scratch
from tests.store.rows import PLACEHOLDER, TICKET


class Delegate(Command[Any], name="delegate"):
    """Adds a disk and lets a job of its own work on it."""

    disk_name: str
    function: str = "noop"
    in_turn: bool = False

    def execute(self, db: Tx) -> Plan:
        ref = db.new(Disk)
        db.add(Disk(id=ref.id, name=self.disk_name, size=3))
        work = part(detached(Work(disk=ref, function=self.function)), step="DELEGATED")
        return sequence(part(local("noop")), work) if self.in_turn else work

    def end_successfully(self, db: Tx) -> Any:
        results = db.tasks(self)
        return results[0].answer if results else None


class Missing(Command[None], name="missing"):
    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def validate(self, db: Reader) -> Any:
        raise Refused("it is not there")


class After(Command[Any], name="after"):
    """Waits for a job that somebody else has started."""

    job: UUID

    def execute(self, db: Tx) -> Plan:
        return part(end_of(self.job))

    def end_successfully(self, db: Tx) -> Any:
        return db.tasks(self)[0].answer


MEMBERS = (Delegate, Missing, After)


def the_other(scratch: Scratch, id: UUID) -> UUID:
    [(other,)] = scratch.rows("SELECT id FROM job WHERE action = 'disk.work' AND id <> ?", id)
    assert isinstance(other, UUID)
    return other


@pytest.mark.parametrize("in_turn", [False, True])
async def test_it_succeeds_as_the_job_does_that_it_started(scratch: Scratch, in_turn: bool) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        delegates = await coordinator.submit(Delegate(disk_name="d", in_turn=in_turn), correlation_id="one")
        assert await delegates.result(WAIT_S) == (None if in_turn else 3)
        other = job(coordinator, the_other(scratch, delegates.id))
        assert (other.result, other.correlation_id, other.visible) == (Result.SUCCEEDED, "one", True)
        assert events(coordinator, other.id)[0].kind == "job_accepted"


async def test_it_fails_as_that_job_does(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        delegates = await coordinator.submit(Delegate(disk_name="d", function="broken"))
        message = (await failure_of(delegates)).message
        other = the_other(scratch, delegates.id)
        assert f"job {other} ended FAILED" in message
        assert "the disk is broken" in message


async def test_a_phase_that_is_taken_back_starts_no_job(scratch: Scratch) -> None:
    class Both(Command[None], name="both"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            return parallel(part(detached(Work(disk=self.disk))), part(Missing(disk=self.disk)))

    async with opened(scratch, *MEMBERS, Both) as coordinator:
        disk = await add_disk(coordinator)
        assert "it is not there" in (await failure_of(await coordinator.submit(Both(disk=disk)))).message
        assert scratch.rows("SELECT id FROM job WHERE action = 'disk.work'") == []


async def test_the_job_goes_on_whatever_becomes_of_who_started_it(scratch: Scratch) -> None:
    class Impatient(Command[None], name="impatient"):
        disk: Ref[Disk]

        def execute(self, db: Tx) -> Plan:
            return parallel(
                part(detached(Work(disk=self.disk, function="gate")), best_effort=True),
                part(local("broken", touches=())),
            )

    gate = Gate()
    async with opened(scratch, *MEMBERS, Impatient, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        starts = await coordinator.submit(Impatient(disk=disk))
        await gate.wait_entered()
        other = the_other(scratch, starts.id)
    crashed = scratch.copy("crashed")
    gate = Gate()
    async with opened(crashed, *MEMBERS, Impatient, gate=gate) as coordinator:
        await gate.wait_entered()
        gate.open.set()
        assert (await coordinator.wait_ended(other, WAIT_S)).result is Result.SUCCEEDED
        assert (await coordinator.wait_ended(starts.id, WAIT_S)).result is Result.FAILED


async def test_the_end_of_a_job_is_waited_for_also_across_a_restart(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator, size=8)
        works = await coordinator.submit(Work(disk=disk, function="gate"))
        await gate.wait_entered()
        after = await coordinator.submit(After(job=works.id))
        gone = await coordinator.submit(After(job=UUID(int=5)))
        assert f"job {UUID(int=5)} is gone" in (await failure_of(gone)).message
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await gate.wait_entered()
        assert tasks(coordinator, after.id)[0].outcome is None
        gate.open.set()
        assert (await coordinator.wait_ended(after.id, WAIT_S)).value_json == "8"


@pytest.mark.hard_case(16)
async def test_a_wish_about_a_job_that_comes_before_it_has_begun_makes_no_second_copy_of_it(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[asyncio.Future[None]] = []
    begin = Engine._begin

    def begin_late(engine: Engine, flow: Flow) -> None:
        def wish(loaded: Flow) -> None:
            loaded.add_event(1, "wished", "somebody saw its row")

        wishes.append(engine.errand(flow.id, wish, lambda connection: recovery.load(connection, flow.id)))
        begin(engine, flow)

    monkeypatch.setattr(Engine, "_begin", begin_late)
    async with opened(scratch, *MEMBERS) as coordinator:
        delegates = await coordinator.submit(Delegate(disk_name="d"))
        assert await delegates.result(WAIT_S) == 3
        [wish] = wishes
        await asyncio.wait_for(wish, WAIT_S)
        kinds = [event.kind for event in events(coordinator, the_other(scratch, delegates.id))]
        assert kinds == ["job_accepted", "wished", "step_ended", "job_ended"]


class Meet(Command[None], name="meet"):
    """Holds a disk where it is to, and after the gate waits for the end of a job, chosen by then."""

    number: int
    held: Ref[Disk] | None = None

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.held) if self.held else NO_LOCKS

    def execute(self, db: Tx) -> Plan:
        return sequence(part(local("gate", touches=())), part(Met(number=self.number)))


class Met(Command[None], name="met"):
    number: int

    def execute(self, db: Tx) -> Plan:
        return part(end_of(met[self.number]))


met: list[UUID] = []


@pytest.mark.hard_case(23)
@pytest.mark.parametrize("jobs", [1, 3])
async def test_jobs_that_would_wait_for_the_ends_of_each_other_do_not_wait_for_ever(
    scratch: Scratch, jobs: int
) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, Meet, Met, gate=gate) as coordinator:
        waits = [await coordinator.submit(Meet(number=number)) for number in range(jobs)]
        met[:] = [each.id for each in (*waits[1:], waits[0])]
        gate.open.set()
        failures = [(await failure_of(each)).message for each in waits]
        assert any(message.count("waits for the end of") == jobs for message in failures), "the whole circle is named"


async def test_the_end_of_a_job_that_waits_for_a_lock_of_the_waiting_one_is_not_waited_for(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, Meet, Met, Patient, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        holds = await coordinator.submit(Meet(number=0, held=disk))
        waits = await coordinator.submit(Patient(disk=disk))
        met[:] = [waits.id]
        gate.open.set()
        circle = f"this job waits for the end of job {waits.id}; job {waits.id} waits for a lock of this job"
        assert circle in (await failure_of(holds)).message
        await waits.result(WAIT_S)


class Patient(Command[None], name="patient"):
    """Waits for a disk, by jobs of their own so many levels below."""

    disk: Ref[Disk]
    levels: int = 0

    def locks(self, db: Reader) -> Locks:
        return NO_LOCKS if self.levels else exclusive(self.disk).waiting()

    def execute(self, db: Tx) -> Plan:
        return part(detached(Patient(disk=self.disk, levels=self.levels - 1))) if self.levels else NOTHING


class Selfish(Command[None], name="selfish"):
    """Holds a disk while it waits for jobs that want it."""

    disk: Ref[Disk]
    levels: int

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        return part(detached(Patient(disk=self.disk, levels=self.levels)))


@pytest.mark.parametrize("levels", [0, 2])
async def test_a_job_that_would_wait_for_a_lock_of_who_waits_for_it_is_refused(scratch: Scratch, levels: int) -> None:
    async with opened(scratch, *MEMBERS, Patient, Selfish) as coordinator:
        disk = await add_disk(coordinator)
        selfish = await coordinator.submit(Selfish(disk=disk, levels=levels))
        assert "waiting would never end" in (await failure_of(selfish)).message


async def test_a_wait_for_such_a_lock_that_has_a_time_out_ends_by_that(scratch: Scratch) -> None:
    class Briefly(Patient, name="briefly"):
        def locks(self, db: Reader) -> Locks:
            return exclusive(self.disk).waiting(0.05)

    class HoldsBriefly(Selfish, name="holds.briefly"):
        def execute(self, db: Tx) -> Plan:
            return part(detached(Briefly(disk=self.disk)))

    async with opened(scratch, *MEMBERS, Briefly, HoldsBriefly) as coordinator:
        disk = await add_disk(coordinator)
        holds = await coordinator.submit(HoldsBriefly(disk=disk, levels=0))
        assert "as long as allowed" in (await failure_of(holds)).message


def test_who_waits_for_a_job_looks_again_when_that_begins_to_wait_for_a_lock() -> None:
    """The two may have begun side by side, neither seeing the other: a circle is found by the one that looks last."""
    told: list[tuple[UUID, Fact]] = []
    flow, other = UUID(int=1), UUID(int=2)
    task = replace(PLACEHOLDER, flow_id=flow, wait_json=Wait(job=other).to_json())
    waits = Waits(lambda id, fact: told.append((id, fact)))
    waits.stored([Change(None, task)])
    ticket = replace(TICKET, flow_id=other)
    for change in (Change(None, replace(ticket, flow_id=flow)), Change(None, ticket), Change(ticket, None)):
        waits.stored([change])
    assert told == [(flow, Look(task.id))] * 2, "when it was stored, and for the new ticket of the other"
