"""Jobs that come after others: by which end of those they begin, and what of them never does."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from interlock import (
    AfterPolicy,
    CallOrder,
    Command,
    InvalidInput,
    Job,
    KeyReused,
    Missing,
    Plan,
    Reader,
    Ref,
    Refusals,
    Result,
    Tx,
    end_of,
    exclusive,
    local,
    part,
    refuse,
    sequence,
)
from interlock.coordinator.settings import Settings
from interlock.coordinator.waits import Waits
from interlock.core.facts import Examine, Fact, Look
from interlock.model.changes import Change
from interlock.model.records import FormerRecord
from interlock.model.waits import Wait
from tests.coordinator.support import WAIT_S, Call, Disk, Gate, Work, add_disk, commands, failure_of, job, opened
from tests.coordinator.test_settling import copying
from tests.databases import Scratch
from tests.store.rows import FORMER, PLACEHOLDER, TICKET


class Shrink(Command[None], name="disk.shrink"):
    """May only be done to what is small, and so not before something else has made it so."""

    disk: Ref[Disk]

    def validate(self, db: Reader) -> Refusals:
        if db.get(self.disk).size > 1:
            yield refuse("the disk is large")

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"))


class MakeSmall(Command[None], name="disk.make_small"):
    disk: Ref[Disk]

    def locks(self, db: Reader) -> Any:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.disk), size=1))
        return part(local("gate"))


class Meet(Command[None], name="meet"):
    """Waits for the end of whatever job the test names meanwhile; may want a disk afterwards."""

    held: Ref[Disk] | None = None
    wanted: Ref[Disk] | None = None

    def locks(self, db: Reader) -> Any:
        return exclusive(*[self.held] if self.held else [])

    def execute(self, db: Tx) -> Plan:
        then = Work(disk=self.wanted) if self.wanted else Met()
        return sequence(part(local("gate", touches=())), part(then))


class Met(Command[None], name="met"):
    def execute(self, db: Tx) -> Plan:
        return part(end_of(met[0]))


class WaitingWork(Work, name="disk.waiting_work"):
    def locks(self, db: Reader) -> Any:
        return exclusive(self.disk).waiting()


met: list[UUID] = []
MEMBERS = (Shrink, MakeSmall, Meet, Met, WaitingWork)


@pytest.mark.hard_case(23)
async def test_it_begins_when_all_have_succeeded_and_is_validated_only_then(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator, size=5)
        first = await coordinator.submit(MakeSmall(disk=disk))
        second = await coordinator.submit(Call(function="noop"))
        await second.result(WAIT_S)
        after = await coordinator.submit(Shrink(disk=disk), after=[first, second.id])
        await gate.wait_entered()
        assert scratch.rows("SELECT former_id, policy, result FROM job_formers ORDER BY former_id") == sorted(
            [(first.id, "succeeded", None), (second.id, "succeeded", "SUCCEEDED")]
        )
        assert [row.state for row in commands(coordinator, after.id)] == ["PENDING"]
        gate.open.set()
        await after.result(WAIT_S)
        assert scratch.rows("SELECT result FROM job_formers") == [("SUCCEEDED",)] * 2


async def test_where_one_does_not_succeed_it_never_begins_and_its_end_names_that_one(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        goes_on, fails = [await coordinator.submit(Call(function=name)) for name in ("gate", "broken")]
        after = await coordinator.submit(Call(), after=[goes_on, fails])
        then = await coordinator.submit(Call(), after=[after])
        words = f"call was to come after job {fails.id}, which ended FAILED; start it by itself"
        assert (await failure_of(after)).message == words
        assert f"job {after.id}, which ended CANCELLED" in (await failure_of(then)).message
        ended = [job(coordinator, each.id).result for each in (after, then, goes_on)]
        assert ended == [Result.CANCELLED, Result.CANCELLED, None]
        assert commands(coordinator, after.id)[0].started_at is None
        gate.open.set()


@pytest.mark.parametrize(
    ("policy", "first", "second", "runs"),
    [
        (AfterPolicy.ENDED, "broken", "noop", True),
        (AfterPolicy.FAILED, "broken", "noop", True),
        (AfterPolicy.FAILED, "noop", "noop", False),
    ],
    ids=str,
)
async def test_what_their_failures_mean_is_as_it_is_asked(
    scratch: Scratch, policy: AfterPolicy, first: str, second: str, runs: bool
) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        formers = [await coordinator.submit(Call(function=name)) for name in (first, second)]
        after = await coordinator.submit(Call(), after=formers, after_policy=policy)
        if runs:
            await after.result(WAIT_S)
        else:
            assert "where not all succeed of" in (await failure_of(after)).message
            assert job(coordinator, after.id).result is Result.CANCELLED


async def test_what_it_comes_after_must_be_there_and_may_not_be_too_many(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        nobody = uuid4()
        with pytest.raises(Missing, match=str(nobody)):
            await coordinator.submit(Call(), after=[nobody])
        with pytest.raises(InvalidInput, match="at most 100"):
            await coordinator.submit(Call(), after=[uuid4() for _ in range(101)])
        assert scratch.rows("SELECT id FROM job") == []


async def test_one_key_means_one_order(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        first, second = [await coordinator.submit(Call()) for _ in range(2)]
        once = await coordinator.submit(Call(), after=[first, second], idempotency_key="k")
        again = await coordinator.submit(Call(), after=[second, first], idempotency_key="k")
        assert (again.id, again.repeated) == (once.id, True)
        with pytest.raises(KeyReused):
            await coordinator.submit(Call(), after=[first], idempotency_key="k")


async def test_a_job_that_waits_for_one_that_comes_after_it_fails_and_names_the_circle(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        first = await coordinator.submit(Meet())
        between = await coordinator.submit(Call(), after=[first], after_policy=AfterPolicy.FAILED)
        last = await coordinator.submit(Call(), after=[between])
        met[:] = [last.id]
        gate.open.set()
        circle = (
            f"waiting would never end: this job waits for the end of job {last.id}; job {last.id} comes after job "
            f"{between.id}; job {between.id} comes after this job"
        )
        assert circle in (await failure_of(first)).message
        await last.result(WAIT_S)


@pytest.mark.hard_case(23)
@pytest.mark.parametrize("lock_comes_first", [False, True])
async def test_a_circle_through_a_lock_is_found_whichever_of_the_two_closes_it(
    scratch: Scratch, lock_comes_first: bool
) -> None:
    """One holds a disk and waits for the end of a job that comes after another, which wants the disk."""
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        holds = await coordinator.submit(Meet(held=disk))
        await gate.wait_entered()
        if lock_comes_first:
            wants: Job[Any] = await coordinator.submit(WaitingWork(disk=disk))
        else:
            wants = await coordinator.submit(Meet(wanted=disk))
            await gate.wait_entered()
        last = await coordinator.submit(Call(), after=[wants], after_policy=AfterPolicy.ENDED)
        met[:] = [last.id]
        gate.open.set()
        if lock_comes_first:
            assert f"job {wants.id} waits for a lock of this job" in (await failure_of(holds)).message
            await wants.result(WAIT_S)
        else:
            await failure_of(wants)  # it does not wait for locks
            await holds.result(WAIT_S)
        await last.result(WAIT_S)


def test_who_waits_for_a_job_looks_again_when_one_that_it_comes_after_begins_to_wait() -> None:
    told: list[tuple[UUID, Fact]] = []
    waits = Waits(lambda id, fact: told.append((id, fact)))
    waiter, last, between, first = (UUID(int=n) for n in (1, 2, 3, 4))
    task = replace(PLACEHOLDER, flow_id=waiter, wait_json=Wait(job=last).to_json())
    order = [(last, between), (between, first)]
    after = [replace(FORMER, flow_id=flow, former_id=former, result=None) for flow, former in order]
    waits.stored([Change(None, task), *(Change(None, each) for each in after)])
    del told[:]
    waits.stored([Change(None, replace(TICKET, flow_id=first))])
    looks = [(waiter, Look(task.id)), (last, Examine(last)), (between, Examine(between))]
    assert sorted(told, key=str) == sorted(looks, key=str)


def test_many_jobs_to_come_after_are_one_reason_to_look() -> None:
    told: list[tuple[UUID, Fact]] = []
    waits = Waits(lambda id, fact: told.append((id, fact)))
    formers = [FormerRecord(UUID(int=1), UUID(int=n), AfterPolicy.ENDED) for n in range(2, 102)]
    waits.stored([Change(None, each) for each in formers])
    assert told == [(UUID(int=1), Examine(UUID(int=1)))]


@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)  # a live server's database cannot be copied
async def test_wherever_the_engine_dies_what_comes_after_begins_once_and_in_order(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[Scratch] = []
    async with opened(scratch, *MEMBERS, settings=Settings(sets_max=1)) as coordinator:
        monkeypatch.setattr("interlock.failpoints.after", copying(scratch, copies))
        calls = await coordinator.submit_all([Call(), Call(function="broken")], order=CallOrder.SEQUENTIAL)
        alarm = await coordinator.submit(Call(), after=calls, after_policy=AfterPolicy.FAILED)
        never = await coordinator.submit(Call(), after=[*calls, alarm])
        await failure_of(never)
        await alarm.result(WAIT_S)
    monkeypatch.undo()
    expected = [Result.SUCCEEDED, Result.FAILED, Result.SUCCEEDED, Result.CANCELLED]
    assert len(copies) >= 6
    for copy in copies:
        async with opened(copy, *MEMBERS) as coordinator:
            ids = [id for (id,) in copy.rows("SELECT id FROM job ORDER BY started_at, id")]
            for id in ids:
                await coordinator.wait_ended(id, WAIT_S)
            assert [job(coordinator, id).result for id in ids] == expected[: len(ids)]
