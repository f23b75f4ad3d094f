"""Signals: news from outside ends the waits that have begun; what is addressed to a job waits for its wait."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from interlock import (  # fmt: skip
    NOTHING,
    Command,
    Coordinator,
    Failure,
    InvalidInput,
    KeyReused,
    Missing,
    Plan,
    Reader,
    Ref,
    Refused,
    Tx,
    local,
    parallel,
    part,
    sequence,
    signal,
)
from interlock.ids import new_id
from tests.coordinator.support import (
    WAIT_S,
    Disk,
    Gate,
    add_disk,
    failure_of,
    job,
    opened,
    tasks,
    until_job,
)
from tests.databases import Scratch


class Listen(Command[list[Any]], name="listen"):
    """Waits for signals in turn, the first after a gate where there is one; answers their data."""

    disk: Ref[Disk] | None = None
    count: int = 1
    gated: bool = False

    def execute(self, db: Tx) -> Plan:
        gate = [part(local("gate"))] if self.gated else []
        return sequence(*gate, *(part(Hear(disk=self.disk)) for _ in range(self.count)))

    def end_successfully(self, db: Tx) -> list[Any]:
        return [child.value for child in db.children(Hear)]


class Hear(Command[Any], name="hear"):
    """One signal."""

    disk: Ref[Disk] | None = None

    def execute(self, db: Tx) -> Plan:
        return part(signal("tick", about=self.disk), step="HEAR")

    def end_successfully(self, db: Tx) -> Any:
        [task] = db.tasks(self)
        return task.answer


class HearNumber(Command[int], name="hear.number"):
    """Waits for a number above a limit; a negative one fails it."""

    limit: int

    def execute(self, db: Tx) -> Plan:
        return part(signal("number", judge=self.is_enough))

    def is_enough(self, db: Reader, number: int) -> bool | Failure:
        return Failure(f"{number} is negative") if number < 0 else number > self.limit

    def end_successfully(self, db: Tx) -> int:
        [task] = db.tasks(self)
        answer: int = task.answer
        return answer


class HearNumbers(HearNumber, name="hear.numbers"):
    """Notes what it is asked about; begins after a gate where it is to."""

    gated: bool = False

    def execute(self, db: Tx) -> Plan:
        wait = part(signal("number", judge=self.noted), key="wait")
        return sequence(part(local("gate")), wait) if self.gated else wait

    def noted(self, db: Reader, number: int) -> bool | Failure:
        judged.append(number)
        return self.is_enough(db, number)

    def end_successfully(self, db: Tx) -> int:
        return judged[-1]


judged: list[int] = []


class Touch(Command[None], name="touch"):
    """Writes a disk."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        db.put(replace(db.get(self.disk), note="touched"))
        return NOTHING


class Tell(Command[None], name="tell"):
    """Ends what another command waits for, by a step of its own."""

    data: str

    def execute(self, db: Tx) -> Plan:
        return part(local("noop"))

    def end_successfully(self, db: Tx) -> None:
        db.announce("tick", data=self.data)


MEMBERS = (Listen, Hear, HearNumber, Tell)


async def listening(coordinator: Coordinator, id: Any, waits: int = 1) -> None:
    """Until so many waits of the job are under way or over."""
    await until_job(coordinator, id, lambda row: sum(bool(task.wait_json) for task in tasks(coordinator, id)) >= waits)


async def test_a_signal_ends_every_wait_for_it_that_has_begun(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk, other = await add_disk(coordinator), await add_disk(coordinator, "e")
        heard = [await coordinator.submit(Listen(disk=disk)) for _ in range(3)]
        deaf = await coordinator.submit(Listen(disk=other))
        for each in (*heard, deaf):
            await listening(coordinator, each.id)
        await coordinator.signal("tock", about=disk)
        await coordinator.signal("tick")
        await coordinator.signal("tick", about=disk, data={"at": 1}, by="monitor")
        for each in heard:
            assert await each.result(WAIT_S) == [{"at": 1}]
        assert job(coordinator, deaf.id).result is None


@pytest.mark.hard_case(26)
async def test_one_that_came_before_the_wait_began_does_not_count(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.signal("tick", data="early")
        listens = await coordinator.submit(Listen(count=2))
        await listening(coordinator, listens.id)
        await coordinator.signal("tick", data="first")
        await listening(coordinator, listens.id, 2)
        assert job(coordinator, listens.id).result is None, "what ended the first wait came before the second"
        await coordinator.signal("tick", data="second")
        assert await listens.result(WAIT_S) == ["first", "second"]


async def test_one_addressed_to_the_job_counts_whenever_it_came_and_is_taken_once(scratch: Scratch) -> None:
    gate = Gate()
    async with opened(scratch, *MEMBERS, gate=gate) as coordinator:
        listens = await coordinator.submit(Listen(count=2, gated=True))
        other = await coordinator.submit(Listen())
        await gate.wait_entered()
        id = await coordinator.signal("tick", job_id=listens.id, data="early")
        assert await coordinator.signal("tick", job_id=listens.id, data="early", signal_id=id) == id
        with pytest.raises(KeyReused, match=f"signal {id} was another"):
            await coordinator.signal("tick", job_id=listens.id, data="again", signal_id=id)
        gate.open.set()
        await listening(coordinator, listens.id, 2)
        assert job(coordinator, listens.id).result is None
        await coordinator.signal("tick", job_id=listens.id, data="late")
        assert await listens.result(WAIT_S) == ["early", "late"]
        assert job(coordinator, other.id).result is None, "it was addressed to another"
    taken = scratch.rows("SELECT taken_by FROM signals ORDER BY number")
    assert len(set(taken)) == 2
    assert (None,) not in taken


async def test_two_waits_of_a_job_take_two_signals(scratch: Scratch) -> None:
    class Both(Command[list[Any]], name="both"):
        def execute(self, db: Tx) -> Plan:
            return parallel(part(local("gate")), part(signal("tick")), part(signal("tick")))

        def end_successfully(self, db: Tx) -> list[Any]:
            return [task.answer for task in db.tasks(self) if task.method == "signal tick"]

    gate = Gate()
    async with opened(scratch, *MEMBERS, Both, gate=gate) as coordinator:
        both = await coordinator.submit(Both())
        for data in ("a", "b"):
            await coordinator.signal("tick", job_id=both.id, data=data)
        gate.open.set()
        assert sorted(await both.result(WAIT_S)) == ["a", "b"]


async def test_one_that_was_accepted_survives_a_crash_before_anybody_looked(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        listens = await coordinator.submit(Listen())
        await listening(coordinator, listens.id)
        crashed = scratch.copy("crashed")
    rows = "INSERT INTO signals (id, kind, data_json, by, accepted_at) VALUES (?, 'tick', '7', 'x', 1)"
    crashed.rows(rows, new_id())
    async with opened(crashed, *MEMBERS) as coordinator:
        assert (await coordinator.wait_ended(listens.id, WAIT_S)).value_json == "[7]"


async def test_a_method_judges_the_data(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        good = await coordinator.submit(HearNumber(limit=5))
        bad = await coordinator.submit(HearNumber(limit=50))
        for data in (3, "much", 7, -1):
            await coordinator.signal("number", data=data)
        assert await good.result(WAIT_S) == 7
        assert "-1 is negative" in (await failure_of(bad)).message


async def test_a_command_is_ended_by_a_step_of_another(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        listens = await coordinator.submit(Listen())
        await (await coordinator.submit(Tell(data="done"))).result(WAIT_S)
        assert await listens.result(WAIT_S) == ["done"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": ""}, InvalidInput, "a kind of signal of 0 letters"),
        ({"kind": "a\0b"}, InvalidInput, "with a character that no database can hold"),
        ({"kind": "tick", "data": {1, 2}}, InvalidInput, "the data of signal tick is no JSON"),
        ({"kind": "tick", "data": float("nan")}, InvalidInput, "the data of signal tick is no JSON"),
        ({"kind": "tick", "data": "x" * 70_000}, InvalidInput, "at most 65536"),
        ({"kind": "tick", "about": Ref("disk", new_id())}, Missing, "does not exist"),
        ({"kind": "tick", "job_id": new_id()}, Missing, "there is no job"),
    ],
    ids=["no kind", "a bad kind", "no JSON", "no number", "too long", "no entity", "no job"],
)
async def test_what_cannot_be_is_refused_whole(
    scratch: Scratch, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        with pytest.raises(error, match=message):
            await coordinator.signal(**options)
        assert scratch.rows("SELECT * FROM signals") == []


async def test_one_to_a_job_that_has_ended_is_refused(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        tells = await coordinator.submit(Tell(data="x"))
        await tells.result(WAIT_S)
        with pytest.raises(Refused, match=f"job {tells.id} has ended SUCCEEDED"):
            await coordinator.signal("tick", job_id=tells.id)


class HearAlone(Command[int], name="hear.alone"):
    """Its judge reads a disk, and the first time takes until the test lets it go on."""

    disk: Ref[Disk]

    def execute(self, db: Tx) -> Plan:
        return part(signal("tick", judge=self.judged))

    def judged(self, db: Reader, data: int) -> bool:
        db.get(self.disk)
        if not judging.is_set():
            judging.set()
            assert go_on.wait(WAIT_S)
        return True

    def end_successfully(self, db: Tx) -> int:
        value: int = db.tasks(self)[0].answer
        return value


judging, go_on = threading.Event(), threading.Event()


async def test_an_addressed_signal_is_not_lost_when_its_run_meets_another_and_is_run_anew(scratch: Scratch) -> None:
    judging.clear()
    go_on.clear()
    async with opened(scratch, *MEMBERS, HearAlone, Touch) as coordinator:
        disk = await add_disk(coordinator)
        hears = await coordinator.submit(HearAlone(disk=disk))
        await coordinator.signal("tick", job_id=hears.id, data=5)
        assert await asyncio.to_thread(judging.wait, WAIT_S)
        await (await coordinator.submit(Touch(disk=disk))).result(WAIT_S)
        go_on.set()
        assert await hears.result(WAIT_S) == 5


async def test_more_signals_than_one_look_reads_hide_none(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.store.queries.signals.PAGE_MAX", 2)
    gate = Gate()
    async with opened(scratch, *MEMBERS, HearNumbers, gate=gate) as coordinator:
        late = await coordinator.submit(HearNumbers(limit=9, gated=True))
        hears = await coordinator.submit(HearNumbers(limit=9))
        await listening(coordinator, hears.id)
        for number in range(9):
            await coordinator.signal("number", data=number)
            await coordinator.signal("number", job_id=late.id, data=number)
        await coordinator.signal("number", data=10)
        assert await hears.result(WAIT_S) == 10
        await coordinator.signal("number", job_id=late.id, data=11)
        gate.open.set()
        assert await late.result(WAIT_S) == 11


async def test_a_signal_that_was_passed_over_is_not_judged_again(scratch: Scratch) -> None:
    judged.clear()
    async with opened(scratch, *MEMBERS, HearNumbers) as coordinator:
        hears = await coordinator.submit(HearNumbers(limit=9))
        await listening(coordinator, hears.id)
        for number in (*range(9), 10):
            await coordinator.signal("number", data=number)
        assert await hears.result(WAIT_S) == 10
        assert judged == [*range(9), 10]


async def test_what_a_flow_announced_before_its_own_wait_began_does_not_end_that(scratch: Scratch) -> None:
    class Announce(Command[None], name="announce"):
        def execute(self, db: Tx) -> Plan:
            db.announce("tick", data="mine")
            return NOTHING

    class AnnounceThenListen(Command[list[Any]], name="announce.listen"):
        def execute(self, db: Tx) -> Plan:
            return sequence(part(Announce()), part(Hear()))

        def end_successfully(self, db: Tx) -> list[Any]:
            return [child.value for child in db.children(Hear)]

    async with opened(scratch, *MEMBERS, Announce, AnnounceThenListen) as coordinator:
        listens = await coordinator.submit(AnnounceThenListen())
        await listening(coordinator, listens.id)
        await coordinator.signal("tick", data="theirs")
        assert await listens.result(WAIT_S) == ["theirs"]


@pytest.mark.parametrize("kind", ["", "x" * 201], ids=["none", "too long"])
async def test_a_wait_for_a_kind_that_nobody_can_send_is_refused(scratch: Scratch, kind: str) -> None:
    class Deaf(Command[None], name="deaf"):
        def execute(self, db: Tx) -> Plan:
            return part(signal(kind))

    class Mumble(Command[None], name="mumble"):
        def execute(self, db: Tx) -> Plan:
            db.announce(kind)
            return NOTHING

    async with opened(scratch, Deaf, Mumble) as coordinator:
        for command in (Deaf(), Mumble()):
            with pytest.raises(Refused, match="a kind of signal of"):
                await coordinator.submit(command)


async def test_the_same_id_for_another_signal_is_refused(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        id = await coordinator.signal("tick", data=1)
        assert await coordinator.signal("tick", data=1, signal_id=id) == id
        with pytest.raises(KeyReused, match=f"signal {id} was another"):
            await coordinator.signal("tick", data=2, signal_id=id)
