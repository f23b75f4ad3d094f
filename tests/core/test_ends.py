"""Ends, played by hand: what random plays reach too seldom, each a way in which things once ended wrongly."""

from uuid import UUID

import pytest

from interlock.core.facts import Compensate, EndPhase, Examine, Start
from interlock.core.flow import Flow
from interlock.core.lifecycle import END_ATTEMPTS_MAX, decide, is_still_due, move
from interlock.core.retrying import END_RETRY_US
from interlock.core.settling import Settlement, chosen, settle
from interlock.model.decisions import Decision
from interlock.model.errors import Bug
from interlock.model.failure import Failure
from interlock.model.plan import Order, Retry
from interlock.model.records import CommandRecord, EventRecord, Undo
from interlock.model.replacing import replace
from interlock.model.states import Outcome, Phase, Result, State, StepStatus
from interlock.model.trials import RESTORED
from tests.core.playing import Play
from tests.core.shapes import START, One, Several, Spec, Task

EMPTY = Spec()
FAILING = Spec(plan=One(Task()))


def staged(*, undo: Spec = EMPTY, completed: int = 2) -> Play:
    """A sequence whose first stages completed and whose last has failed: compensation is due."""
    stages = (*(One(undo, step=f"S{n}") for n in range(completed)), One(FAILING, step="LAST"), One(EMPTY, step="NEVER"))
    play = Play(Spec(plan=Several(stages, Order.IN_TURN)))
    while not play.open_tasks():
        play.do(0)
    play.commit()
    play.finish(0, Outcome.FAILED)
    while not isinstance(play.due[0], Compensate):
        play.do(0)
    return play


def children(play: Play) -> list[CommandRecord]:
    return [row for row in play.flow.commands.values() if row.parent_id == play.flow.id and row.undoes is None]


def test_an_undo_that_is_put_off_to_another_transaction_is_not_skipped() -> None:
    play = staged()
    play.put_off(0)
    play.play_out()
    assert [row.undo for row in children(play)] == [Undo.DONE, Undo.DONE, None, None]


def test_what_comes_after_a_best_effort_part_that_was_never_reached_is_not_reached_either() -> None:
    stages = (One(FAILING), One(FAILING, best_effort=True), One(FAILING, best_effort=True), One(EMPTY))
    play = Play(Spec(plan=Several(stages, Order.IN_TURN)))
    while not play.open_tasks():
        play.do(0)
    play.finish(0, Outcome.FAILED)
    play.play_out()
    assert [row.result for row in children(play)] == [Result.FAILED] + [Result.CANCELLED] * 3


def test_what_came_before_a_return_that_was_passed_by_an_attempt_before_the_last_is_not_undone() -> None:
    """What the first attempt did is there for good; the last one failed before it came to that."""
    again = One(Spec(plan=Several((One(FAILING, no_return=True), One(FAILING)), Order.IN_TURN)), retry=Retry(2, 0.0))
    play = Play(Spec(plan=Several((One(EMPTY), again), Order.IN_TURN)))
    for outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.FAILED):
        while not play.open_tasks():
            play.do(0)
        play.finish(0, outcome, "cleanSuccess")
    play.play_out()
    assert [(row.attempt, row.result, row.undo) for row in children(play)] == [
        (1, Result.SUCCEEDED, None), (1, Result.FAILED, None), (2, Result.FAILED, None),
    ]  # fmt: skip


@pytest.mark.hard_case(21)
def test_one_undo_that_fails_says_nothing_of_the_others() -> None:
    play = staged(undo=Spec(undo_plan=One(Task(is_mutating=False))))
    play.do(0)
    play.finish(0, Outcome.FAILED)
    play.play_out()
    assert [row.undo for row in children(play)] == [Undo.DONE, Undo.FAILED, None, None]
    assert set(play.flow.leftovers) == {children(play)[1].id}
    assert play.flow.root.has_leftovers


@pytest.mark.hard_case(20)
def test_compensate_is_tried_again_and_then_becomes_a_leftover() -> None:
    play = staged(completed=1)
    for attempt in range(1, END_ATTEMPTS_MAX):
        play.do(0, "raise")
        assert (play.due, play.flow.root.attempts) == ([], attempt)
        play.wait((END_RETRY_US << (attempt - 1)) - 1)
        assert play.due == []
        play.wait(1)
        assert play.due == [Compensate(play.flow.id, children(play)[0].id)]
    play.do(0, "raise")
    assert children(play)[0].undo is Undo.FAILED
    assert [row.reason for row in play.flow.leftovers.values()] == ["Do spec1 could not be cleaned up: it raised"]
    play.play_out()
    assert play.flow.root.result is Result.FAILED


def test_what_is_due_twice_is_done_once() -> None:
    play = Play(EMPTY)
    twice = Start(play.flow.id)
    play.due = [twice, twice]
    play.do(0)
    assert not is_still_due(play.flow, twice, play.now)
    play.do(0)
    end = EndPhase(play.flow.id, Phase.END_SUCCESSFULLY)
    assert play.due == [end]
    assert decide(play.flow, Examine(play.flow.id), play.now) == [end]
    play.do(0)
    assert not is_still_due(play.flow, end, play.now)
    assert play.flow.root.result is Result.SUCCEEDED


@pytest.mark.hard_case(20)
def test_an_end_phase_that_raises_waits_longer_each_time_and_then_for_a_person() -> None:
    play = Play(EMPTY)
    play.do(0)
    waits = []
    for _ in range(END_ATTEMPTS_MAX - 1):
        play.do(0, "raise")
        retry_at = play.flow.root.retry_at
        assert retry_at is not None
        waits.append(retry_at - play.now)
        play.wait(retry_at - play.now)
    assert waits == [1_000_000, 2_000_000, 4_000_000, 8_000_000]
    play.do(0, "raise")
    root = play.flow.root
    assert (root.state, root.attention) == (State.FINALIZING, "end_successfully of Do spec0 failed 5 times: it raised")
    assert play.flow.job.attention == root.attention
    assert decide(play.flow, Examine(root.id), play.now + 10**12) == []
    play.mend()
    play.play_out()
    assert (play.flow.root.result, play.flow.job.attention) == (Result.SUCCEEDED, None)


def test_the_steps_of_a_failed_sequence() -> None:
    play = staged()
    play.now += 5
    play.play_out()
    shown = {
        step.name: (step.status, step.started_at, step.ended_at, step.progress) for step in play.flow.steps.values()
    }
    assert shown == {
        "VALIDATING": (StepStatus.FINISHED, START, START, 100),
        "EXECUTING": (StepStatus.FAILED, START, START, 50),
        "S0": (StepStatus.FINISHED, START, START, 100),
        "S1": (StepStatus.FINISHED, START, START, 100),
        "LAST": (StepStatus.FAILED, START, START, 0),
        "NEVER": (StepStatus.NOT_STARTED, None, START, 0),
        "FINALIZING": (StepStatus.FINISHED, START, START + 5, 100),
    }
    assert (play.flow.job.status, play.flow.job.progress) == (StepStatus.FAILED, 50)


def test_a_refused_flow_shows_no_work() -> None:
    play = Play(EMPTY)
    play.do(0, "refuse")
    play.commit()
    assert {step.name: step.status for step in play.flow.steps.values()} == {
        "VALIDATING": StepStatus.FAILED, "EXECUTING": StepStatus.NOT_STARTED, "FINALIZING": StepStatus.NOT_STARTED,
    }  # fmt: skip
    assert [(row.kind, row.message) for row in stored_events(play)] == [
        ("job_accepted", "Do spec0"), ("job_ended", "Do spec0: FAILED: the disk is in use"),
    ]  # fmt: skip


def stored_events(play: Play) -> list[EventRecord]:
    return [row for row in play.stored.values() if isinstance(row, EventRecord)]


@pytest.mark.hard_case(5)
@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.UNKNOWN])
def test_a_task_of_unknown_fate_keeps_its_refs_after_the_end(outcome: Outcome) -> None:
    play = Play(Spec(plan=One(Task(touches=(0,))), locks=(0, 1)))
    play.do(0)
    [task] = play.open_tasks()
    play.finish(0, outcome)
    play.play_out()
    assert [(lock.ref, lock.leftover_id) for lock in play.flow.locks.values()] == [(task.refs[0], task.id)]
    failure = Failure.from_json(play.flow.root.failure_json or "")
    assert [cause.leftover for cause in failure.causes] == [True]


def test_moves_outside_of_the_table_are_bugs() -> None:
    play = Play(EMPTY)
    with pytest.raises(Bug, match="cannot go from PENDING to FINALIZING"):
        move(play.flow, play.flow.root, State.FINALIZING, play.now)


def test_a_flow_without_its_job_is_not_loaded() -> None:
    play = Play(EMPTY)
    with pytest.raises(Bug, match="interlock verify"):
        Flow.of_rows([play.flow.root])


def test_ids_of_other_flows_are_not_known() -> None:
    with pytest.raises(KeyError):
        decide(Play(EMPTY).flow, Examine(UUID(int=0xFFFF)), START)


@pytest.mark.hard_case(30)
def test_a_counter_that_has_lost_a_part_ends_nothing_early() -> None:
    """Counters of open parts hurry the look at their end; the rows are counted again before anything is believed."""
    play = Play(Spec(plan=Several((One(Task()), One(Task())))))
    while play.due:
        play.do(0)
    root = play.flow.root
    assert (root.state, root.open) == (State.EXECUTING, 2)
    play.flow.put_command(replace(root, open=0))
    with pytest.raises(Bug, match="counts no open parts but has 2"):
        decide(play.flow, Examine(root.id), play.now)
    assert play.flow.root.state is State.EXECUTING


def test_the_time_in_which_a_flow_was_parked_is_not_counted() -> None:
    """Who looked for long before deciding let the deadlines of what was under way pass meanwhile."""
    play = Play(Spec(plan=One(Task(), timeout_s=60.0)))
    while not play.open_tasks():
        play.do(0)
    play.commit()
    [task] = play.open_tasks()
    play.flow.put_job(replace(play.flow.job, claims=RESTORED))
    play.flow.put_command(replace(play.flow.root, attention="look", deadline_at=play.now + 7))
    hour_us = 3_600_000_000
    settled = Settlement(Decision.RETRY, None, "ann", "so")
    settle(play.flow, chosen(play.flow, settled), settled, play.now + hour_us)
    assert task.deadline_at is not None
    assert play.flow.tasks[task.id].deadline_at == task.deadline_at + hour_us
    assert (play.flow.root.deadline_at, play.flow.job.claims) == (play.now + 7 + hour_us, 0)
