"""Several commands in one call: each a job, all validated before any runs; and how commands show."""

from collections.abc import Iterable
from typing import Any

import pytest

from interlock import (
    CallOrder,
    Command,
    Context,
    Coordinator,
    InvalidInput,
    Job,
    KeyReused,
    Plan,
    Reader,
    Ref,
    Refusals,
    Refused,
    Result,
    Tx,
    local,
    part,
    refuse,
)
from interlock.model.failure import Failure
from interlock.views import jobs as listed
from tests.coordinator.support import WAIT_S, Call, Disk, Gate, Work, add_disk, commands, failure_of, job, opened
from tests.databases import Scratch

#: which commands have executed, in order
ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


class Note(Command[str], name="note"):
    """Notes that it ran; may be refused, and may fail."""

    text: str
    refused: bool = False
    function: str = "noop"

    def title(self, db: Reader) -> str:
        return f"Note {self.text}"

    def validate(self, db: Reader) -> Refusals:
        if self.refused:
            yield refuse(f"{self.text} is not to be noted")

    def execute(self, db: Tx) -> Plan:
        ran.append(self.text)
        return part(local(self.function))

    def end_successfully(self, db: Tx) -> str:
        return self.text


class Inner(Command[None], name="inner", internal=True):
    """A part of others."""


class Beat(Command[None], name="beat", monitored=False):
    """So frequent that nobody wants to see it."""


MEMBERS = (Note, Inner, Beat)


def results(coordinator: Coordinator, jobs: Iterable[Job[Any]]) -> list[Result | None]:
    return [job(coordinator, each.id).result for each in jobs]


def notes(letters: str, **options: Any) -> list[Note]:
    return [Note(text=letter, **options) for letter in letters]


async def test_side_by_side_each_is_a_job_with_its_own_end(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        both = await coordinator.submit_all(
            [Note(text="a", function="gate"), Note(text="b", function="broken"), Note(text="c")], correlation_id="c1"
        )
        await gate.wait_entered()
        assert await both[2].result(WAIT_S) == "c"
        await failure_of(both[1])
        gate.open.set()
        assert await both[0].result(WAIT_S) == "a"
        assert {job(coordinator, each.id).correlation_id for each in both} == {"c1"}
        assert sorted(ran) == ["a", "b", "c"]


async def test_in_turn_each_begins_when_the_one_before_has_succeeded(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        call = [Note(text="a", function="gate"), Note(text="b"), Note(text="c", function="broken"), *notes("de")]
        all_five = await coordinator.submit_all(call, order=CallOrder.SEQUENTIAL)
        await gate.wait_entered()
        assert ran == ["a"]
        assert [len(commands(coordinator, each.id)) for each in all_five] == [1] * 5, "all are jobs at once"
        gate.open.set()
        message = (await failure_of(all_five[4])).message
        assert message == f"Note e was to come after job {all_five[3].id}, which ended CANCELLED; start it by itself"
        wanted = [Result.SUCCEEDED, Result.SUCCEEDED, Result.FAILED, Result.CANCELLED, Result.CANCELLED]
        assert results(coordinator, all_five) == wanted
        assert ran == ["a", "b", "c"]
        assert commands(coordinator, all_five[3].id)[0].started_at is None


async def test_one_by_one_each_begins_however_the_one_before_ended(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        call = [*notes("a"), *notes("b", function="broken"), *notes("c")]
        three = await coordinator.submit_all(call, order=CallOrder.ONE_BY_ONE)
        assert await three[2].result(WAIT_S) == "c"
        assert ran == ["a", "b", "c"]


async def test_after_a_crash_in_the_middle_the_rest_follow_in_turn(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        call = [Note(text="a", function="gate"), Note(text="b"), Note(text="c")]
        three = await coordinator.submit_all(call, order=CallOrder.SEQUENTIAL)
        await gate.wait_entered()
        crashed = scratch.copy("crashed")
    gate = Gate()
    gate.open.set()
    ran.clear()
    async with opened(crashed, *MEMBERS, gate=gate) as coordinator:
        await coordinator.wait_ended(three[2].id, WAIT_S)
        assert results(coordinator, three) == [Result.SUCCEEDED] * 3
        assert ran == ["b", "c"]


@pytest.mark.parametrize("order", CallOrder)
async def test_where_one_may_not_run_none_does_and_every_job_says_why(scratch: Scratch, order: CallOrder) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        call = [*notes("a"), *notes("bc", refused=True), *notes("d")]
        with pytest.raises(Refused) as refused:
            await coordinator.submit_all(call, order=order)
        assert list(refused.value.reasons) == ["b is not to be noted", "c is not to be noted"]
        rows = scratch.rows("SELECT c.title, c.result, c.failure_json FROM command_entities c ORDER BY c.title")
        words = "others of the same call were refused (Note b, Note c), so none was run"
        assert [(title, result, Failure.from_json(failure).message) for title, result, failure in rows] == [
            ("Note a", "CANCELLED", words),
            ("Note b", "FAILED", "b is not to be noted"),
            ("Note c", "FAILED", "c is not to be noted"),
            ("Note d", "CANCELLED", words),
        ]
        assert ran == []


async def test_a_lock_that_another_holds_refuses_the_call(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        disk = await add_disk(coordinator)
        works = await coordinator.submit(Work(disk=disk, function="gate"))
        await gate.wait_entered()
        with pytest.raises(Refused, match=f"disk d is locked by job {works.id}"):
            await coordinator.submit_all([Work(disk=disk), *notes("a")])
        gate.open.set()
        await works.result(WAIT_S)
        assert ran == []


async def test_the_same_call_again_is_the_same_jobs_and_another_is_refused(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        first = await coordinator.submit_all(notes("abc"), idempotency_key="once")
        again = await coordinator.submit_all(notes("abc"), idempotency_key="once")
        assert [(each.id, each.repeated) for each in again] == [(each.id, True) for each in first]
        for letters, order in (
            ("xyz", CallOrder.PARALLEL), ("abcd", CallOrder.PARALLEL), ("ab", CallOrder.PARALLEL),
            ("abc", CallOrder.SEQUENTIAL),
        ):  # fmt: skip
            with pytest.raises(KeyReused, match="other parameters"):
                await coordinator.submit_all(notes(letters), order=order, idempotency_key="once")
        for each in first:
            await each.result(WAIT_S)
        assert sorted(ran) == ["a", "b", "c"]


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_call_is_bounded(scratch: Scratch, count: int) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        with pytest.raises(InvalidInput, match=f"{count} commands in one call"):
            await coordinator.submit_all([Call()] * count)


async def test_a_ref_that_is_not_there_refuses_the_call_and_leaves_no_job(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        ref: Ref[Disk] = Ref("disk", (await add_disk(coordinator)).id.__class__(int=9))
        with pytest.raises(Refused, match="does not exist"):
            await coordinator.submit_all([*notes("a"), Work(disk=ref)])
        assert scratch.rows("SELECT id FROM job WHERE action <> 'disk.add'") == []


@pytest.mark.parametrize(
    ("command", "context", "is_listed"),
    [
        (Note(text="a"), Context(), True),
        (Note(text="a"), Context(monitored=False), False),
        (Inner(), Context(), False),
        (Inner(), Context(monitored=True, title="Inside"), True),
        (Beat(), Context(), False),
        (Beat(), Context(monitored=True), True),
    ],
)
async def test_what_a_command_says_of_its_showing_and_the_context_overrides(
    scratch: Scratch, command: Command[Any], context: Context, is_listed: bool
) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        submitted = await coordinator.submit(command, context=context)
        await submitted.result(WAIT_S)
        with coordinator.reading() as connection:
            page = listed.page(connection, limit=10, before=None, status=None)
        assert [each["id"] for each in page["jobs"]] == ([str(submitted.id)] if is_listed else [])
        assert job(coordinator, submitted.id).title == (context.title or command.title(None))  # type: ignore[arg-type]


async def test_an_internal_command_is_not_offered_to_people(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        with pytest.raises(InvalidInput, match="inner is internal, a part of other commands"):
            await coordinator.submit_input("inner", {})
