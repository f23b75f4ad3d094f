"""Pause, priority, lists and restart: what people change of a job besides stopping it."""

import pytest

from interlock import (
    Command,
    Coordinator,
    InvalidInput,
    KeyReused,
    Locks,
    Missing,
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
from interlock.ids import new_id
from interlock.model.locks import AGEING_US
from interlock.model.records import ActionRecord, TicketRecord
from interlock.model.states import State
from interlock.store import tables
from interlock.views import jobs as shown_jobs
from tests.coordinator.support import (
    WAIT_S,
    AddDisk,
    Call,
    Disk,
    Gate,
    Work,
    add_disk,
    commands,
    events,
    failure_of,
    job,
    opened,
    read,
    tasks,
    until_job,
)
from tests.databases import Scratch

order: list[str] = []


class Patient(Command[None], name="patient"):
    """Notes its turn once it has the disk."""

    disk: Ref[Disk]
    word: str = ""

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk).waiting()

    def end_successfully(self, db: Tx) -> None:
        order.append(self.word)


class InTurn(Command[None], name="in_turn"):
    """Two parts, one after the other; the first may be tried again."""

    function: str = "gate"

    def execute(self, db: Tx) -> Plan:
        return sequence(part(local(self.function), step="FIRST", retry=Retry(2, 0.0)), part(Call()))


MEMBERS = (Patient, InTurn)


@pytest.fixture(autouse=True)
def _no_order() -> None:
    order.clear()


def actions(coordinator: Coordinator) -> list[tuple[str, str | None, str | None]]:
    rows: list[ActionRecord] = read(coordinator, ActionRecord, tables.actions)
    return [(row.what, row.before_json, row.after_json) for row in rows]


async def test_of_a_paused_job_nothing_begins_and_what_is_under_way_ends(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        paused = await coordinator.submit(InTurn())
        await gate.wait_entered()
        await coordinator.pause(paused.id, by="ann", reason="backup")
        with pytest.raises(Refused, match="is paused already, by ann"):
            await coordinator.pause(paused.id, by="bob")
        gate.open.set()
        await until_job(coordinator, paused.id, lambda _: tasks(coordinator, paused.id)[0].outcome is not None)
        assert [row.state for row in commands(coordinator, paused.id)][:3:2] == [State.EXECUTING, State.PENDING]
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        with pytest.raises(TimeoutError):
            await coordinator.wait_ended(paused.id, 0.2)
        assert job(coordinator, paused.id).paused_by == "ann", "it outlives the process"
        await coordinator.resume(paused.id, by="bob")
        await coordinator.wait_ended(paused.id, WAIT_S)
        assert job(coordinator, paused.id).result is Result.SUCCEEDED
        with pytest.raises(Refused, match="is not paused"):
            await coordinator.resume(paused.id, by="bob")
        assert actions(coordinator) == [
            ("job.pause", None, '{"paused_by": "ann"}'), ("job.resume", '{"paused_by": "ann"}', None),
        ]  # fmt: skip
        told = [(event.kind, event.user) for event in events(coordinator, paused.id) if event.user]
        assert told == [("job_paused", "ann"), ("job_resumed", "bob")]


async def test_a_pause_that_would_hold_nothing_is_refused(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        calls = await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        with pytest.raises(Refused, match="all of it is under way"):
            await coordinator.pause(calls.id, by="ann")
        gate.open.set()
        await calls.result(WAIT_S)
        with pytest.raises(Refused, match="it has ended SUCCEEDED"):
            await coordinator.pause(calls.id, by="ann")


async def test_an_attempt_that_would_follow_is_held_by_a_pause(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        paused = await coordinator.submit(InTurn())
        await gate.wait_entered()
        await coordinator.pause(paused.id, by="ann")
        await coordinator.stop_tasks(paused.id, by="ann")
        await until_job(coordinator, paused.id, lambda _: len(commands(coordinator, paused.id)) == 4)
        assert gate.entries == 1
        await coordinator.cancel(paused.id, by="ann")
        await coordinator.wait_ended(paused.id, WAIT_S)
        assert job(coordinator, paused.id).result is Result.CANCELLED
        assert gate.entries == 1


async def test_a_paused_job_stands_in_nobodys_way_and_has_its_place_anew(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        first = await coordinator.submit(Patient(disk=ref, word="first"))
        second = await coordinator.submit(Patient(disk=ref, word="second"))
        await coordinator.pause(first.id, by="ann")
        gate.open.set()
        await holder.result(WAIT_S)
        await second.result(WAIT_S)
        assert commands(coordinator, first.id)[0].state is State.PENDING
        await coordinator.resume(first.id, by="ann")
        await first.result(WAIT_S)
        assert order == ["second", "first"]


async def test_a_changed_priority_changes_the_order_of_those_who_wait(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        ref = await add_disk(coordinator)
        holder = await coordinator.submit(Work(disk=ref, function="gate"))
        await gate.wait_entered()
        waiting = [await coordinator.submit(Patient(disk=ref, word=word)) for word in ("one", "two", "three")]
        await coordinator.set_priority(waiting[2].id, 5, by="ann", reason="urgent")
        await coordinator.set_priority(waiting[0].id, -5, by="ann")
        tickets: list[TicketRecord] = read(coordinator, TicketRecord, tables.lock_tickets)
        assert {row.flow_id: (row.since - row.rank) // AGEING_US for row in tickets} == {
            waiting[0].id: -5, waiting[1].id: 0, waiting[2].id: 5,
        }  # fmt: skip
        gate.open.set()
        for id in (holder.id, *(each.id for each in waiting)):
            await coordinator.wait_ended(id, WAIT_S)
        assert order == ["three", "two", "one"]
        assert actions(coordinator)[0] == ("job.priority", '{"priority": 0}', '{"priority": 5}')


async def test_who_loses_the_first_place_to_a_priority_lets_the_next_go(scratch: Scratch) -> None:
    """The first in line waits for two disks; what the second waits for is free."""
    gate = Gate()
    async with opened(scratch, *MEMBERS, Both, gate=gate) as coordinator:
        one, two = await add_disk(coordinator, "one"), await add_disk(coordinator, "two")
        await coordinator.submit(Work(disk=one, function="gate"))
        await gate.wait_entered()
        both = await coordinator.submit(Both(one=one, two=two))
        behind = await coordinator.submit(Patient(disk=two, word="behind"))
        assert commands(coordinator, behind.id)[0].state is State.PENDING
        await coordinator.set_priority(both.id, -5, by="ann")
        await behind.result(WAIT_S)
        gate.open.set()
        await both.result(WAIT_S)


class Both(Command[None], name="both"):
    one: Ref[Disk]
    two: Ref[Disk]

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.one, self.two).waiting()


async def test_a_priority_that_means_nothing_is_refused(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        done = await coordinator.submit(Call())
        await done.result(WAIT_S)
        with pytest.raises(Refused, match="its priority means nothing any more"):
            await coordinator.set_priority(done.id, 3, by="ann")
        with pytest.raises(InvalidInput, match="is not between -10 and 10"):
            await coordinator.set_priority(done.id, 11, by="ann")


async def test_a_job_is_hidden_from_lists_long_after_its_end_and_shown_again(scratch: Scratch) -> None:
    def listed() -> list[str]:
        with coordinator.reading() as connection:
            return [each["id"] for each in shown_jobs.page(connection, limit=10)["jobs"]]

    async with opened(scratch, *MEMBERS) as coordinator:
        done = await coordinator.submit(Call())
        await done.result(WAIT_S)
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.set_visible(done.id, visible=False, by="ann")
        assert listed() == []
        with pytest.raises(Refused, match="is hidden already"):
            await coordinator.set_visible(done.id, visible=False, by="ann")
        await coordinator.set_visible(done.id, visible=True, by="ann")
        assert listed() == [str(done.id)]


async def test_an_ended_job_is_done_once_more_as_a_new_one(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        failed = await coordinator.submit(Call(function="broken"), priority=3, timeout_s=60.0)
        await failure_of(failed)
        again = await coordinator.restart(failed.id, by="ann", reason="mended", idempotency_key="k")
        same = await coordinator.restart(failed.id, by="ann", reason="mended", idempotency_key="k")
        await failure_of(again)
        row, root = job(coordinator, again.id), commands(coordinator, again.id)[0]
        assert (row.restart_of, row.user, row.priority, root.options.timeout_s) == (failed.id, "ann", 3, 60.0)
        assert (same.id, same.repeated) == (again.id, True)
        assert root.parameters_json == commands(coordinator, failed.id)[0].parameters_json
        [told] = [event.message for event in events(coordinator, again.id) if event.kind == "job_restarted"]
        assert told == f"job {failed.id} is done once more by ann: mended"
        assert actions(coordinator) == [("job.restart", None, f'{{"job": "{again.id}"}}')]


async def test_the_key_of_one_job_does_not_stand_for_doing_it_once_more(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        one = await coordinator.submit(Call(), idempotency_key="k")
        two = await coordinator.submit(Call())
        for each in (one, two):
            await each.result(WAIT_S)
        with pytest.raises(KeyReused, match="belongs to job"):
            await coordinator.restart(one.id, by="ann", idempotency_key="k")
        again = await coordinator.restart(one.id, by="ann", idempotency_key="again")
        with pytest.raises(KeyReused, match="belongs to job"):
            await coordinator.restart(two.id, by="ann", idempotency_key="again")
        await again.result(WAIT_S)


class CallV2(Command[None], name="call", version=2, upgrades={1: lambda old: {"name": old["function"]}}):
    """What `call` became."""

    name: str


async def test_what_is_done_once_more_has_its_parameters_upgraded(scratch: Scratch) -> None:
    from interlock import Catalog, Local
    from tests.coordinator.support import noop

    async with opened(scratch) as coordinator:
        done = await coordinator.submit(Call())
        await done.result(WAIT_S)
    later = Catalog(Disk, AddDisk, CallV2, Local("noop", noop, repeatable=True))
    async with Coordinator.open(scratch.url, later) as coordinator:
        again = await coordinator.restart(done.id, by="ann")
        await coordinator.wait_ended(again.id, WAIT_S)
        root = commands(coordinator, again.id)[0]
        assert (root.version, root.parameters_json) == (2, '{"name":"noop"}')
    async with Coordinator.open(scratch.url, Catalog(Disk)) as coordinator:
        with pytest.raises(Refused, match="cannot be done once more"):
            await coordinator.restart(done.id, by="ann")


async def test_only_what_has_ended_is_done_once_more(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        calls = await coordinator.submit(Call(function="gate"))
        with pytest.raises(Refused, match="has not ended"):
            await coordinator.restart(calls.id, by="ann")
        with pytest.raises(Missing, match="there is no job"):
            await coordinator.restart(new_id(), by="ann")
        gate.open.set()
        await calls.result(WAIT_S)
