"""Limits: how many run at once, how many start within a time; in which order, over restarts, and never for ever."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import event

from interlock import (
    NOTHING,
    Command,
    Coordinator,
    Endpoint,
    Entity,
    InvalidInput,
    Job,
    Local,
    Missing,
    Plan,
    Reader,
    Ref,
    Result,
    Tx,
    detached,
    exclusive,
    local,
    parallel,
    part,
    sequence,
)
from interlock.coordinator import limit_waits
from interlock.coordinator.preview import Begins
from interlock.model.decisions import Decision
from interlock.views import limits as views_of_limits
from interlock.views.why.explaining import why
from tests.coordinator.support import (
    WAIT_S,
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
    until_job,
)
from tests.coordinator.test_deadlines import HOUR_US, Jumping
from tests.databases import Scratch

CALL = "command:call"


class Counter:
    """A local function that notes how many of it run at once."""

    def __init__(self) -> None:
        self.running = self.most = self.done = 0

    async def __call__(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(3):
            await asyncio.sleep(0)
        self.running -= 1
        self.done += 1


class Keyed(Command[None], name="keyed"):
    """Counts under keys of its own while it does what it is told."""

    keys: tuple[str, ...] = ()
    function: str = "noop"

    def limited_by(self, db: Reader) -> Sequence[str]:
        return self.keys

    def execute(self, db: Tx) -> Plan:
        return part(local(self.function))


class Within(Command[None], name="within"):
    """Counts under the same key as its part."""

    def limited_by(self, db: Reader) -> Sequence[str]:
        return ("k",)

    def execute(self, db: Tx) -> Plan:
        return part(Keyed(keys=("k",)))


class Fan(Command[None], name="fan"):
    """So many calls side by side."""

    count: int
    function: str = "noop"

    def execute(self, db: Tx) -> Plan:
        return parallel(*(part(Call(function=self.function)) for _ in range(self.count)))


class Failing(Command[None], name="failing"):
    """Fails, and its failure end calls."""

    def execute(self, db: Tx) -> Plan:
        return part(local("broken"))

    def end_with_failure(self, db: Tx, failure: Any) -> Plan:
        return part(Call())


MEMBERS = (Keyed, Within, Fan, Failing)


async def until_waiting(coordinator: Coordinator, *jobs: Job[Any]) -> None:
    for each in jobs:
        async with asyncio.timeout(WAIT_S):
            while not any(event.kind == "limit_waited" for event in events(coordinator, each.id)):
                await coordinator.changed(each.id, job(coordinator, each.id).events, WAIT_S)


def first_starts(scratch: Scratch, name: str) -> list[Any]:
    return [id for (id,) in scratch.rows("SELECT flow_id FROM limit_uses WHERE key = ? ORDER BY taken_at", name)]


async def test_what_a_limit_holds_back_waits_and_says_so(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await coordinator.set_limit(CALL, at_most=1, by="ada", reason="the array is slow")
        first = await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        previewed = await coordinator.plan(Call())
        assert previewed.waits == ("call waits: limit command:call: 1 of 1 run; 0 come before",)
        assert previewed.command.begins is Begins.WAITS
        second = await coordinator.submit(Call())
        said = [event.message for event in events(coordinator, second.id) if event.kind == "limit_waited"]
        assert said == ["call waits: limit command:call: 1 of 1 run; 0 come before"]
        assert [row.state for row in commands(coordinator, second.id)] == ["PENDING"]
        gate.open.set()
        await second.result(WAIT_S)
        await first.result(WAIT_S)
        assert scratch.rows("SELECT * FROM limit_tickets") == []
        rows = scratch.rows("SELECT what, by, reason, after_json FROM actions")
        assert rows == [("limit.set", "ada", "the array is slow", '{"at_most": 1, "key": "command:call"}')]


@pytest.mark.long  # each start under a limit is alone in its batch
async def test_200_jobs_under_a_limit_of_5_all_end_and_never_more_run_at_once(scratch: Scratch) -> None:
    counter = Counter()
    gate = Gate()

    async def count() -> None:
        await counter()

    async with opened(scratch, *MEMBERS, Local("count", count), gate=gate) as coordinator:
        await coordinator.set_limit(CALL, at_most=5, by="ada")
        holding = [await coordinator.submit(Call(function="gate")) for _ in range(5)]
        jobs = await asyncio.gather(
            *(coordinator.submit(Call(function="count"), priority=number % 3) for number in range(200))
        )
        gate.open.set()
        for each in [*holding, *jobs]:
            await each.result(WAIT_S)
        assert (counter.most <= 5, counter.done) == (True, 200)
        started = first_starts(scratch, CALL)
        assert scratch.rows("SELECT * FROM limit_tickets") == []
        assert len(started) <= 200, "what counts no more is removed"


async def test_those_who_wait_start_by_priority_and_then_as_they_came(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await coordinator.set_limit(CALL, at_most=1, by="ada")
        await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        jobs = [await coordinator.submit(Call(), priority=priority) for priority in (0, 2, 0, 1, -1)]
        gate.open.set()
        for each in jobs:
            await each.result(WAIT_S)
        started = {each.id: commands(coordinator, each.id)[0].started_at for each in jobs}
        order = sorted(range(5), key=lambda number: started[jobs[number].id] or 0)
        assert order == [1, 3, 0, 2, 4]


async def test_parts_of_one_plan_wait_too_and_what_undoes_or_ends_does_not(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await coordinator.set_limit(CALL, at_most=2, by="ada")
        fan = await coordinator.submit(Fan(count=5, function="gate"))
        for _ in range(2):
            await gate.wait_entered()
        states = sorted(row.state for row in commands(coordinator, fan.id) if row.name == "call")
        assert states == ["EXECUTING", "EXECUTING", "PENDING", "PENDING", "PENDING"]
        await failure_of(await coordinator.submit(Failing()))
        gate.open.set()
        await fan.result(WAIT_S)
        assert gate.entries == 5


async def test_a_part_below_one_that_counts_already_passes(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.set_limit("key:k", at_most=1, by="ada")
        await (await coordinator.submit(Within())).result(WAIT_S)


async def test_several_keys_are_taken_together_and_a_full_one_blocks_no_other(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        for key in ("key:a", "key:b"):
            await coordinator.set_limit(key, at_most=1, by="ada")
        holds = await coordinator.submit(Keyed(keys=("a",), function="gate"))
        await gate.wait_entered()
        both = await coordinator.submit(Keyed(keys=("a", "b")))
        await until_waiting(coordinator, both)
        await (await coordinator.submit(Keyed(keys=("b",)))).result(WAIT_S)
        gate.open.set()
        for each in (holds, both):
            await each.result(WAIT_S)


@pytest.mark.parametrize("change", ["raised", "removed"])
async def test_a_limit_that_gives_way_lets_those_go_on_who_wait(scratch: Scratch, change: str) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await coordinator.set_limit(CALL, at_most=0, by="ada")
        jobs = [await coordinator.submit(Call()) for _ in range(3)]
        await until_waiting(coordinator, *jobs)
        if change == "raised":
            await coordinator.set_limit(CALL, at_most=1, by="bob")
        else:
            await coordinator.remove_limit(CALL, by="bob")
        for each in jobs:
            await each.result(WAIT_S)
        kept = scratch.rows("SELECT key, at_most, set_by FROM limits")
        assert kept == ([(CALL, 1, "bob")] if change == "raised" else [])


async def test_what_runs_when_a_limit_is_set_counts_and_is_not_stopped(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        runs = [await coordinator.submit(Call(function="gate")) for _ in range(2)]
        for _ in runs:
            await gate.wait_entered()
        await coordinator.set_limit(CALL, at_most=2, by="ada")
        waits = await coordinator.submit(Call())
        await until_waiting(coordinator, waits)
        await coordinator.set_limit(CALL, at_most=1, by="ada")
        gate.open.set()
        for each in (*runs, waits):
            await each.result(WAIT_S)


async def test_who_waits_keeps_its_place_over_a_restart(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await coordinator.set_limit(CALL, at_most=1, by="ada")
        await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        jobs = [await coordinator.submit(Call(), priority=priority) for priority in (0, 1)]
        crashed = scratch.copy("crashed")
    gate = Gate()
    async with opened(crashed, *MEMBERS, gate=gate) as coordinator:
        await gate.wait_entered()
        assert [job(coordinator, each.id).result for each in jobs] == [None, None]
        gate.open.set()
        ended = [await coordinator.wait_ended(each.id, WAIT_S) for each in jobs]
        assert [row.result for row in ended] == [Result.SUCCEEDED] * 2
        assert (ended[1].started_at or 0) < (ended[0].started_at or 0)


class Steps(Command[None], name="steps"):
    """Holds a disk and then has a part that counts under a key."""

    held: Ref[Disk]
    key: str

    def locks(self, db: Reader) -> Any:
        return exclusive(self.held).waiting()

    def execute(self, db: Tx) -> Plan:
        return sequence(part(local("gate", touches=())), part(Keyed(keys=(self.key,))))


class Takes(Command[None], name="takes"):
    """Counts under a key and then wants a disk."""

    wanted: Ref[Disk]
    key: str

    def limited_by(self, db: Reader) -> Sequence[str]:
        return (self.key,)

    def execute(self, db: Tx) -> Plan:
        return sequence(part(local("gate", touches=())), part(Patient(disk=self.wanted)))


class Patient(Work, name="patient"):
    def locks(self, db: Reader) -> Any:
        return exclusive(self.disk).waiting()


@pytest.mark.hard_case(23)
async def test_a_circle_through_a_lock_and_a_limit_is_refused_and_named(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, Steps, Takes, Patient, gate=gate) as coordinator:
        await coordinator.set_limit("key:k", at_most=1, by="ada")
        disk = await add_disk(coordinator)
        both: list[Job[Any]] = [
            await coordinator.submit(Steps(held=disk, key="k")),
            await coordinator.submit(Takes(wanted=disk, key="k")),
        ]
        for _ in both:
            await gate.wait_entered()
        gate.open.set()
        ended = [await coordinator.wait_ended(each.id, WAIT_S) for each in both]
        failed = [row for row in ended if row.result is Result.FAILED]
        assert len(failed) == 1
        assert "waiting would never end" in (failed[0].failure_json or "")


class Asks(Command[None], name="asks"):
    """Counts under a key and waits for a job of its own that wants it too; may count by a part that ends instead."""

    by_part: bool = False

    def limited_by(self, db: Reader) -> Sequence[str]:
        return () if self.by_part else ("k",)

    def execute(self, db: Tx) -> Plan:
        other = part(detached(Keyed(keys=("k",))))
        return parallel(part(Keyed(keys=("k",), function="gate")), other) if self.by_part else other


@pytest.mark.parametrize("by_part", [False, True])
async def test_a_job_is_refused_room_that_only_who_waits_for_it_has(scratch: Scratch, by_part: bool) -> None:
    """Where a part has the room, which ends by itself, there is nothing to refuse."""
    gate = Gate()
    async with opened(scratch, *MEMBERS, Asks, gate=gate) as coordinator:
        await coordinator.set_limit("key:k", at_most=1, by="ada")
        asks = await coordinator.submit(Asks(by_part=by_part))
        if by_part:
            await gate.wait_entered()
            gate.open.set()
            await asks.result(WAIT_S)
        else:
            assert "waits for room under limit key:k, taken by" in (await failure_of(asks)).message


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        ("call", {"at_most": 1}, "counts nothing"),
        (CALL, {}, "it limits nothing"),
        (CALL, {"at_most": -1}, "must be 0 to"),
        (CALL, {"starts_max": 1}, "go together"),
        (CALL, {"starts_max": 0, "window_s": 1.0}, "must be 1 to"),
        ("key:" + "x" * 200, {"at_most": 1}, "letters"),
    ],
    ids=["no kind", "nothing", "negative", "no window", "no starts", "long"],
)
async def test_a_limit_that_means_nothing_is_refused(
    scratch: Scratch, key: str, given: dict[str, Any], words: str
) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        with pytest.raises(InvalidInput, match=words):
            await coordinator.set_limit(key, by="ada", **given)
        for missing in ("command:nothing", "host:nowhere"):
            with pytest.raises(Missing):
                await coordinator.set_limit(missing, at_most=1, by="ada")
        with pytest.raises(Missing):
            await coordinator.remove_limit(CALL, by="ada")
        assert scratch.rows("SELECT key FROM limits") == scratch.rows("SELECT id FROM actions") == []


async def test_no_more_start_within_a_window_than_allowed_also_after_a_restart(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_waits, "LOOK_S_MAX", 0.02)
    clock = Jumping()
    async with opened(scratch, *MEMBERS, clock=clock) as coordinator:
        await coordinator.set_limit(CALL, starts_max=2, window_s=3600.0, by="ada")
        for _ in range(2):
            await (await coordinator.submit(Call())).result(WAIT_S)
        third = await coordinator.submit(Call())
        [said] = [event.message for event in events(coordinator, third.id) if event.kind == "limit_waited"]
        assert said == "call waits: limit command:call: 2 of 2 started within 3600 s; 0 come before"
        clock.by_us = HOUR_US // 2
    async with opened(scratch, *MEMBERS, clock=clock) as coordinator:
        fourth = await coordinator.submit(Call())
        await until_waiting(coordinator, fourth)
        assert commands(coordinator, third.id)[0].state == "PENDING"
        clock.by_us = HOUR_US + 1_000_000
        for id in (third.id, fourth.id):
            assert (await coordinator.wait_ended(id, WAIT_S)).result is Result.SUCCEEDED
        assert len(scratch.rows("SELECT command_id FROM limit_uses")) == 2, "what counts no more is removed"


async def test_a_host_that_a_command_names_counts_it_by_its_id(scratch: Scratch) -> None:
    class Box(Entity, type="box"):
        def endpoint(self) -> Endpoint:
            return Endpoint("127.0.0.1", 1, None)

    class AddBox(Command[Ref[Box]], name="box.add"):
        def execute(self, db: Tx) -> Plan:
            db.add(Box(id=db.new(Box).id, name="b1"))
            return NOTHING

        def end_successfully(self, db: Tx) -> Ref[Box]:
            box = db.named(Box, "b1")
            assert box is not None
            return box.ref

    class OnBox(Command[None], name="on_box"):
        box: Ref[Box]

        def limited_by(self, db: Reader) -> Sequence[Ref[Box]]:
            return (self.box,)

        def execute(self, db: Tx) -> Plan:
            return NOTHING

    async with opened(scratch, *MEMBERS, Box, AddBox, OnBox) as coordinator:
        box = await (await coordinator.submit(AddBox())).result(WAIT_S)
        assert await coordinator.set_limit("host:b1", at_most=0, by="ada") == f"host:{box.id}"
        held = await coordinator.submit(OnBox(box=box))
        await until_waiting(coordinator, held)
        with coordinator.reading() as connection:
            [told] = views_of_limits.of_job(connection, held.id, 0)
            [limit] = views_of_limits.page(connection, 0)["limits"]
        assert (told["command_id"], told["place"], told["limit"]) == (str(held.id), 1, limit)
        assert (limit["key"], limit["running"], limit["waiting"]) == (f"host:{box.id}", 0, 1)
        await coordinator.remove_limit("host:b1", by="ada")
        await held.result(WAIT_S)


async def test_a_new_priority_changes_the_place_in_the_line(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.set_limit(CALL, at_most=0, by="ada")
        first, second = [await coordinator.submit(Call()) for _ in range(2)]
        await until_waiting(coordinator, first, second)
        await coordinator.set_priority(second.id, 1, by="ada")
        await coordinator.set_limit(CALL, at_most=1, by="ada")
        ended = [await coordinator.wait_ended(each.id, WAIT_S) for each in (first, second)]
        assert (ended[1].started_at or 0) < (ended[0].started_at or 0)


async def test_who_waits_for_a_limit_that_lets_none_begin_kept_a_place_under_another(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await coordinator.set_limit("key:a", at_most=1, by="ada")
        await coordinator.set_limit("key:b", at_most=0, by="ada")
        first = await coordinator.submit(Keyed(keys=("a",), function="gate"))
        await gate.wait_entered()
        both = await coordinator.submit(Keyed(keys=("a", "b")))
        await until_waiting(coordinator, both)
        gate.open.set()
        await first.result(WAIT_S)
        await (await coordinator.submit(Keyed(keys=("a",)))).result(WAIT_S)
        await coordinator.set_limit("key:b", at_most=1, by="ada")
        await both.result(WAIT_S)


async def test_two_parts_that_start_at_once_removed_the_same_old_use_twice(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.set_limit(CALL, at_most=5, by="ada")
        for _ in range(2):
            await (await coordinator.submit(Call())).result(WAIT_S)
        await (await coordinator.submit(Fan(count=3))).result(WAIT_S)


async def test_who_waited_for_what_a_parked_job_had_was_never_woken(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        await coordinator.set_limit(CALL, at_most=1, by="ada")
        parked = await coordinator.submit(Call(function="gate"))
        await gate.wait_entered()
        waiting = await coordinator.submit(Call())
        await until_waiting(coordinator, waiting)
        crashed = scratch.copy("crashed")
        gate.open.set()
        await waiting.result(WAIT_S)
    crashed.rows("UPDATE job SET claims = 3 WHERE id = ?", parked.id)
    async with opened(crashed, *MEMBERS, gate=gate) as coordinator:
        await until_job(coordinator, parked.id, lambda row: row.attention is not None)
        await coordinator.settle(parked.id, Decision.FORCE_FAILURE, by="ada", reason="looked", leave_tasks=True)
        assert (await coordinator.wait_ended(waiting.id, WAIT_S)).result is Result.SUCCEEDED


async def test_a_limit_whose_command_is_gone_could_not_be_removed(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.set_limit("command:keyed", at_most=1, by="ada")
    async with opened(scratch) as coordinator:
        await coordinator.remove_limit("command:keyed", by="ada")
        assert coordinator.limits() == []


async def test_why_asked_for_every_part_that_waits_once_for_each_of_them(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.set_limit(CALL, at_most=0, by="ada")
        fan = await coordinator.submit(Fan(count=20))
        await until_waiting(coordinator, fan)
        asked: list[str] = []
        with coordinator.reading() as connection:
            event.listen(connection, "before_cursor_execute", lambda *told: asked.append(told[2]))
            told = why(connection, fan.id, [], 0)
        assert told is not None
        assert [each["kind"] for each in told["commands"]] == ["parts"] + ["limit"] * 20
        assert len(asked) < 10 * 20
        await coordinator.remove_limit(CALL, by="ada")
        await fan.result(WAIT_S)
