"""Attention that a person settles: trying again, forcing an end, what is refused, and crashes around it."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    Command,
    Coordinator,
    Decision,
    Failure,
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
    local,
    part,
    sequence,
)
from interlock.core import tasks as core_tasks
from interlock.ids import new_id
from interlock.model.records import JobRecord, Severity, Undo
from interlock.model.states import State, StepStatus
from tests.coordinator.support import (
    WAIT_S,
    Call,
    Disk,
    Gate,
    Status,
    Work,
    add_disk,
    commands,
    disk,
    events,
    failure_of,
    job,
    leftovers,
    locks,
    opened,
    steps,
    tasks,
    until_job,
)
from tests.databases import Scratch

#: the names of commands whose end phases raise
broken_ends: set[str] = set()
undone: list[str] = []


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    broken_ends.clear()
    undone.clear()
    monkeypatch.setattr("interlock.core.retrying.END_RETRY_US", 1_000)


class Fix(Command[int], name="fix"):
    """Works on a disk; its end phases may raise."""

    disk: Ref[Disk]
    name: str = "fix"
    function: str = "noop"

    def title(self, db: Reader) -> str:
        return f"Fix {self.name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.disk), status=Status.LOCKED))
        return part(local(self.function), step="FIX")

    def end_successfully(self, db: Tx) -> int:
        self._end()
        db.put(replace(db.get(self.disk), status=Status.OK))
        return 7

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        self._end()
        return super().end_with_failure(db, failure)

    def compensate(self, db: Tx) -> Plan:
        undone.append(self.name)
        return super().compensate(db)

    def _end(self) -> None:
        if self.name in broken_ends:
            raise ValueError(f"the end of {self.name} cannot be told")


class Fixes(Command[None], name="fixes"):
    """Two in turn; the second may be tried again by itself."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        return sequence(
            part(Fix(disk=self.disk, name="one"), step="ONE"),
            part(Fix(disk=self.disk, name="two"), step="TWO", retry=Retry(3, 0.0)),
            part(Fix(disk=self.disk, name="three"), step="THREE"),
        )


def needs_somebody(row: JobRecord) -> bool:
    return row.attention is not None


async def parked(coordinator: Coordinator, command: type[Command[Any]], broken: str) -> tuple[Any, Ref[Disk]]:
    """A job whose command of that name cannot tell its end."""
    broken_ends.add(broken)
    ref = await add_disk(coordinator)
    submitted = await coordinator.submit(command(disk=ref))  # type: ignore[call-arg]
    await until_job(coordinator, submitted.id, needs_somebody)
    return submitted, ref


async def test_a_person_has_it_tried_again_without_a_restart(scratch: Scratch) -> None:
    async with opened(scratch, Fix) as coordinator:
        submitted, _ = await parked(coordinator, Fix, "fix")
        broken_ends.clear()
        await coordinator.settle(submitted.id, Decision.RETRY, by="ann", reason="mended it")
        assert await submitted.result(WAIT_S) == 7
        [root] = commands(coordinator, submitted.id)
        assert (root.attention, root.attempts, root.forced_by) == (None, 0, None)
        [told] = [each for each in events(coordinator, submitted.id) if each.user == "ann"]
        assert (told.kind, told.message) == ("attention_retried", "Fix fix is tried again by ann: mended it")
        assert (told.command_id, told.severity) == (submitted.id, Severity.INFO)
        assert leftovers(coordinator, submitted.id) == []


async def test_what_fails_again_asks_again(scratch: Scratch) -> None:
    async with opened(scratch, Fix) as coordinator:
        submitted, _ = await parked(coordinator, Fix, "fix")
        before = job(coordinator, submitted.id).events
        await coordinator.settle(submitted.id, Decision.RETRY, by="ann", reason="hope")
        await until_job(coordinator, submitted.id, lambda row: needs_somebody(row) and row.events >= before + 2)
        assert [each.kind for each in events(coordinator, submitted.id)].count("attention_raised") == 2


@pytest.mark.hard_case(28)
@pytest.mark.parametrize(
    ("decision", "result", "shown"),
    [
        (Decision.FORCE_SUCCESS, Result.SUCCEEDED, StepStatus.FINISHED),
        (Decision.FORCE_FAILURE, Result.FAILED, StepStatus.FAILED),
    ],
)
async def test_a_forced_end_is_marked_and_leaves_what_its_phase_did_not_do(
    scratch: Scratch, decision: Decision, result: Result, shown: StepStatus
) -> None:
    async with opened(scratch, Fix) as coordinator:
        submitted, ref = await parked(coordinator, Fix, "fix")
        await coordinator.settle(submitted.id, decision, by="ann", reason="did it by hand")
        ended = await coordinator.wait_ended(submitted.id, WAIT_S)
        assert (ended.result, ended.forced_by, ended.attention, ended.value_json) == (result, "ann", None, None)
        shown_job = job(coordinator, submitted.id)
        assert (shown_job.status, shown_job.result, shown_job.attention) == (shown, result, None)
        words = f"Fix fix was forced to end {result} by ann: did it by hand"
        [told] = [each for each in events(coordinator, submitted.id) if each.kind == "command_forced"]
        assert (told.message, told.user, told.severity) == (words, "ann", Severity.WARNING)
        assert (ended.failure_json is None) is (result is Result.SUCCEEDED)
        if ended.failure_json is not None:
            assert Failure.from_json(ended.failure_json).message == words
        [left] = leftovers(coordinator, submitted.id)
        assert (left.id, left.refs, left.task_id) == (submitted.id, (ref,), None)
        assert left.reason == "Fix fix was forced to end: its end_successfully did not run"
        assert disk(coordinator, ref).status is Status.LOCKED, "no phase was run, nothing restored"
        assert locks(coordinator) == []
        await coordinator.clear_leftover(left.id, by="ann", reason="the disk is right")
        with pytest.raises(Refused, match="needs nobody's attention"):
            await coordinator.settle(submitted.id, decision, by="ann", reason="again")


async def test_a_part_that_is_forced_to_fail_fails_its_parent_which_undoes_the_others(scratch: Scratch) -> None:
    async with opened(scratch, Fixes, Fix) as coordinator:
        submitted, _ = await parked(coordinator, Fixes, "two")
        await coordinator.settle(submitted.id, Decision.FORCE_FAILURE, by="ann", reason="give up")
        failure = await failure_of(submitted)
        assert "Fix two was forced to end FAILED by ann: give up" in failure.message
        root, one, two, three = commands(coordinator, submitted.id)
        assert (root.result, root.forced_by, one.undo) == (Result.FAILED, None, Undo.DONE)
        assert (two.result, two.forced_by, two.superseded) == (Result.FAILED, "ann", False), "not tried again by itself"
        assert (three.result, three.started_at, undone) == (Result.CANCELLED, None, ["one"])
        assert [each.status for each in steps(coordinator, submitted.id) if each.name in ("ONE", "TWO", "THREE")] == [
            StepStatus.FINISHED, StepStatus.FAILED, StepStatus.NOT_STARTED,
        ]  # fmt: skip


async def test_a_part_that_is_forced_to_succeed_lets_its_parent_go_on(scratch: Scratch) -> None:
    async with opened(scratch, Fixes, Fix) as coordinator:
        submitted, _ = await parked(coordinator, Fixes, "two")
        two = commands(coordinator, submitted.id)[2]
        with pytest.raises(Missing, match="has no command"):
            await coordinator.settle(submitted.id, Decision.RETRY, by="ann", reason="x", command_id=new_id())
        with pytest.raises(Refused, match="needs nobody's attention; it is EXECUTING"):
            await coordinator.settle(submitted.id, Decision.RETRY, by="ann", reason="x", command_id=submitted.id)
        await coordinator.settle(
            submitted.id, Decision.FORCE_SUCCESS, by="ann", reason="is done", command_id=two.id
        )  # fmt: skip
        await submitted.result(WAIT_S)
        assert [each.result for each in commands(coordinator, submitted.id)] == [Result.SUCCEEDED] * 4
        assert (job(coordinator, submitted.id).status, undone) == (StepStatus.FINISHED, [])


async def test_success_is_not_forced_on_what_has_failed(scratch: Scratch) -> None:
    async with opened(scratch, Fix) as coordinator:
        broken_ends.add("fix")
        ref = await add_disk(coordinator)
        submitted = await coordinator.submit(Fix(disk=ref, function="broken"))
        await until_job(coordinator, submitted.id, needs_somebody)
        with pytest.raises(Refused, match=r"has failed already .*the disk is broken"):
            await coordinator.settle(submitted.id, Decision.FORCE_SUCCESS, by="ann", reason="x")
        with pytest.raises(Refused, match="say why"):
            await coordinator.settle(submitted.id, Decision.FORCE_FAILURE, by="ann", reason=" ")
        with pytest.raises(Missing, match="there is no job"):
            await coordinator.settle(new_id(), Decision.FORCE_FAILURE, by="ann", reason="x")
        await coordinator.settle(submitted.id, Decision.FORCE_FAILURE, by="ann", reason="x")
        message = (await failure_of(submitted)).message
        assert message.endswith("by ann: x; before: broken failed on this process: ValueError: the disk is broken")


# unknown classes, tasks that may run ----------------------------------------------------------------


async def without_its_class(scratch: Scratch) -> tuple[UUID, Ref[Disk]]:
    """A job whose class the next engine does not know, with a task under way below it."""
    gate = Gate()
    async with opened(scratch, Outer, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        submitted = await coordinator.submit(Outer(disk=ref))
        await gate.wait_entered()
    return submitted.id, ref


class Outer(Command[None], name="outer"):
    """A part that is done, one at work, and one to come."""

    disk: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk)

    def execute(self, db: Tx) -> Plan:
        return sequence(
            part(Call()), part(Work(disk=self.disk, function="gate"), step="AT_WORK"), part(Call(), step="TO_COME")
        )


@pytest.mark.hard_case(28)
async def test_an_unknown_class_can_be_forced_to_fail_only_and_its_tasks_become_leftovers(scratch: Scratch) -> None:
    id, ref = await without_its_class(scratch)
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        await until_job(coordinator, id, needs_somebody)
        await gate.wait_entered()
        for decision in (Decision.RETRY, Decision.FORCE_SUCCESS):
            with pytest.raises(Refused, match=r"the class of command outer is gone.*only be forced to fail"):
                await coordinator.settle(id, decision, by="ann", reason="x")
        [task] = [each for each in tasks(coordinator, id) if each.outcome is None]
        with pytest.raises(Refused, match=f"may still run: gate on this process .task {task.id}.; wait for their end"):
            await coordinator.settle(id, Decision.FORCE_FAILURE, by="ann", reason="x")
        assert job(coordinator, id).ended_at is None
        await coordinator.settle(id, Decision.FORCE_FAILURE, by="ann", reason="x", leave_tasks=True)
        ended = await coordinator.wait_ended(id, WAIT_S)
        assert (ended.result, ended.has_leftovers, ended.forced_by) == (Result.FAILED, True, "ann")
        _, done, at_work, to_come = commands(coordinator, id)
        assert (done.result, done.forced_by) == (Result.SUCCEEDED, None)
        assert (at_work.result, at_work.forced_by) == (Result.CANCELLED, "ann")
        assert (to_come.result, to_come.started_at) == (Result.CANCELLED, None)
        assert {each.name: each.status for each in steps(coordinator, id) if each.parent_step_id} == {
            "CALL": StepStatus.FINISHED, "AT_WORK": StepStatus.ABORTED, "WORK": StepStatus.FAILED,
            "TO_COME": StepStatus.NOT_STARTED,
        }  # fmt: skip
        assert {each.id for each in leftovers(coordinator, id)} == {task.id, id}
        of_root = next(each for each in leftovers(coordinator, id) if each.id == id)
        assert of_root.reason == (
            "outer was forced to end: its end_with_failure did not run, and what had completed was not undone: call"
        )
        gate.open.set()
        with pytest.raises(Refused, match=f"blocked by leftover {task.id}"):
            await coordinator.submit(Work(disk=ref))
        await coordinator.clear_leftover(task.id, by="ann", reason="it has ended")
        assert await (await coordinator.submit(Work(disk=ref))).result(WAIT_S) == 1
        assert next(each for each in tasks(coordinator, id) if each.id == task.id).outcome is Outcome.UNKNOWN


@pytest.mark.hard_case(29)
async def test_it_can_be_forced_without_leaving_tasks_once_they_have_ended(scratch: Scratch) -> None:
    id, _ = await without_its_class(scratch)
    gate = Gate()
    gate.open.set()
    async with opened(scratch, gate=gate) as coordinator:
        await until_job(coordinator, id, needs_somebody)
        async with asyncio.timeout(WAIT_S):
            while any(each.state is not State.ENDED for each in commands(coordinator, id)[1:]):
                # looked at again even without an event: the last one may have come between the two looks
                await coordinator.changed(id, job(coordinator, id).events, 0.05)
        await coordinator.settle(id, Decision.FORCE_FAILURE, by="ann", reason="x")
        assert (await coordinator.wait_ended(id, WAIT_S)).result is Result.FAILED
        assert [each.id for each in leftovers(coordinator, id)] == [id]


class Gone(Call, name="gone"):
    """A part whose class the next engine does not know."""


class Before(Command[None], name="before"):
    """Something at work, then a part that would be tried again by itself."""

    def execute(self, db: Tx) -> Plan:
        return sequence(part(Call(function="gate")), part(Gone(), retry=Retry(3, 0.0), step="GONE"))


async def test_a_part_that_never_began_is_cancelled_and_not_tried_again(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, Before, Gone, gate=gate) as coordinator:
        submitted = await coordinator.submit(Before())
        await gate.wait_entered()
    async with opened(scratch, Before, gate=gate) as coordinator:
        await until_job(coordinator, submitted.id, needs_somebody)
        await coordinator.settle(submitted.id, Decision.FORCE_FAILURE, by="ann", reason="no such thing any more")
        assert job(coordinator, submitted.id).attention is None
        gate.open.set()
        ended = await coordinator.wait_ended(submitted.id, WAIT_S)
        assert (ended.result, leftovers(coordinator, submitted.id)) == (Result.FAILED, [])
        _, _, gone = commands(coordinator, submitted.id)
        assert (gone.result, gone.forced_by, gone.attempt, gone.started_at) == (Result.CANCELLED, "ann", 1, None)


# flows that were parked whole -----------------------------------------------------------------------


async def test_a_run_that_raised_is_run_again_with_the_fact_that_it_was_about(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a task would otherwise be told to nobody any more, and the job stay for ever."""
    original, gate = core_tasks.reported, Gate()

    def reported(flow: Any, fact: Any, now: int) -> Any:
        if hasattr(fact, "outcome"):
            raise RuntimeError("a bug of ours")
        return original(flow, fact, now)

    async with opened(scratch, gate=gate, repeatable=False) as coordinator:
        work = await coordinator.submit(Work(disk=await add_disk(coordinator), function="gate"))
        await gate.wait_entered()
        monkeypatch.setattr(core_tasks, "reported", reported)
        gate.open.set()
        await until_job(coordinator, work.id, needs_somebody)
        monkeypatch.setattr(core_tasks, "reported", original)
        await coordinator.settle(work.id, Decision.RETRY, by="ann", reason="mended")
        assert await work.result(WAIT_S) == 1
        assert gate.entries == 1


entered, released = threading.Semaphore(0), threading.Event()


class Poison(Command[None], name="poison"):
    """Its end phase lasts until the test lets go; then the process has died in it."""

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"))

    def end_successfully(self, db: Tx) -> None:
        entered.release()
        assert released.wait(WAIT_S)


async def test_a_flow_under_which_engines_died_is_tried_once_more_on_a_wish(scratch: Scratch) -> None:
    crashed = scratch
    for life in range(4):
        released.clear()
        async with opened(crashed, Poison) as coordinator:
            if life == 0:
                poison = await coordinator.submit(Poison())
            assert await asyncio.to_thread(entered.acquire, timeout=WAIT_S)
            crashed = crashed.copy(f"crash{life}")
            released.set()
            await coordinator.wait_ended(poison.id, WAIT_S)
    async with opened(crashed, Poison) as coordinator:
        await until_job(coordinator, poison.id, needs_somebody)
        await coordinator.settle(poison.id, Decision.RETRY, by="ann", reason="mended")
        assert (await coordinator.wait_ended(poison.id, WAIT_S)).result is Result.SUCCEEDED
        assert entered.acquire(blocking=False)


# crashes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", [Decision.RETRY, Decision.FORCE_SUCCESS, Decision.FORCE_FAILURE])
async def test_a_decision_is_kept_or_never_happened_whenever_the_engine_dies(
    scratch: Scratch, decision: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies are taken before and after (of files: at every commit between); each ends as the decision says."""
    async with opened(scratch, Fixes, Fix) as coordinator:
        submitted, ref = await parked(coordinator, Fixes, "two")
        copies, before = [scratch.copy("before")], job(coordinator, submitted.id).events
        with monkeypatch.context() as patch:
            if scratch.dialect == "sqlite":
                patch.setattr("interlock.failpoints.after", copying(scratch, copies))
            await coordinator.settle(submitted.id, decision, by="ann", reason="x")
            if decision is Decision.RETRY:
                await until_job(coordinator, submitted.id, lambda row: needs_somebody(row) and row.events > before + 1)
            else:
                await coordinator.wait_ended(submitted.id, WAIT_S)
        copies.append(scratch.copy("after"))
    broken_ends.clear()
    assert len(copies) > 2 or scratch.dialect != "sqlite"
    for copy in copies:
        async with opened(copy, Fixes, Fix) as coordinator:
            ended = await coordinator.wait_ended(submitted.id, WAIT_S)
            kinds = [each.kind for each in events(coordinator, submitted.id)]
            forced = [each for each in commands(coordinator, submitted.id) if each.forced_by]
            assert (len(forced), kinds.count("command_forced")) == ((1, 1) if "command_forced" in kinds else (0, 0))
            is_failure = decision is Decision.FORCE_FAILURE and bool(forced)
            assert ended.result is (Result.FAILED if is_failure else Result.SUCCEEDED)
            assert bool(forced) is (decision is not Decision.RETRY and copy is not copies[0])
            assert (locks(coordinator), disk(coordinator, ref).name) == ([], "d")


def copying(scratch: Scratch, copies: list[Scratch]) -> Callable[[str, Any], None]:
    """In place of `failpoints.after`: what a crash just after this commit would leave."""

    def after(name: str, hit: Any) -> None:
        if name.startswith("commit"):
            copies.append(scratch.copy(f"copy{len(copies)}"))

    return after
