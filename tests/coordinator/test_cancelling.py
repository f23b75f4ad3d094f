"""A person cancels a job or a part of it, stops its tasks, or forces what does not end; and what is refused."""

import asyncio
from uuid import UUID

import pytest

from interlock import (
    NOTHING,
    Command,
    Coordinator,
    Failure,
    Local,
    Locks,
    Missing,
    Outcome,
    Plan,
    Reader,
    Ref,
    Refused,
    Result,
    Retry,
    Tx,
    exclusive,
    first_of,
    local,
    parallel,
    part,
    sequence,
    until,
)
from interlock.ids import new_id
from interlock.invariants import check
from interlock.model.records import ActionRecord, Undo
from interlock.model.states import State, StepStatus
from interlock.store import tables
from tests.coordinator.support import (
    WAIT_S,
    Call,
    Disk,
    Gate,
    Work,
    add_disk,
    commands,
    events,
    job,
    leftovers,
    locks,
    opened,
    read,
    steps,
    tasks,
    until_job,
)
from tests.coordinator.test_crashes_while_waiting import ONE_BY_ONE
from tests.coordinator.test_settling import copying
from tests.databases import Scratch

undone: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_undone() -> None:
    undone.clear()


class Mark(Command[None], name="mark"):
    """Does something at once that can be undone."""

    word: str

    def compensate(self, db: Tx) -> Plan:
        undone.append(self.word)
        return NOTHING


class Planned(Command[None], name="planned"):
    """Whatever plan the test has chosen."""

    which: str

    def execute(self, db: Tx) -> Plan:
        return PLANS[self.which]

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        return PLANS.get(f"{self.which}, its end", NOTHING)


class UntilNoted(Command[None], name="until_noted"):
    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        return part(until(self.is_noted, watch=self.disk))

    def is_noted(self, db: Reader) -> bool:
        return db.get(self.disk).note != ""


gated, quick = part(local("gate"), step="GATE"), part(local("noop"))
PLANS: dict[str, Plan] = {
    "a gate": gated,
    "marks and a gate": sequence(part(Mark(word="one")), part(Mark(word="two")), part(Call(function="gate")), quick),
    "two gates": parallel(part(Call(function="gate"), step="LEFT"), part(Call(function="gate"), step="RIGHT")),
    "a gate again": part(local("gate"), retry=Retry(3, 0.0)),
    "a gate or nothing": first_of(part(Call(function="gate")), quick),
    "past return": sequence(part(Mark(word="one"), no_return=True), part(Call(function="gate")), quick),
    "at its return": sequence(part(Call(function="gate"), no_return=True), quick),
    "one past return": parallel(
        part(sequence(part(Mark(word="one"), no_return=True), gated), key="kept"),
        part(Call(function="gate"), key="stopped"),
    ),
    "doomed at its return": parallel(
        part(parallel(sequence(part(Call(function="doomed"), no_return=True), quick), part(Call(function="gate")))),
        part(Call(function="gate")),
    ),
    "a group later": sequence(part(Call(function="gate")), part(sequence(part(local("noop"), step="LATER"), quick))),
    "broken": part(local("broken")),
    "broken, its end": part(local("gate")),
    "best effort in between": sequence(part(Call(function="gate")), part(Mark(word="one"), best_effort=True), quick),
    "best effort": sequence(part(Call(function="gate"), best_effort=True), quick),
}
MEMBERS = (Mark, Planned, UntilNoted)


def actions(coordinator: Coordinator) -> list[ActionRecord]:
    return read(coordinator, ActionRecord, tables.actions)


async def begun(coordinator: Coordinator, gate: Gate, which: str, gates: int = 1) -> UUID:
    """A job of that plan whose gates were entered."""
    begun = await coordinator.submit(Planned(which=which))
    for _ in range(gates):
        await gate.wait_entered()
    return begun.id


async def ended(coordinator: Coordinator, id: UUID) -> Result | None:
    await coordinator.wait_ended(id, WAIT_S)
    return job(coordinator, id).result


async def test_a_cancelled_job_stops_its_task_and_undoes_what_completed(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "marks and a gate")
        await coordinator.cancel(id, by="ann", reason="wrong disk")
        assert await ended(coordinator, id) is Result.CANCELLED
        assert undone == ["two", "one"]
        root, *parts = commands(coordinator, id)
        assert [(each.result, each.undo) for each in parts] == [
            (Result.SUCCEEDED, Undo.DONE), (Result.SUCCEEDED, Undo.DONE), (Result.CANCELLED, None),
            (Result.CANCELLED, None),
        ]  # fmt: skip
        assert (root.stopping, root.stopped_by) == ("cancelled by ann: wrong disk", "ann")
        [task] = tasks(coordinator, id)
        assert (task.outcome, task.stopped_by) == (Outcome.STOPPED, "ann")
        failure = Failure.from_json(root.failure_json or "")
        assert failure.message.startswith("cancelled by ann: wrong disk; ")
        assert [cause.remedy for cause in failure.causes] == [None, None], "nobody is told to give it more time"
        assert (leftovers(coordinator, id), locks(coordinator)) == ([], [])
        assert job(coordinator, id).status is StepStatus.ABORTED
        told = [(event.kind, event.user) for event in events(coordinator, id) if event.user]
        assert told == [("cancel_accepted", "ann")]
        [action] = actions(coordinator)
        assert (action.by, action.what, action.subject, action.reason) == (
            "ann", "job.cancel", Ref("job", id), "wrong disk",
        )  # fmt: skip
        assert (action.before_json, action.after_json) == (None, '{"stopping": "cancelled by ann: wrong disk"}')


async def test_a_job_that_waits_never_begins_once_it_is_cancelled(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, Patient, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        waits = await coordinator.submit(Patient(disk=ref))
        await coordinator.cancel(waits.id, by="ann")
        assert await ended(coordinator, waits.id) is Result.CANCELLED
        [root] = commands(coordinator, waits.id)
        assert (root.started_at, Failure.from_json(root.failure_json or "").message) == (None, "cancelled by ann")
        assert read(coordinator, ActionRecord, tables.lock_tickets) == []
        gate.open.set()
        await holder.result(WAIT_S)


class Patient(Command[None], name="patient"):
    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk).waiting()


async def test_what_comes_after_a_best_effort_part_that_never_began_has_its_turn(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "best effort in between")
        await coordinator.cancel(id, by="ann", target=commands(coordinator, id)[2].id)
        gate.open.set()
        assert await ended(coordinator, id) is Result.SUCCEEDED
        assert [row.result for row in commands(coordinator, id)[1:4]] == [
            Result.SUCCEEDED, Result.CANCELLED, Result.SUCCEEDED,
        ]  # fmt: skip


async def test_one_part_is_cancelled_and_its_job_fails_because_of_that(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "two gates", 2)
        left, right = (each for each in steps(coordinator, id) if each.name in ("LEFT", "RIGHT"))
        await coordinator.cancel(id, by="ann", target=left.id)
        await until_job(coordinator, id, lambda _: commands(coordinator, id)[1].result is Result.CANCELLED)
        assert [each.state for each in commands(coordinator, id)[:3:2]] == [State.EXECUTING, State.EXECUTING]
        gate.open.set()
        assert await ended(coordinator, id) is Result.FAILED
        shown = {each.name: each.status for each in steps(coordinator, id) if each.id in (left.id, right.id)}
        assert shown == {"LEFT": StepStatus.ABORTED, "RIGHT": StepStatus.FINISHED}
        message = Failure.from_json(commands(coordinator, id)[0].failure_json or "").message
        assert message.startswith("1 of 2 parts failed: cancelled by ann")
        assert right.id == commands(coordinator, id)[2].id


async def test_one_task_is_cancelled_by_its_id(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "best effort")
        [task] = tasks(coordinator, id)
        await coordinator.cancel(id, by="ann", target=task.id)
        assert await ended(coordinator, id) is Result.SUCCEEDED, "the part may fail"
        assert tasks(coordinator, id)[0].outcome is Outcome.STOPPED


async def test_what_is_cancelled_is_not_tried_again_nor_replaced(scratch: Scratch) -> None:
    for which in ("a gate again", "a gate or nothing"):
        gate = Gate()
        async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
            id = await begun(coordinator, gate, which)
            await coordinator.cancel(id, by="ann")
            assert await ended(coordinator, id) is Result.CANCELLED
            assert gate.entries == 1


async def test_tasks_that_are_stopped_fail_as_tasks_do(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "a gate or nothing")
        await coordinator.stop_tasks(id, by="ann")
        assert await ended(coordinator, id) is Result.SUCCEEDED, "there was another way"
        assert [(each.outcome, each.stopped_by) for each in tasks(coordinator, id)] == [
            (Outcome.STOPPED, "ann"), (Outcome.SUCCEEDED, None),
        ]  # fmt: skip
        id = await begun(coordinator, gate, "a gate")
        await coordinator.stop_tasks(id, by="ann")
        assert await ended(coordinator, id) is Result.FAILED


async def test_a_wait_is_cancelled(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        waits = await coordinator.submit(UntilNoted(disk=await add_disk(coordinator)))
        await coordinator.cancel(waits.id, by="ann")
        assert await ended(coordinator, waits.id) is Result.CANCELLED
        assert [each.outcome for each in tasks(coordinator, waits.id)] == [Outcome.STOPPED]


@pytest.mark.hard_case(28)
async def test_a_cancel_that_would_change_nothing_is_refused_with_the_reason(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        done = await coordinator.submit(Call())
        await done.result(WAIT_S)
        with pytest.raises(Refused, match="it is too late, it has ended SUCCEEDED"):
            await coordinator.cancel(done.id, by="ann")
        with pytest.raises(Refused, match="has no task to stop: none has not ended"):
            await coordinator.stop_tasks(done.id, by="ann")
        with pytest.raises(Refused, match="has no task that could be abandoned"):
            await coordinator.cancel(done.id, by="ann", force=True)
        with pytest.raises(Missing, match="there is no job"):
            await coordinator.cancel(new_id(), by="ann")
        with pytest.raises(Missing, match="has no command, step or task"):
            await coordinator.cancel(done.id, by="ann", target=new_id())
        with pytest.raises(Refused, match="say who wishes it"):
            await coordinator.cancel(done.id, by="")
        for which, why in (("past return", "its point of no return"), ("at its return", "its point of no return")):
            id = await begun(coordinator, gate, which)
            with pytest.raises(Refused, match=f"it is too late, {why} was reached"):
                await coordinator.cancel(id, by="ann")
            gate.open.set()
            assert await ended(coordinator, id) is Result.SUCCEEDED
            gate.open.clear()
        assert actions(coordinator) == []


async def test_a_step_that_is_shown_and_not_planned_yet_is_not_denied(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "a group later")
        later = next(each for each in steps(coordinator, id) if each.name == "LATER")
        for ask in (coordinator.cancel, coordinator.stop_tasks):
            with pytest.raises(Refused, match=f"step LATER .{later.id}. stands for nothing that has been planned"):
                await ask(id, by="ann", target=later.id)
        gate.open.set()
        assert await ended(coordinator, id) is Result.SUCCEEDED


async def test_what_has_passed_its_point_of_no_return_goes_on_and_the_rest_is_cancelled(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "one past return", 2)
        await coordinator.cancel(id, by="ann")
        await until_job(
            coordinator, id, lambda _: any(c.key == "stopped" and c.result for c in commands(coordinator, id))
        )
        by_key = {each.key: each for each in commands(coordinator, id)}
        assert (by_key["kept"].state, by_key["kept"].stopping) == (State.EXECUTING, None)
        with pytest.raises(Refused, match="is being stopped already"):
            await coordinator.cancel(id, by="bob")
        gate.open.set()
        assert await ended(coordinator, id) is Result.CANCELLED
        by_key = {each.key: each for each in commands(coordinator, id)}
        assert (by_key["kept"].result, by_key["stopped"].result) == (Result.SUCCEEDED, Result.CANCELLED)
        assert undone == []
        told = [event.message for event in events(coordinator, id) if event.kind == "cancel_too_late"]
        assert told == [f"{by_key['kept'].title} goes on: it is too late, its point of no return was reached"]


async def test_what_was_spared_is_no_lost_cancel_where_its_point_of_no_return_fails_after_all(scratch: Scratch) -> None:
    gate, doom, entered = Gate(), asyncio.Event(), asyncio.Event()

    async def doomed() -> None:
        entered.set()
        await asyncio.wait_for(doom.wait(), WAIT_S)
        raise ValueError("it did not work")

    async with opened(scratch, *MEMBERS, Local("doomed", doomed), gate=gate) as coordinator:
        id = await begun(coordinator, gate, "doomed at its return", 2)
        await asyncio.wait_for(entered.wait(), WAIT_S)
        await coordinator.cancel(id, by="ann")
        doom.set()
        await until_job(coordinator, id, lambda _: commands(coordinator, id)[3].result is Result.FAILED)
        with coordinator.reading() as connection:
            assert check(connection) == []
        gate.open.set()
        assert await ended(coordinator, id) is Result.CANCELLED


@pytest.mark.hard_case(28)
async def test_a_success_that_was_on_its_way_counts_and_says_that_the_cancel_came_too_late(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "a gate")
        engine = coordinator._engine
        with scratch.held():
            cancelling = asyncio.ensure_future(coordinator.cancel(id, by="ann"))
            async with asyncio.timeout(WAIT_S):
                while not engine._slots[id].errands:
                    await asyncio.sleep(0)
            gate.open.set()
            async with asyncio.timeout(WAIT_S):
                while not engine._slots[id].mailbox:
                    await asyncio.sleep(0)
        await cancelling
        assert await ended(coordinator, id) is Result.SUCCEEDED
        [late] = [event.message for event in events(coordinator, id) if event.kind == "succeeded_late"]
        assert late == "planned has succeeded all the same, and counts: cancelled by ann"
        assert commands(coordinator, id)[0].has_warnings


async def test_what_mends_a_failure_is_not_cancelled_but_can_be_forced(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        id = await begun(coordinator, gate, "broken")
        with pytest.raises(Refused, match="its parts are over and end_with_failure is under way"):
            await coordinator.cancel(id, by="ann")
        with pytest.raises(Refused, match="or mend what failed"):
            await coordinator.stop_tasks(id, by="ann")
        await coordinator.cancel(id, by="ann", force=True, reason="it hangs")
        assert await ended(coordinator, id) is Result.FAILED
        [_, abandoned] = tasks(coordinator, id)
        assert (abandoned.outcome, abandoned.message) == (Outcome.UNKNOWN, "abandoned by ann: it hangs")
        assert {each.task_id for each in leftovers(coordinator, id)} == {None, abandoned.id}


@pytest.mark.hard_case(28)
async def test_a_forced_cancel_abandons_what_does_not_answer_and_leaves_it(scratch: Scratch) -> None:
    stubborn = asyncio.Event()

    async def deaf() -> None:
        while not stubborn.is_set():
            try:
                await asyncio.wait_for(stubborn.wait(), WAIT_S)
            except asyncio.CancelledError:
                continue

    class Deaf(Command[None], name="deaf"):
        disk: Ref[Disk]

        def locks(self, db: Reader) -> Locks:
            return exclusive(self.disk)

        def execute(self, db: Tx) -> Plan:
            return part(local("deaf"))

    async with opened(scratch, Deaf, Local("deaf", deaf)) as coordinator:
        ref = await add_disk(coordinator)
        hangs = await coordinator.submit(Deaf(disk=ref))
        await coordinator.cancel(hangs.id, by="ann")
        with pytest.raises(Refused, match="is being stopped already"):
            await coordinator.cancel(hangs.id, by="ann")
        await coordinator.cancel(hangs.id, by="ann", force=True)
        assert await ended(coordinator, hangs.id) is Result.CANCELLED
        [task], [leftover] = tasks(coordinator, hangs.id), leftovers(coordinator, hangs.id)
        assert (task.outcome, leftover.task_id, leftover.refs) == (Outcome.UNKNOWN, task.id, (ref,))
        with pytest.raises(Refused, match="blocked by leftover"):
            await coordinator.submit(Work(disk=ref))
        stubborn.set()


async def test_what_was_abandoned_before_its_turn_does_not_begin_later(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.coordinator.local_tasks.RUNNING_MAX", 1)
    gate, ran = Gate(), list[str]()
    async with opened(scratch, Local("late", lambda: ran.append("late")), gate=gate) as coordinator:
        first = await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        late = await coordinator.submit(Call(function="late"))
        await coordinator.cancel(late.id, by="ann", force=True)
        assert await ended(coordinator, late.id) is Result.CANCELLED
        last = await coordinator.submit(Call())
        gate.open.set()
        await first.result(WAIT_S)
        await last.result(WAIT_S)
        assert ran == []


async def test_a_coroutine_that_is_abandoned_is_cancelled_all_the_same(scratch: Scratch) -> None:
    told, entered = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        entered.set()
        try:
            await asyncio.sleep(WAIT_S)
        except asyncio.CancelledError:
            told.set()

    async with opened(scratch, Local("waits", waits)) as coordinator:
        job = await coordinator.submit(Call(function="waits"))
        await asyncio.wait_for(entered.wait(), WAIT_S)
        await coordinator.cancel(job.id, by="ann", force=True)
        await asyncio.wait_for(told.wait(), 2.0)
        assert await ended(coordinator, job.id) is Result.CANCELLED
        assert [task.outcome for task in tasks(coordinator, job.id)] == [Outcome.UNKNOWN]


@pytest.mark.hard_case(16)
@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)  # a live server's database cannot be copied
@pytest.mark.parametrize("force", [False, True])
async def test_a_cancel_is_kept_or_never_happened_wherever_the_engine_dies(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    gate, copies = Gate(), list[Scratch]()
    async with opened(scratch, *MEMBERS, gate=gate, settings=ONE_BY_ONE) as coordinator:
        id = await begun(coordinator, gate, "marks and a gate")
        monkeypatch.setattr("interlock.failpoints.after", copying(scratch, copies))
        await coordinator.cancel(id, by="ann", force=force)
        await ended(coordinator, id)
    monkeypatch.undo()
    gate.open.set()
    assert len(copies) >= (1 if force else 2), "the wish, and the end of the task with what follows"
    for copy in copies:
        undone.clear()
        async with opened(copy, *MEMBERS, gate=gate) as coordinator:
            assert await ended(coordinator, id) is Result.CANCELLED
            assert [each.undo for each in commands(coordinator, id)[1:3]] == [Undo.DONE, Undo.DONE]
            assert [each.kind for each in events(coordinator, id)].count("cancel_accepted") == 1
            assert len(actions(coordinator)) == 1
            assert bool(leftovers(coordinator, id)) is force
