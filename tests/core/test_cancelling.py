"""Cancelling, played by hand: what a wish reaches, and what follows where it reaches only a part."""

from uuid import UUID

import pytest

from interlock.core import cancelling, pausing
from interlock.core.lifecycle import examine_all
from interlock.model.errors import Refused
from interlock.model.plan import Order
from interlock.model.records import Role
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
