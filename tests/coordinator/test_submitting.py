"""Submitting: typed results, refusals, idempotency keys, correlation ids."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from interlock import (
    Bug,
    Cause,
    Command,
    Coordinator,
    InvalidInput,
    KeyReused,
    Missing,
    Plan,
    Ref,
    Refusals,
    Refused,
    Result,
    Tx,
    local,
    parallel,
    part,
    refuse,
)
from interlock.command import Reader
from interlock.model.states import State, StepStatus
from interlock.store import tables
from tests.coordinator.support import (
    WAIT_S,
    AddDisk,
    Call,
    Disk,
    Gate,
    Work,
    add_disk,
    commands,
    disk,
    events,
    failure_of,
    job,
    opened,
)
from tests.databases import Scratch


class Picky(Command[None], name="picky"):
    """Never runs, for two reasons."""

    disk: Ref[Disk]

    def validate(self, db: Reader) -> Refusals:
        yield refuse("the disk is too small")
        yield refuse("the disk is too old")


class Several(Command[list[int]], name="several"):
    """Works on some disks at once; returns their sizes."""

    disks: tuple[Ref[Disk], ...]

    def execute(self, db: Tx) -> Plan:
        return parallel(*(part(Work(disk=each), step="WORKING") for each in self.disks))

    def end_successfully(self, db: Tx) -> list[int]:
        return [child.value for child in db.children(Work)]


class WrongType(Command[int], name="wrong.type"):
    """Returns what it does not promise."""

    def end_successfully(self, db: Tx) -> int:
        return "seven"  # type: ignore[return-value]


async def test_results_are_typed_and_children_hand_theirs_up(scratch: Scratch) -> None:
    async with opened(scratch, Several) as coordinator:
        disks = [await add_disk(coordinator, f"d{n}", size=n) for n in range(4)]
        submitted = await coordinator.submit(Several(disks=tuple(disks)))
        assert await submitted.result(WAIT_S) == [0, 1, 2, 3]
        row = job(coordinator, submitted.id)
        assert (row.status, row.result, row.progress) == (StepStatus.FINISHED, Result.SUCCEEDED, 100)
        assert isinstance(disks[0], Ref)
        assert disk(coordinator, disks[2]) == Disk(id=disks[2].id, name="d2", size=2)


async def test_all_reasons_are_told_together_and_the_job_shows_them(scratch: Scratch) -> None:
    async with opened(scratch, Picky) as coordinator:
        ref = await add_disk(coordinator)
        with pytest.raises(Refused) as refused:
            await coordinator.submit(Picky(disk=ref))
        assert refused.value.reasons == ("the disk is too small", "the disk is too old")
        id = refused.value.job_id
        row = job(coordinator, id)
        assert (row.status, row.result, row.refs) == (StepStatus.FAILED, Result.FAILED, (ref,))
        [command] = commands(coordinator, id)
        assert (command.state, command.result, command.started_at) == (State.ENDED, Result.FAILED, None)


async def test_an_unknown_ref_is_refused_whole(scratch: Scratch) -> None:
    async with opened(scratch, Several) as coordinator:
        known, unknown = await add_disk(coordinator), Ref[Disk]("disk", UUID(int=1))
        with pytest.raises(Missing) as refused:
            await coordinator.submit(Several(disks=(known, unknown)))
        [reason] = refused.value.reasons
        assert str(unknown) in reason
        assert refused.value.job_id is None
        with coordinator.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(tables.job)) == 1


async def test_a_command_outside_of_the_catalog_is_refused(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        with pytest.raises(InvalidInput, match=r"picky is not registered"):
            await coordinator.submit(Picky(disk=await add_disk(coordinator)))


@pytest.mark.parametrize(
    ("correlation", "key", "words"),
    [("has space", None, "correlation id"), ("x" * 51, None, "correlation id"), (None, "a b", "idempotency key")],
)
async def test_ids_of_callers_are_checked(
    scratch: Scratch, correlation: str | None, key: str | None, words: str
) -> None:
    async with opened(scratch) as coordinator:
        with pytest.raises(InvalidInput, match=words):
            await coordinator.submit(AddDisk(disk_name="d"), correlation_id=correlation, idempotency_key=key)


async def test_a_result_of_another_type_is_an_error_of_the_end_phase(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.core.lifecycle.END_ATTEMPTS_MAX", 1)
    async with opened(scratch, WrongType) as coordinator:
        submitted = await coordinator.submit(WrongType())
        attention = job(coordinator, submitted.id).attention or ""
        assert attention.startswith("end_successfully of wrong.type failed 1 times")


# idempotency ----------------------------------------------------------------------------------------


@pytest.mark.hard_case(17)
async def test_the_same_key_is_the_same_job_even_after_a_restart(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        first = await coordinator.submit(AddDisk(disk_name="d"), idempotency_key="k")
        again = await coordinator.submit(AddDisk(disk_name="d"), idempotency_key="k")
        assert (first.repeated, again.repeated, again.id) == (False, True, first.id)
        assert await again.result(WAIT_S) == await first.result(WAIT_S)
    async with opened(scratch) as coordinator:
        later = await coordinator.submit(AddDisk(disk_name="d"), idempotency_key="k")
        assert (later.repeated, later.id) == (True, first.id)
        assert await later.result(WAIT_S) == await first_ref(coordinator)


async def first_ref(coordinator: Coordinator) -> Ref[Disk]:
    with coordinator.reading() as connection:
        row = connection.execute(select(tables.entities)).one()
    return Ref(row.type, row.id)


@pytest.mark.hard_case(17)
async def test_a_key_with_other_parameters_is_refused_and_names_its_job(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        first = await coordinator.submit(AddDisk(disk_name="d"), idempotency_key="k")
        with pytest.raises(KeyReused, match=str(first.id)) as refused:
            await coordinator.submit(AddDisk(disk_name="e"), idempotency_key="k")
        assert refused.value.job_id == first.id


@pytest.mark.hard_case(17)
async def test_a_key_used_many_times_at_the_same_moment_makes_one_job(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        submitted = await asyncio.gather(
            *(coordinator.submit(AddDisk(disk_name="d"), idempotency_key="k") for _ in range(20))
        )
        assert len({each.id for each in submitted}) == 1
        assert sum(not each.repeated for each in submitted) == 1


async def test_a_refusal_is_repeated_by_its_key(scratch: Scratch) -> None:
    async with opened(scratch, Picky) as coordinator:
        ref = await add_disk(coordinator)
        with pytest.raises(Refused) as refused:
            await coordinator.submit(Picky(disk=ref), idempotency_key="k")
        again = await coordinator.submit(Picky(disk=ref), idempotency_key="k")
        assert (again.repeated, again.id) == (True, refused.value.job_id)
        failure = await failure_of(again)
        assert failure.causes[0] == Cause("the disk is too small", ("picky",), (str(ref),))


# correlation and commits ----------------------------------------------------------------------------


async def test_the_correlation_id_is_on_every_row_of_the_flow(scratch: Scratch) -> None:
    async with opened(scratch, Several) as coordinator:
        disks = tuple([await add_disk(coordinator, f"d{n}") for n in range(2)])
        submitted = await coordinator.submit(Several(disks=disks), correlation_id="ticket-42")
        await submitted.result(WAIT_S)
        with coordinator.reading() as connection:
            for table, flow in (
                (tables.job, tables.job.c.id),
                (tables.command_entities, tables.command_entities.c.flow_id),
                (tables.async_tasks, tables.async_tasks.c.flow_id),
                (tables.step, tables.step.c.job_id),
                (tables.audit_log, tables.audit_log.c.flow_id),
            ):
                query = select(table.c.correlation_id).where(flow == submitted.id)
                assert set(connection.scalars(query)) == {"ticket-42"}, table.name


@pytest.mark.hard_case(18)
async def test_submit_answers_only_after_its_commit(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, gate=gate) as coordinator:
        for _ in range(20):
            submitted = await coordinator.submit(Call(function="gate"))
            assert job(coordinator, submitted.id).status is StepStatus.STARTED
        gate.open.set()


async def test_many_submissions_share_commits(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        before = coordinator.commits
        submitted = await asyncio.gather(*(coordinator.submit(AddDisk(disk_name=f"d{n}")) for n in range(100)))
        await asyncio.gather(*(each.result(WAIT_S) for each in submitted))
        assert coordinator.commits - before < 50


async def test_of_many_that_want_one_name_exactly_one_gets_it(scratch: Scratch) -> None:
    async with opened(scratch) as coordinator:
        answers = await asyncio.gather(
            *(coordinator.submit(AddDisk(disk_name="same")) for _ in range(40)), return_exceptions=True
        )
        refused = [each for each in answers if isinstance(each, Refused)]
        assert len(refused) == 39
        assert {reason for each in refused for reason in each.reasons} == {
            "there is a disk named 'same' already; choose another name"
        }
        with coordinator.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(tables.entities)) == 1


class Rename(Command[None], name="disk.rename"):
    disk: Ref[Disk]
    to: str

    def execute(self, db: Tx) -> Plan:
        found = db.get(self.disk)
        db.put(Disk(id=found.id, name=self.to, size=found.size))
        return parallel()


async def test_renaming_to_a_taken_name_is_a_refusal_and_no_bug(scratch: Scratch) -> None:
    async with opened(scratch, Rename) as coordinator:
        ref, _ = await add_disk(coordinator, "a"), await add_disk(coordinator, "b")
        with pytest.raises(Refused, match=r"there is a disk named 'b' already"):
            await coordinator.submit(Rename(disk=ref, to="b"))
        await (await coordinator.submit(Rename(disk=ref, to="a"))).result(WAIT_S)
        assert disk(coordinator, ref).name == "a"


class Mumble(Command[None], name="mumble"):
    """Has a part of a weight that cannot be stored."""

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"), weight=1 << 70)


@pytest.mark.hard_case(13)
async def test_a_batch_with_one_bad_statement_harms_no_other(scratch: Scratch) -> None:
    async with opened(scratch, Mumble) as coordinator:
        with scratch.held():
            good = [asyncio.create_task(coordinator.submit(AddDisk(disk_name=f"d{n}"))) for n in range(30)]
            bad = [asyncio.create_task(coordinator.submit(Mumble())) for _ in range(2)]
            await asyncio.wait(good, timeout=0.1)
        for submitted in await asyncio.gather(*good):
            await submitted.result(WAIT_S)
        for each in bad:
            with pytest.raises(Bug, match=r"OverflowError|DataError"):
                await each
        assert await add_disk(coordinator, "after")


class Say(Command[None], name="say"):
    """Puts a word wherever a phase can put one."""

    word: str

    def title(self, db: Reader) -> str:
        return f"Say {self.word}"

    def execute(self, db: Tx) -> Plan:
        db.log(self.word)
        return parallel()


class Label(Command[None], name="label"):
    word: str
    is_name: bool = True

    def execute(self, db: Tx) -> Plan:
        assert db.named(Disk, self.word) is None
        if self.is_name:
            db.add(Disk(id=db.new(Disk).id, name=self.word))
        return part(local("noop"), step=self.word)


@pytest.mark.parametrize(("word", "shown"), [("a\0b", "a\\x00b"), ("a\udcffb", "a\\udcffb")])
async def test_what_no_database_can_hold_is_refused_or_shown_in_escapes(
    scratch: Scratch, word: str, shown: str
) -> None:
    """PostgreSQL refuses U+0000 in text, SQLite takes it: a command must not end differently for that."""
    async with opened(scratch, Say, Label) as coordinator:
        if "\0" in word:  # the other one cannot be a parameter at all
            said = await coordinator.submit(Say(word=word))
            await said.result(WAIT_S)
            assert job(coordinator, said.id).title == f"Say {shown}"
            assert shown in [event.message for event in events(coordinator, said.id)]
            for label in (Label(word=word), Label(word=word, is_name=False)):
                with pytest.raises(Refused, match="with a character that no database can hold"):
                    await coordinator.submit(label)
        with pytest.raises(InvalidInput, match=r"the user is .* with a character that no database can hold"):
            await coordinator.submit(AddDisk(disk_name="d"), user=word)
        with pytest.raises(InvalidInput, match="there is no disk named"):
            await coordinator.submit_input("disk.work", {"disk": word})
        assert await add_disk(coordinator, "after")


class RemoveDisk(Command[None], name="disk.remove"):
    """Removes a disk."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        db.remove(self.disk)
        return parallel()


async def test_what_was_asked_again_was_refused_because_it_had_been_done(scratch: Scratch) -> None:
    """The client did not hear that the disk was removed, and asks again, by its name and under its key."""
    async with opened(scratch, RemoveDisk) as coordinator:
        await add_disk(coordinator, "d")
        asked: Any = {"name": "disk.remove", "parameters": {"disk": "d"}, "idempotency_key": "k"}
        first = await coordinator.submit_input(**asked)
        await first.result(WAIT_S)
        again = await coordinator.submit_input(**asked)
        assert (again.id, again.repeated) == (first.id, True)
        await add_disk(coordinator, "d")  # another one of that name
        assert (await coordinator.submit_input(**asked)).id == first.id
        with pytest.raises(KeyReused):
            await coordinator.submit_input(
                "disk.remove", {"disk": str((await add_disk(coordinator, "e")).id)}, idempotency_key="k"
            )
        call: Any = {
            "wanted": [("disk.remove", {"disk": "d"}, None), ("disk.remove", {"disk": "e"}, None)],
            "idempotency_key": "two",
        }
        both = await coordinator.submit_all_input(**call)
        for each in both:
            await each.result(WAIT_S)
        assert [each.id for each in await coordinator.submit_all_input(**call)] == [each.id for each in both]
