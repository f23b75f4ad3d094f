"""Waits that a person answers: a form, a permission, an audit line; durable like every other wait."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from interlock import (
    Command,
    Coordinator,
    Decision,
    Failure,
    InvalidInput,
    Job,
    Missing,
    NotAllowed,
    Plan,
    Reader,
    Ref,
    Refused,
    Secret,
    Tx,
    approval,
    end_of,
    local,
    parallel,
    part,
    sequence,
)
from interlock.coordinator.answers import EVERYTHING
from interlock.core.facts import TaskOverdue
from interlock.ids import new_id
from interlock.model.records import EventRecord, Severity
from interlock.model.states import Outcome, StepStatus
from tests.coordinator.support import (
    WAIT_S,
    Call,
    Disk,
    add_disk,
    commands,
    events,
    failure_of,
    job,
    opened,
    steps,
    tasks,
    until_job,
)
from tests.databases import Scratch

QUESTION = "May the rest be rolled out?"


class RollOut(Command[dict[str, Any]], name="roll_out"):
    """Asks between two steps."""

    def execute(self, db: Tx) -> Plan:
        return sequence(part(local("noop")), part(Ask(), step="ASK"), part(local("noop"), step="REST"))

    def end_successfully(self, db: Tx) -> dict[str, Any]:
        [child] = db.children(Ask)
        value: dict[str, Any] = child.value
        return value


class Ask(Command[dict[str, Any]], name="ask"):
    def execute(self, db: Tx) -> Plan:
        return part(approval(QUESTION, permission="roll_out.approve"), step="APPROVAL")

    def end_successfully(self, db: Tx) -> dict[str, Any]:
        [task] = db.tasks(self)
        answer: dict[str, Any] = task.answer
        return answer


@dataclass(frozen=True)
class Count:
    """How many are to go on."""

    servers: int
    note: str = ""


class AskHowMany(Command[int], name="ask.how_many"):
    def execute(self, db: Tx) -> Plan:
        return part(approval("How many?", permission="count", judge=self.counted))

    def counted(self, db: Reader, answer: Count) -> bool | Failure:
        return Failure("none at all") if answer.servers == 0 else answer.servers > 0

    def end_successfully(self, db: Tx) -> int:
        [task] = db.tasks(self)
        servers: int = task.answer["answer"]["servers"]
        return servers


class AskWhich(Command[Ref[Disk]], name="ask.which"):
    def execute(self, db: Tx) -> Plan:
        return part(approval("Which disk?", permission="p", judge=self.named))

    def named(self, db: Reader, answer: dict[str, Ref[Disk]]) -> bool:
        return db.exists(answer["disk"])

    def end_successfully(self, db: Tx) -> Ref[Disk]:
        disk = db.named(Disk, "d")
        assert disk is not None
        return disk.ref


class AskTwice(Command[None], name="ask.twice"):
    def execute(self, db: Tx) -> Plan:
        return parallel(*(part(approval(f"{n}?", permission="p")) for n in range(2)))


MEMBERS = (RollOut, Ask, AskHowMany, AskTwice, AskWhich)


async def asking(coordinator: Coordinator, command: Command[Any]) -> Job[Any]:
    job = await coordinator.submit(command)
    await until_job(coordinator, job.id, lambda row: any(task.wait_json for task in tasks(coordinator, job.id)))
    return job


async def test_who_may_approves_and_it_goes_on(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        rolls = await asking(coordinator, RollOut())
        shown = {step.name: step.status for step in steps(coordinator, rolls.id)}
        assert (shown["ASK"], shown["APPROVAL"]) == (StepStatus.STARTED, StepStatus.STARTED)
        with pytest.raises(NotAllowed, match=r"takes the permission roll_out\.approve; eve lacks it"):
            await coordinator.answer(rolls.id, {"approve": True}, by="eve", holds={"vm.remove"})
        await coordinator.answer(rolls.id, {"approve": True, "reason": "ok"}, by="ada", holds={"roll_out.approve"})
        assert await rolls.result(WAIT_S) == {"by": "ada", "answer": {"approve": True, "reason": "ok"}}
        [task] = [task for task in tasks(coordinator, rolls.id) if task.wait_json]
        [audited] = [event for event in events(coordinator, rolls.id) if event.user]
        assert audited == EventRecord(
            rolls.id, audited.seq, audited.at, Severity.INFO, "wait_answered",
            f'{QUESTION} ada answered: {{"approve": true, "reason": "ok"}}', str(rolls.id), "ada", task.command_id,
            task.id,
        )  # fmt: skip


async def test_one_who_does_not_approve_fails_it_with_the_reason(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        rolls = await asking(coordinator, RollOut())
        await coordinator.answer(rolls.id, {"approve": False, "reason": "not today"}, by="ada", holds=EVERYTHING)
        assert "ada did not approve: not today" in (await failure_of(rolls)).message
        [task] = [task for task in tasks(coordinator, rolls.id) if task.wait_json]
        assert task.outcome is Outcome.FAILED


async def test_a_form_of_its_own_is_checked_whole_and_may_leave_it_open(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        asks = await asking(coordinator, AskHowMany())
        with pytest.raises(InvalidInput, match="servers: Input should be a valid integer"):
            await coordinator.answer(asks.id, {"servers": "many"}, by="ada", holds=EVERYTHING)
        await coordinator.answer(asks.id, {"servers": -3}, by="ada", holds=EVERYTHING)
        await until_job(coordinator, asks.id, lambda row: tasks(coordinator, asks.id)[0].answer_json is None)
        assert job(coordinator, asks.id).result is None
        await coordinator.answer(asks.id, {"servers": 4}, by="bob", holds=EVERYTHING)
        assert await asks.result(WAIT_S) == 4


async def test_a_person_may_name_what_an_answer_refers_to(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        disk = await add_disk(coordinator)
        asks = await asking(coordinator, AskWhich())
        with pytest.raises(InvalidInput, match="answer: disk: there is no disk named 'e'"):
            await coordinator.answer(asks.id, {"disk": "e"}, by="ada", holds=EVERYTHING)
        await coordinator.answer(asks.id, {"disk": "d"}, by="ada", holds=EVERYTHING)
        assert await asks.result(WAIT_S) == disk


async def test_an_answer_survives_a_restart_and_so_does_the_question(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        rolls = await asking(coordinator, RollOut())
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.answer(rolls.id, {"approve": True}, by="ada", holds=EVERYTHING)
        assert (await coordinator.wait_ended(rolls.id, WAIT_S)).failure_json is None
        with pytest.raises(Refused, match="is not open any more: it ended SUCCEEDED"):
            await coordinator.answer(rolls.id, {"approve": False}, by="eve", holds=EVERYTHING)


async def test_an_answer_that_came_in_time_counts_though_nobody_had_looked_at_it_when_time_was_over(
    scratch: Scratch,
) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        rolls = await asking(coordinator, RollOut())
        [task] = [task for task in tasks(coordinator, rolls.id) if task.wait_json]
        engine = coordinator._engine
        with scratch.held():
            answering = asyncio.ensure_future(
                coordinator.answer(rolls.id, {"approve": True}, by="ada", holds=EVERYTHING)
            )
            async with asyncio.timeout(WAIT_S):
                while not engine._slots[rolls.id].errands:  # they run before facts
                    await asyncio.sleep(0)
            engine.tell(rolls.id, TaskOverdue(task.id))
        await answering
        await rolls.result(WAIT_S)
        [task] = [task for task in tasks(coordinator, rolls.id) if task.wait_json]
        assert (task.outcome, task.stopping is None) == (Outcome.SUCCEEDED, False)


async def test_of_two_questions_one_is_to_be_named(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        asks = await asking(coordinator, AskTwice())
        with pytest.raises(Refused, match="asks 2 questions, name one"):
            await coordinator.answer(asks.id, {"approve": True}, by="ada", holds=EVERYTHING)
        with pytest.raises(Missing, match="has no question"):
            await coordinator.answer(asks.id, {"approve": True}, by="ada", holds=EVERYTHING, task_id=new_id())
        for task in tasks(coordinator, asks.id):
            await coordinator.answer(asks.id, {"approve": True}, by="ada", holds=EVERYTHING, task_id=task.id)
        await asks.result(WAIT_S)


async def test_a_job_that_asks_nothing_takes_no_answer(scratch: Scratch) -> None:
    class Quiet(Command[None], name="quiet"):
        pass

    async with opened(scratch, Quiet) as coordinator:
        quiet = await coordinator.submit(Quiet())
        with pytest.raises(Refused, match="asks nobody anything"):
            await coordinator.answer(quiet.id, {"approve": True}, by="ada", holds=EVERYTHING)
        with pytest.raises(Missing, match="there is no job"):
            await coordinator.answer(new_id(), {"approve": True}, by="ada", holds=EVERYTHING)


async def test_a_question_of_a_class_that_is_gone_is_refused_in_words(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        asks = await asking(coordinator, AskHowMany())
    async with opened(scratch) as coordinator:
        with pytest.raises(Refused, match=r"'How many\?' cannot be answered now: the class of command ask.how_many"):
            await coordinator.questions(asks.id)
        with pytest.raises(Refused, match="cannot be answered now"):
            await coordinator.answer(asks.id, {"servers": 1}, by="ada", holds=EVERYTHING)
    async with opened(scratch, *MEMBERS) as coordinator:
        await coordinator.answer(asks.id, {"servers": 1}, by="ada", holds=EVERYTHING)
        assert (await coordinator.wait_ended(asks.id, WAIT_S)).value_json == "1"


@dataclass(frozen=True)
class Pin:
    """What only the command is to know."""

    pin: Secret[str]


class AskPin(Command[None], name="ask.pin"):
    def execute(self, db: Tx) -> Plan:
        return part(approval("The pin?", permission="p", judge=self.is_right))

    def is_right(self, db: Reader, answer: Pin) -> bool | Failure:
        return answer.pin.reveal() == "swordfish" or Failure("a wrong pin")


async def test_a_secret_of_an_answer_reaches_its_method_and_nothing_else(scratch: Scratch) -> None:
    async with opened(scratch, AskPin) as coordinator:
        asks = await asking(coordinator, AskPin())
        await coordinator.answer(asks.id, {"pin": "swordfish"}, by="ada", holds=EVERYTHING)
        assert (await coordinator.wait_ended(asks.id, WAIT_S)).failure_json is None
        assert all("swordfish" not in event.message for event in events(coordinator, asks.id))
    for table in ("async_tasks", "audit_log", "job", "command_entities"):
        assert "swordfish" not in str(scratch.rows(f"SELECT * FROM {table}"))


async def test_an_answer_is_bounded(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        asks = await asking(coordinator, RollOut())
        with pytest.raises(InvalidInput, match="at most 65536"):
            await coordinator.answer(asks.id, {"approve": True, "reason": "x" * 70_000}, by="ada", holds=EVERYTHING)


async def test_an_answer_does_not_run_a_flow_that_killed_its_engines(scratch: Scratch) -> None:
    async with opened(scratch, *MEMBERS) as coordinator:
        rolls = await asking(coordinator, RollOut())
        crashed = scratch.copy("crashed")
    crashed.rows("UPDATE job SET claims = 3")
    async with opened(crashed, *MEMBERS) as coordinator:
        await until_job(coordinator, rolls.id, lambda row: row.attention is not None)
        await coordinator.answer(rolls.id, {"approve": True}, by="ada", holds=EVERYTHING)
        for _ in range(3):  # what the answer set going would be over by then
            await (await coordinator.submit(Call())).result(WAIT_S)
        assert [task.outcome for task in tasks(coordinator, rolls.id) if task.wait_json] == [None]
        await coordinator.settle(rolls.id, Decision.RETRY, by="ann", reason="mended")
        assert (await coordinator.wait_ended(rolls.id, WAIT_S)).failure_json is None


async def test_the_id_of_a_part_is_not_taken_for_that_of_a_job(scratch: Scratch) -> None:
    class After(Command[None], name="after"):
        job: UUID

        def execute(self, db: Tx) -> Plan:
            return part(end_of(self.job))

    async with opened(scratch, *MEMBERS, After) as coordinator:
        rolls = await asking(coordinator, RollOut())
        [child] = [row.id for row in commands(coordinator, rolls.id) if row.name == "ask"]
        with pytest.raises(Missing, match="there is no job"):
            await coordinator.questions(child)
        with pytest.raises(Missing, match="there is no job"):
            await coordinator.answer(child, {"approve": True}, by="ada", holds=EVERYTHING)
        with pytest.raises(Missing, match="there is no job"):
            await coordinator.signal("tick", job_id=child)
        assert f"job {child} is gone" in (await failure_of(await coordinator.submit(After(job=child)))).message
