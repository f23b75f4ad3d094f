"""Cancelling, played by hand: what a wish reaches, and what follows where it reaches only a part."""

from uuid import UUID

import pytest

from interlock.core import cancelling, pausing, turns
from interlock.core.facts import CommandOverdue
from interlock.core.flow import Flow
from interlock.core.lifecycle import examine_all
from interlock.model.errors import Refused
from interlock.model.plan import Order, Retry
from interlock.model.records import CommandRecord, Role, Undo
from interlock.model.states import Outcome, Result, State
from interlock.model.wishes import Wish
from tests.core.playing import Play
from tests.core.shapes import One, Several, Spec
from tests.core.test_stopping import EMPTY, WORK, parts, played, tell


def wish(target: UUID | None = None) -> Wish:
    return Wish(UUID(int=1), "ann", "so", target)


def look(play: Play) -> None:
    for fact in examine_all(play.flow):
        tell(play, fact)


def test_a_command_that_undoes_and_hangs_is_forced() -> None:
    undone = Spec(undo_plan=One(WORK))
    play = played(Several((One(undone), One(WORK)), Order.IN_TURN))
    play.finish(0, Outcome.FAILED)
    while play.due:
        play.do(0)
    [mending] = [row for row in play.flow.commands.values() if row.role is Role.UNDO]
    assert mending.state is State.EXECUTING
    cancelling.force(play.flow, wish(mending.id), play.now)
    look(play)
    play.play_out()
    assert [task.outcome for task in play.flow.tasks.values()] == [Outcome.FAILED, Outcome.UNKNOWN]
    assert play.flow.root.result is Result.FAILED


def test_what_comes_after_a_best_effort_part_that_was_cancelled_before_it_began_has_its_turn() -> None:
    play = played(Several((One(WORK), One(EMPTY, best_effort=True), One(EMPTY)), Order.IN_TURN))
    spare = parts(play)[1]
    cancelling.cancel(play.flow, wish(spare.id), play.now)
    look(play)
    play.play_out()
    assert [row.result for row in parts(play)] == [Result.SUCCEEDED, Result.CANCELLED, Result.SUCCEEDED]
    assert play.flow.root.result is Result.SUCCEEDED


def test_what_has_ended_while_it_was_paused_does_not_go_on() -> None:
    play = played(Several((One(WORK), One(EMPTY)), Order.IN_TURN))
    pausing.pause(play.flow, wish(), play.now)
    cancelling.force(play.flow, wish(), play.now)
    look(play)
    play.play_out()
    assert play.flow.root.result is Result.CANCELLED
    with pytest.raises(Refused, match="has ended CANCELLED"):
        pausing.resume(play.flow, wish(), play.now)


def test_a_job_of_which_the_last_part_is_being_stopped_for_its_time_is_cancelled_all_the_same() -> None:
    """Nothing of it would go on but what is being stopped; that was taken for something that does, and the cancel was
    refused, or did not reach what is in between. Yet without it, best effort as it is, the job would have succeeded."""
    late = One(WORK, best_effort=True, timeout_s=5.0)
    play = played(Several((One(Spec(plan=Several((late,)))), One(EMPTY)), Order.IN_TURN))
    [middle, _] = parts(play)
    [overdue] = parts(play, middle.id)
    tell(play, CommandOverdue(overdue.id))
    cancelling.cancel(play.flow, wish(), play.now)
    assert [row.stopped_by for row in (play.flow.root, *parts(play))] == ["ann", "ann", None]
    assert parts(play, middle.id)[0].stopped_by is None  # it keeps its own reason
    look(play)
    play.finish(0, Outcome.STOPPED)
    play.play_out()
    assert [(row.result, row.undo) for row in (play.flow.root, *parts(play))] == [
        (Result.CANCELLED, None), (Result.SUCCEEDED, Undo.DONE), (Result.CANCELLED, None),
    ]  # fmt: skip


@pytest.mark.parametrize("follows", [False, True])
def test_in_a_job_that_is_cancelled_what_has_not_passed_its_return_is_not_tried_again(follows: bool) -> None:
    reached = One(WORK, no_return=True, retry=Retry(3, 0.0))
    spared = Spec(plan=Several((reached, One(EMPTY)), Order.IN_TURN) if follows else reached)
    play = played(Several((One(spared), One(WORK))))
    cancelling.cancel(play.flow, wish(), play.now)
    [going, stopped] = parts(play)
    assert (going.stopping, stopped.stopping) == (None, "cancelled by ann: so")
    index = next(n for n, task in enumerate(play.open_tasks()) if task.stopping is None)
    play.finish(index, Outcome.FAILED, "cleanSuccess")
    play.play_out()
    assert [row.attempt for row in parts(play, going.id)][:1] == [1]
    assert not any(row.superseded for row in play.flow.commands.values())
    assert play.flow.root.result is Result.CANCELLED


def test_nobody_is_asked_within_what_is_cancelled() -> None:
    spared = Spec(plan=One(WORK, no_return=True), resumable=True)
    play = played(Several((One(spared), One(WORK))), resumable=True)
    cancelling.cancel(play.flow, wish(), play.now)
    index = next(n for n, task in enumerate(play.open_tasks()) if task.stopping is None)
    play.finish(index, Outcome.FAILED, "cleanSuccess")
    play.play_out()
    assert play.flow.root.result is Result.CANCELLED
    assert play.flow.job.attention is None


def test_what_follows_on_a_point_of_no_return_is_tried_again_also_when_the_rest_is_cancelled() -> None:
    again = One(WORK, retry=Retry(2, 0.0))
    spared = Spec(plan=Several((One(EMPTY, no_return=True), again, One(EMPTY)), Order.IN_TURN))
    play = played(Several((One(spared), One(WORK))))
    cancelling.cancel(play.flow, wish(), play.now)
    index = next(n for n, task in enumerate(play.open_tasks()) if task.stopping is None)
    play.finish(index, Outcome.FAILED, "cleanSuccess")
    while play.due:
        play.do(0)
    going = parts(play)[0]
    assert [(row.position, row.attempt) for row in parts(play, going.id)] == [(0, 1), (1, 1), (1, 2), (2, 1)]
    play.play_out()
    assert parts(play)[0].result is Result.SUCCEEDED


def test_cancelling_a_large_group_does_not_ask_everybody_whenever_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    play, asked = played(Several(tuple(One(WORK) for _ in range(100)), at_most=2)), list[UUID]()
    assert len(play.open_tasks()) == 2
    turn = turns.turn

    def counting(flow: Flow, command: CommandRecord) -> bool | None:
        asked.append(command.id)
        return turn(flow, command)

    monkeypatch.setattr(turns, "turn", counting)
    cancelling.cancel(play.flow, wish(), play.now)
    assert len(asked) <= 100
    play.play_out()
