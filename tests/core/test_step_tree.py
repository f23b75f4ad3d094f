"""The tree of steps: all that a plan names shows, in its order, as soon as the plan is there."""

from typing import Any
from uuid import UUID

import pytest

from interlock.core.flow import Flow
from interlock.model.plan import Plan, Retry, TaskWork, first_of, parallel, part, sequence
from interlock.model.records import StepRecord
from interlock.model.states import Outcome, StepStatus
from tests.core.playing import Play
from tests.core.shapes import One, Spec, Task

EMPTY = Spec()
COPY = TaskWork(None, "copy", {}, True, True, ())
BUSY = Spec(plan=part(COPY))
#: a step's name, with what is below it, in order
Tree = list[Any]


def planned(plan: Plan) -> Play:
    """A flow whose plan is laid out and committed, with nothing done but that."""
    play = Play(Spec(plan=plan))
    play.do(0)
    play.commit()
    return play


def below(flow: Flow, parent: UUID | None) -> list[StepRecord]:
    found = [step for step in flow.steps.values() if step.parent_step_id == parent]
    return sorted(found, key=lambda step: step.position)


def tree(flow: Flow, parent: UUID) -> Tree:
    return [(step.name, tree(flow, step.id)) if tree(flow, step.id) else step.name for step in below(flow, parent)]


def executing(play: Play) -> StepRecord:
    return next(step for step in below(play.flow, None) if step.name == "EXECUTING")


def named(play: Play, name: str) -> StepRecord:
    [step] = [step for step in play.flow.steps.values() if step.name == name]
    return step


def statuses(play: Play) -> dict[str, StepStatus]:
    return {step.name: step.status for step in play.flow.steps.values() if step.parent_step_id is not None}


NESTED = sequence(
    part(EMPTY, step="A"),
    part(COPY, step="B"),
    first_of(
        sequence(part(COPY, step="C"), part(parallel(part(COPY, step="D"), part(EMPTY, step="E")))),
        part(EMPTY, step="F"),
    ),
    part(sequence(part(EMPTY, step="H"), part(EMPTY), part(COPY, step="I")), step="G"),
    parallel(part(EMPTY, step="J"), part(sequence(part(COPY, step="K"), part(COPY, step="L"))), at_most=1),
    part(EMPTY, step="M"),
)
SHOWN: Tree = ["A", "B", "C", "D", "E", "F", ("G", ["H", "I"]), "J", "K", "L", "M"]


def test_all_that_a_plan_names_shows_in_its_order_before_it_begins() -> None:
    play = planned(NESTED)
    assert tree(play.flow, executing(play).id) == SHOWN
    assert set(statuses(play).values()) == {StepStatus.PENDING}


@pytest.mark.parametrize("crashes", [False, True])
def test_the_steps_are_the_same_ones_when_their_turn_has_come(crashes: bool) -> None:
    play = planned(NESTED)
    before = {step.name: step.id for step in play.flow.steps.values()}
    for _ in range(200):
        if crashes:
            play.commit()
            play.crash([3, 1])
        if play.due:
            play.do(0)
        elif play.open_tasks():
            play.finish(0)
    play.play_out()
    assert {step.name: step.id for step in play.flow.steps.values()} == before
    assert tree(play.flow, executing(play).id) == SHOWN
    others = {name for name, status in statuses(play).items() if status is not StepStatus.FINISHED}
    assert (others, statuses(play)["F"], play.flow.job.progress) == ({"F"}, StepStatus.NOT_STARTED, 100)


def test_what_a_group_names_is_not_started_when_the_group_is_never_reached() -> None:
    play = planned(sequence(part(BUSY, step="A"), part(sequence(part(COPY, step="B"), first_of(part(COPY, step="C"))))))
    play.do(0)
    play.finish(0, Outcome.FAILED)
    play.play_out()
    assert statuses(play) == {"A": StepStatus.FAILED, "B": StepStatus.NOT_STARTED, "C": StepStatus.NOT_STARTED}


def test_a_group_that_was_refused_leaves_no_step_open() -> None:
    play = planned(part(sequence(part(COPY, step="B"), part(COPY, step="C")), best_effort=True))
    play.do(0, "refuse")
    assert set(statuses(play).values()) == {StepStatus.NOT_STARTED}
    play.play_out()


def test_a_group_that_is_tried_again_shows_once_more_and_once_only_as_pending() -> None:
    again = sequence(part(COPY, step="A"), part(COPY, step="B"))
    play = planned(sequence(part(again, retry=Retry(2, 0.0)), part(EMPTY, step="Z")))
    while not play.open_tasks():
        play.do(0)
    play.finish(0, Outcome.FAILED)
    while len(statuses(play)) == 3 and len(play.flow.steps) == 6:
        play.do(0)
    shown = [(step.name, step.status) for step in below(play.flow, executing(play).id)]
    assert shown == [
        ("A", StepStatus.FAILED), ("B", StepStatus.NOT_STARTED), ("A", StepStatus.PENDING), ("B", StepStatus.PENDING),
        ("Z", StepStatus.PENDING),
    ]  # fmt: skip
    former = {step.id for step in play.flow.steps.values()}
    play.play_out()
    assert ({step.id for step in play.flow.steps.values()}, play.flow.job.progress) == (former, 100)


def test_what_failed_before_it_was_tried_again_is_no_share_of_the_progress() -> None:
    again = sequence(part(COPY, step="A"), part(COPY, step="B"))
    play = planned(sequence(part(again, retry=Retry(2, 0.0)), part(EMPTY, step="Z", weight=2)))
    for outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SUCCEEDED):
        while not play.open_tasks():
            play.do(0)
        play.finish(0, outcome)
    while not play.open_tasks():
        play.do(0)
    play.commit()
    assert play.flow.job.progress == 25


def test_what_is_still_to_come_has_its_share_of_the_progress() -> None:
    play = planned(sequence(part(COPY, step="A"), part(sequence(part(COPY, step="B"), part(COPY, step="C", weight=2)))))
    play.do(0)
    play.finish(0)
    play.do(0)
    play.commit()
    assert (named(play, "A").status, play.flow.job.progress) == (StepStatus.FINISHED, 25)


def test_a_task_that_waited_for_its_turn_shows_its_progress_and_its_host_in_its_step() -> None:
    play = planned(sequence(part(COPY, step="A"), part(COPY, step="B")))
    play.do(0)
    [task] = play.open_tasks()
    assert named(play, "A").id == task.command_id != task.id
    play.answer(0)
    play.report(0, 40)
    play.commit()
    step = named(play, "A")
    assert (step.status, step.progress, step.external_system, step.external_id) == (
        StepStatus.STARTED, 40, "VDSM", f"h{task.id.int}",
    )  # fmt: skip
    assert play.flow.job.progress == 20
    play.play_out()


def test_the_steps_of_an_end_phase_come_after_those_of_the_plan() -> None:
    child = Spec(plan=sequence(part(EMPTY, step="A"), part(COPY, step="B")), end_plan=One(Task(), step="CLEAN"))
    play = planned(part(child, step="CHILD"))
    while not play.open_tasks():
        play.do(0)
    play.finish(0, Outcome.FAILED)
    while not play.open_tasks():
        play.do(0)
    assert tree(play.flow, executing(play).id) == [("CHILD", ["A", "B", "CLEAN"])]
    play.play_out()
