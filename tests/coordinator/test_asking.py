"""Jobs that ask when a part fails: what succeeded is kept, what failed is tried again or skipped, or all is undone."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest

from interlock import (
    NOTHING,
    Command,
    Coordinator,
    Decision,
    InvalidInput,
    Local,
    Outcome,
    Plan,
    Reader,
    Ref,
    Refused,
    Result,
    Tx,
    first_of,
    local,
    parallel,
    part,
    sequence,
)
from interlock.model.records import CommandRecord, JobRecord, LeftoverRecord, Undo
from interlock.model.states import State, StepStatus
from tests.coordinator.support import (
    WAIT_S,
    Disk,
    Gate,
    add_disk,
    commands,
    disk,
    events,
    job,
    leftovers,
    locks,
    opened,
    steps,
    tasks,
    until_job,
)
from tests.coordinator.test_crashes_while_waiting import ONE_BY_ONE
from tests.coordinator.test_settling import copying
from tests.databases import Scratch

#: how often each function is still to fail
to_fail: Counter[str] = Counter()
undone: list[str] = []


@pytest.fixture(autouse=True)
def _as_new() -> None:
    to_fail.clear()
    undone.clear()


def works(name: str) -> None:
    """A local function that fails as often as the test says."""
    if to_fail[name]:
        to_fail[name] -= 1
        raise ValueError(f"{name} is broken")


class Copy(Command[None], name="copy"):
    """A part that can be undone."""

    word: str

    def title(self, db: Reader) -> str:
        return f"Copy {self.word}"

    def execute(self, db: Tx) -> Plan:
        return part(local("works", name=self.word))

    def compensate(self, db: Tx) -> Plan:
        undone.append(self.word)
        return NOTHING


class Move(Command[str], name="move", resumable=True, skippable=True):
    """Whatever plan the test has chosen; its end reads its tasks."""

    which: str
    disk: Ref[Disk] | None = None

    def execute(self, db: Tx) -> Plan:
        if self.disk is not None:
            db.put(replace(db.get(self.disk), note="moving"))
        return PLANS[self.which]

    def end_successfully(self, db: Tx) -> str:
        if self.disk is not None:
            db.put(replace(db.get(self.disk), note="moved"))
        return " ".join(str(task.outcome) for task in db.tasks(self))


def copy(word: str) -> Plan:
    return part(Copy(word=word), key=word, step="COPY")


PLANS: dict[str, Plan] = {
    "in turn": sequence(copy("a"), copy("b"), copy("c")),
    "side by side": parallel(copy("a"), copy("b"), copy("c")),
    "until one fails": parallel(copy("a"), copy("b"), copy("c"), at_most=1, stop_on_failure=True),
    "one of two": sequence(first_of(copy("a"), copy("b")), copy("c")),
    "bare tasks": parallel(part(local("works", name="a")), part(local("works", name="b"))),
    "deep": sequence(part(Move(which="in turn"), key="deep"), copy("d")),
    "deep and for good": sequence(part(Move(which="in turn"), key="deep", no_return=True), copy("d")),
}
MEMBERS = (Copy, Move, Local("works", works, repeatable=True))


async def asked(coordinator: Coordinator, which: str, *failing: str, ref: Ref[Disk] | None = None) -> UUID:
    """A job in which those parts have failed once, and which asks."""
    to_fail.update(failing)
    submitted = await coordinator.submit(Move(which=which, disk=ref), ask=True)
    await until_job(coordinator, submitted.id, lambda row: row.attention is not None)
    return submitted.id


async def ended(coordinator: Coordinator, id: UUID) -> CommandRecord:
    return await coordinator.wait_ended(id, WAIT_S)


def latest(coordinator: Coordinator, id: UUID) -> dict[str, tuple[Result | None, int]]:
    """Of each part its result and attempt."""
    return {row.key: (row.result, row.attempt) for row in commands(coordinator, id) if row.depth and not row.superseded}


async def test_a_failure_is_a_question_and_what_succeeded_is_kept(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "in turn", "b")
        root = commands(coordinator, id)[0]
        assert (root.state, root.asking, undone) == (
            State.EXECUTING,
            "move: 1 of 3 parts failed: works failed on this process: ValueError: b is broken; "
            "retry what failed, skip it, or cancel, which undoes the rest",
            [],
        )
        assert job(coordinator, id).attention == root.asking
        await coordinator.settle(id, Decision.RETRY, by="ann", reason="mended")
        assert (await ended(coordinator, id)).result is Result.SUCCEEDED
        assert latest(coordinator, id) == {
            "a": (Result.SUCCEEDED, 1), "b": (Result.SUCCEEDED, 2), "c": (Result.SUCCEEDED, 2),
        }  # fmt: skip
        assert [task.outcome for task in tasks(coordinator, id)].count(Outcome.SUCCEEDED) == 3
        assert undone == []
        kinds = [event.kind for event in events(coordinator, id)]
        assert (kinds.count("decision_asked"), kinds.count("failed_retried"), kinds.count("part_retried")) == (1, 1, 1)
        shown = [step.status for step in steps(coordinator, id) if step.name == "COPY"]
        assert sorted(shown) == ["FAILED", "FINISHED", "FINISHED", "FINISHED", "NOT_STARTED"]
        assert job(coordinator, id).attention is None


async def test_what_fails_again_is_asked_again(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "side by side", "a", "b", "b")
        await coordinator.settle(id, Decision.RETRY, by="ann", reason="x")
        await until_job(coordinator, id, lambda _: latest(coordinator, id)["b"][1] == 2 and _asks(coordinator, id))
        assert latest(coordinator, id)["a"] == (Result.SUCCEEDED, 2)
        await coordinator.settle(id, Decision.SKIP, by="ann", reason="done by hand")
        root = await ended(coordinator, id)
        assert (root.result, root.has_warnings) == (Result.SUCCEEDED, True)
        [skipped] = [row for row in commands(coordinator, id) if row.skipped_by]
        assert (skipped.key, skipped.result, skipped.skipped_by) == ("b", Result.FAILED, "ann")


def _asks(coordinator: Coordinator, id: UUID) -> bool:
    return job(coordinator, id).attention is not None


async def test_one_of_several_failed_parts_is_skipped_and_the_other_tried_again(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "side by side", "a", "b")
        [failed, other] = [row for row in commands(coordinator, id) if row.result is Result.FAILED]
        await coordinator.settle(id, Decision.SKIP, by="ann", reason="x", command_id=failed.id)
        await until_job(coordinator, id, lambda _: _asks(coordinator, id))
        await coordinator.settle(id, Decision.RETRY, by="ann", reason="x", command_id=other.id)
        assert (await ended(coordinator, id)).result is Result.SUCCEEDED
        assert latest(coordinator, id) == {
            "a": (Result.FAILED, 1), "b": (Result.SUCCEEDED, 2), "c": (Result.SUCCEEDED, 1),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("which", "failing", "expected"),
    [
        ("until one fails", ("a",), {"a": (Result.FAILED, 1), "b": (Result.SUCCEEDED, 2), "c": (Result.SUCCEEDED, 2)}),
        ("one of two", ("a", "b"), {"a": (Result.FAILED, 1), "b": (Result.FAILED, 1), "c": (Result.SUCCEEDED, 2)}),
        ("in turn", ("b",), {"a": (Result.SUCCEEDED, 1), "b": (Result.FAILED, 1), "c": (Result.SUCCEEDED, 2)}),
    ],
)
async def test_what_waited_for_a_skipped_part_goes_on(
    scratch: Scratch, which: str, failing: tuple[str, ...], expected: dict[str, tuple[Result, int]]
) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, which, *failing)
        await coordinator.settle(id, Decision.SKIP, by="ann", reason="x")
        root = await ended(coordinator, id)
        assert (root.result, root.has_warnings, latest(coordinator, id)) == (Result.SUCCEEDED, True, expected)


async def test_alternatives_are_tried_again_from_the_first(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "one of two", "a", "b")
        await coordinator.settle(id, Decision.RETRY, by="ann", reason="x")
        assert (await ended(coordinator, id)).result is Result.SUCCEEDED
        assert latest(coordinator, id) == {
            "a": (Result.SUCCEEDED, 2), "b": (Result.CANCELLED, 2), "c": (Result.SUCCEEDED, 2),
        }  # fmt: skip


async def test_bare_tasks_are_tried_again_and_the_end_still_sees_them(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "bare tasks", "b")
        await coordinator.settle(id, Decision.RETRY, by="ann", reason="x")
        root = await ended(coordinator, id)
        assert (root.result, root.value_json) == (Result.SUCCEEDED, '"SUCCEEDED SUCCEEDED"')


async def test_the_innermost_command_that_may_asks(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "deep", "b")
        root, *rest = commands(coordinator, id)
        assert (root.asking, [row.key for row in rest if row.asking]) == (None, ["deep"])
        await coordinator.settle(id, Decision.RETRY, by="ann", reason="x")
        assert (await ended(coordinator, id)).result is Result.SUCCEEDED
        assert latest(coordinator, id)["a"] == (Result.SUCCEEDED, 1)


async def test_cancelling_is_the_third_answer_and_undoes_what_succeeded(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        ref = await add_disk(coordinator)
        id = await asked(coordinator, "in turn", "c", ref=ref)
        await coordinator.cancel(id, by="ann")
        assert (await ended(coordinator, id)).result is Result.CANCELLED
        assert (undone, disk(coordinator, ref).note, locks(coordinator)) == (["b", "a"], "", [])
        assert (job(coordinator, id).status, job(coordinator, id).attention) == (StepStatus.ABORTED, None)
        assert [row.undo for row in commands(coordinator, id)[1:3]] == [Undo.DONE, Undo.DONE]


async def test_who_cannot_cancel_a_job_any_more_is_told_what_of_it_asks_and_can_be_cancelled(scratch: Scratch) -> None:
    """Its part of no return is under way and asks: the job as a whole was too late to be cancelled, nothing of it went
    on, and nobody was told what to do about it."""
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "deep and for good", "b")
        [deep] = [row for row in commands(coordinator, id) if row.asking]
        for force, why in ((False, "no return was reached"), (True, "could be abandoned; it is EXECUTING")):
            with pytest.raises(Refused) as refused:
                await coordinator.cancel(id, by="ann", force=force)
            remedy = f"; move ({deep.id}) asks what is to become of it: retry, skip or cancel that one"
            assert str(refused.value).endswith(why + remedy)
        await coordinator.cancel(id, by="ann", target=deep.id)
        await until_job(coordinator, id, lambda _: commands(coordinator, id)[0].asking is not None)
        assert (latest(coordinator, id)["deep"], undone) == ((Result.CANCELLED, 1), ["a"])
        await coordinator.cancel(id, by="ann")
        assert (await ended(coordinator, id)).result is Result.CANCELLED


async def test_a_job_that_was_not_to_ask_does_not(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        to_fail["b"] = 1
        submitted = await coordinator.submit(Move(which="in turn"))
        assert (await ended(coordinator, submitted.id)).result is Result.FAILED
        assert undone == ["a"]
        with pytest.raises(Refused, match="it has ended FAILED; `interlock job restart"):
            await coordinator.settle(submitted.id, Decision.RETRY, by="ann", reason="x")


class Whole(Command[None], name="whole", resumable=True):
    """Its end needs all of its parts."""

    def execute(self, db: Tx) -> Plan:
        return parallel(copy("a"), part(parallel(copy("b"))))


async def test_what_an_end_needs_is_not_skipped(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS, Whole) as coordinator:
        to_fail.update(["a", "b"])
        submitted = await coordinator.submit(Whole(), ask=True)
        await until_job(coordinator, submitted.id, lambda row: row.attention is not None)
        for decides in (None, commands(coordinator, submitted.id)[-1].id):
            with pytest.raises(Refused, match=r"needs all of its parts|name one"):
                await coordinator.settle(submitted.id, Decision.SKIP, by="ann", reason="x", command_id=decides)
        await coordinator.cancel(submitted.id, by="ann")
        assert (await ended(coordinator, submitted.id)).result is Result.CANCELLED


class Hasty(Command[None], name="hasty"):
    """What succeeded of it does not stay right."""


async def test_only_what_can_be_resumed_may_ask(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS, Hasty) as coordinator:
        with pytest.raises(InvalidInput, match="hasty cannot ask when a part fails"):
            await coordinator.submit(Hasty(), ask=True)


async def test_success_is_not_forced_where_a_part_has_failed(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await asked(coordinator, "in turn", "b")
        with pytest.raises(Refused, match="parts of move have failed; skip them"):
            await coordinator.settle(id, Decision.FORCE_SUCCESS, by="ann", reason="x")
        await coordinator.settle(id, Decision.FORCE_FAILURE, by="ann", reason="x")
        root = await ended(coordinator, id)
        assert (root.result, root.asking, root.forced_by) == (Result.FAILED, None, "ann")


class Leaves(Command[None], name="leaves", resumable=True, skippable=True):
    """One of its tasks is abandoned."""

    def execute(self, db: Tx) -> Plan:
        return parallel(part(local("gate"), key="gate"), copy("a"))


async def test_what_left_something_is_cleared_before_it_is_skipped(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, Leaves, gate=gate) as coordinator:
        submitted = await coordinator.submit(Leaves(), ask=True)
        await gate.wait_entered()
        [entered] = [task for task in tasks(coordinator, submitted.id) if task.method == "gate"]
        await coordinator.cancel(submitted.id, by="ann", target=entered.id, force=True)
        await until_job(coordinator, submitted.id, lambda row: row.attention is not None)
        left: list[LeftoverRecord] = leftovers(coordinator, submitted.id)
        for decision in (Decision.SKIP, Decision.RETRY):
            with pytest.raises(Refused, match=f"clear leftover {left[0].id} first"):
                await coordinator.settle(submitted.id, decision, by="ann", reason="x")
        await coordinator.clear_leftover(left[0].id, by="ann", reason="nothing there")
        await coordinator.settle(submitted.id, Decision.SKIP, by="ann", reason="x")
        assert (await ended(coordinator, submitted.id)).result is Result.SUCCEEDED
        gate.open.set()


@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)  # a live server's database cannot be copied
@pytest.mark.parametrize("decision", [Decision.RETRY, Decision.SKIP])
async def test_wherever_the_engine_dies_a_question_stays_open_or_is_answered_once(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, decision: Decision
) -> None:
    copies: list[Scratch] = []
    async with opened(scratch, *MEMBERS, settings=ONE_BY_ONE) as coordinator:
        to_fail["b"] = 1
        monkeypatch.setattr("interlock.failpoints.after", copying(scratch, copies))
        submitted = await coordinator.submit(Move(which="in turn"), ask=True)
        await until_job(coordinator, submitted.id, lambda row: row.attention is not None)
        await coordinator.settle(submitted.id, decision, by="ann", reason="x")
        await ended(coordinator, submitted.id)
    monkeypatch.undo()
    assert len(copies) >= 5
    for number, copied in enumerate(copies):
        to_fail.clear()
        async with opened(copied, *MEMBERS) as coordinator:
            row = await until_job(coordinator, submitted.id, _has_ended_or_asks)
            if row.attention is not None:
                await coordinator.settle(submitted.id, decision, by="ann", reason="x")
            root = await ended(coordinator, submitted.id)
            assert (number, root.result) == (number, Result.SUCCEEDED)
            assert {key: result for key, (result, _) in latest(coordinator, submitted.id).items() if key != "b"} == {
                "a": Result.SUCCEEDED, "c": Result.SUCCEEDED,
            }  # fmt: skip
            kinds = [event.kind for event in events(coordinator, submitted.id)]
            assert kinds.count("failed_retried") + kinds.count("failed_skipped") <= 1


def _has_ended_or_asks(row: JobRecord) -> bool:
    return row.result is not None or row.attention is not None


class Inner(Command[None], name="inner"):
    """Its task shows, it does not."""

    word: str

    def execute(self, db: Tx) -> Plan:
        return part(local("works", name=self.word), step="WORK")


PLANS["shown within"] = parallel(*(part(Inner(word=word)) for word in "abc"))


async def test_what_is_about_to_be_tried_again_is_not_shown_as_done(scratch: Scratch) -> None:
    """The parts have no steps of their own, their tasks have; and the pause keeps the next attempt from beginning."""
    async with opened(scratch, *MEMBERS, Inner) as coordinator:
        id = await asked(coordinator, "shown within", "b")
        asked_at = job(coordinator, id).progress
        await coordinator.pause(id, by="ann")
        await coordinator.settle(id, Decision.RETRY, by="ann", reason="x")
        assert (asked_at, job(coordinator, id).progress) == (66, 66)
        await coordinator.resume(id, by="ann")
        await ended(coordinator, id)
        assert job(coordinator, id).progress == 100
