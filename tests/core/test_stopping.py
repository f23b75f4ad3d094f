"""Deadlines and stopping, played by hand: who is stopped, who is not, and what is said of it."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from interlock.core import cancelling, narration, stopping
from interlock.core.facts import (
    CommandOverdue,
    Judge,
    TaskAnswered,
    TaskEnded,
    TaskOverdue,
    TaskProgressed,
    TaskStalled,
)
from interlock.core.lifecycle import decide
from interlock.model.failure import Failure
from interlock.model.plan import Order, Retry
from interlock.model.records import CommandRecord, EventRecord, Role, TaskRecord
from interlock.model.states import Outcome, Result, State, StepStatus, TaskState
from interlock.model.wishes import Wish
from tests.core.playing import Play
from tests.core.shapes import One, Several, Spec, Task

WORK = Spec(plan=One(Task()))
EMPTY = Spec()


def played(plan: Any, **more: Any) -> Play:
    """A flow whose tasks are open."""
    play = Play(Spec(plan=plan, **more))
    while not play.open_tasks():
        play.do(0)
    while play.due:
        play.do(0)
    play.commit()
    return play


def tell(play: Play, fact: Any) -> None:
    play.due += decide(play.flow, fact, play.now)


def parts(play: Play, id: UUID | None = None) -> list[CommandRecord]:
    rows = (row for row in play.flow.commands.values() if row.parent_id == (id or play.flow.id))
    return sorted(rows, key=lambda row: (row.position, row.attempt))


def only_task(play: Play) -> TaskRecord:
    [task] = play.open_tasks()
    return task


def events(play: Play) -> list[tuple[str, str]]:
    return [(event.kind, event.message) for event in play.flow.events]


def failure(row: CommandRecord) -> Failure:
    assert row.failure_json is not None
    return Failure.from_json(row.failure_json)


def test_what_has_not_begun_never_begins_and_what_runs_is_asked_to_stop() -> None:
    play = played(Several((One(WORK, step="A"), One(WORK, step="B"), One(WORK)), Order.IN_TURN))
    play.now += 5_000_000
    tell(play, CommandOverdue(play.flow.id))
    first, *others = parts(play)
    assert [(row.state, row.result, row.started_at) for row in others] == [(State.ENDED, Result.CANCELLED, None)] * 2
    assert play.flow.steps[others[0].id].status is StepStatus.NOT_STARTED
    why = play.flow.root.stopping
    assert why is not None
    assert (first.stopping, only_task(play).stopping, first.state) == (why, why, State.EXECUTING)
    play.finish(0, Outcome.FAILED, "cleanSuccess")
    play.play_out()
    assert [task.outcome for task in play.flow.tasks.values()] == [Outcome.STOPPED]
    assert play.flow.root.result is Result.FAILED
    said = failure(play.flow.root)
    assert said.message.startswith(why)
    assert said.causes[0].outcome is Outcome.STOPPED
    assert said.causes[0].remedy == "see what took so long, or give it more time"
    assert said.has(Outcome.STOPPED)
    assert not said.has(Outcome.LOST)


def test_a_deadline_is_counted_from_when_a_command_begins_and_a_task_is_named() -> None:
    play = Play(Spec(plan=Several((One(WORK, timeout_s=2.0), One(Task(), timeout_s=3.0)))))
    play.now += 7
    while play.due:
        play.do(0)
    [part] = parts(play)
    assert (part.started_at, part.deadline_at) == (play.now, play.now + 2_000_000)
    [of_root] = (task for task in play.flow.tasks.values() if task.command_id == play.flow.id)
    assert (of_root.created_at, of_root.deadline_at) == (play.now, play.now + 3_000_000)
    assert [task.deadline_at for task in play.flow.tasks.values() if task.command_id == part.id] == [None]


def test_what_a_class_gives_is_not_for_undoing_and_end_phases() -> None:
    mending = One(Spec(plan=One(WORK)))
    undone = Spec(undo_plan=mending)
    stages = Several((One(undone), One(WORK), One(EMPTY, timeout_s=2.0)), Order.IN_TURN)
    play = Play(Spec(plan=stages, end_plan=mending))
    play.mint.author = replace(
        play.mint.author, describe=lambda work: replace(play.mint._describe(work), timeout_s=9.0)
    )
    play.play_out([("ok", Outcome.FAILED)] * 50)
    given: dict[tuple[Role, int], set[float | None]] = {}
    for row in play.flow.commands.values():
        given.setdefault((row.role, row.depth), set()).add(row.options.timeout_s)
    assert given == {
        (Role.FORWARD, 0): {None}, (Role.FORWARD, 1): {9.0, 2.0},
        (Role.UNDO, 1): {None}, (Role.END, 1): {None}, (Role.FORWARD, 2): {None},
    }  # fmt: skip


def test_a_success_that_came_too_late_is_a_success_with_a_warning() -> None:
    play = played(One(WORK), end_plan=One(Task()))
    tell(play, CommandOverdue(play.flow.id))
    play.finish(0)
    play.play_out()
    late = [row for row in play.stored.values() if isinstance(row, EventRecord) and row.kind == "succeeded_late"]
    assert [row.command_id for row in late] == [play.flow.id]
    assert (play.flow.root.result, play.flow.root.failure_json, play.flow.root.has_warnings) == (
        Result.SUCCEEDED, None, True,
    )  # fmt: skip


def test_a_task_that_succeeded_in_spite_of_its_own_deadline_warns_once() -> None:
    play = played(One(Task(), timeout_s=4.0))
    tell(play, TaskOverdue(only_task(play).id))
    play.finish(0)
    assert [kind for kind, _ in events(play)] == ["deadline_passed", "succeeded_late"]
    why = "the time of copy was over, 4 s after it began"
    assert events(play)[0] == ("deadline_passed", f"{why}; what has not ended of it is stopped")
    assert events(play)[1] == ("succeeded_late", f"copy has succeeded all the same, and counts: {why}")
    play.play_out()
    assert play.flow.root.result is Result.SUCCEEDED


def test_what_is_being_undone_or_ends_is_not_stopped_from_above() -> None:
    undone = Spec(undo_plan=One(Task()))
    inner = Spec(plan=Several((One(undone), One(WORK)), Order.IN_TURN))
    play = played(One(inner))
    play.finish(0, Outcome.FAILED)
    while play.due:
        play.do(0)
    [middle] = parts(play)
    assert middle.state is State.COMPENSATING
    task = only_task(play)
    tell(play, CommandOverdue(play.flow.id))
    assert play.flow.root.stopping is not None
    assert play.flow.commands[middle.id].stopping is None
    assert only_task(play) == task
    play.finish(0)
    play.play_out()
    assert play.flow.root.result is Result.FAILED
    assert not play.flow.leftovers


def test_a_command_in_its_end_phase_has_no_deadline_any_more() -> None:
    play = played(One(WORK), end_plan=One(Task()))
    play.finish(0, Outcome.FAILED)
    while play.due:
        play.do(0)
    assert play.flow.root.state is State.FINALIZING
    before = play.flow.root, only_task(play)
    tell(play, CommandOverdue(play.flow.id))
    assert (play.flow.root, only_task(play)) == before


def test_the_deadline_that_passed_first_keeps_its_words_within_another() -> None:
    play = played(Several((One(WORK, timeout_s=1.0), One(WORK))))
    inner, other = parts(play)
    tell(play, CommandOverdue(inner.id))
    assert [row.stopping is None for row in (*parts(play), play.flow.root)] == [False, True, True]
    why = play.flow.commands[inner.id].stopping
    assert why is not None
    tell(play, CommandOverdue(play.flow.id))
    assert [row.stopping for row in parts(play)] == [why, play.flow.root.stopping]
    play.finish(0, Outcome.FAILED, "cleanSuccess")
    play.finish(0, Outcome.FAILED, "cleanSuccess")
    play.play_out()
    said = failure(play.flow.root)
    expired = [cause.message for cause in said.causes if cause.outcome is Outcome.STOPPED and not cause.host]
    assert play.flow.root.stopping in expired
    assert why in expired
    assert other.stopping is None


def test_a_part_whose_time_is_over_is_tried_again_with_its_own_time() -> None:
    play = played(One(WORK, timeout_s=1.0, retry=Retry(2, 0.0)))
    [part] = parts(play)
    tell(play, CommandOverdue(part.id))
    play.finish(0, Outcome.FAILED, "cleanSuccess")
    while play.due:
        play.do(0)
    former, again = parts(play)
    assert former.superseded
    assert (again.state, again.stopping, again.deadline_at) == (State.EXECUTING, None, play.now + 1_000_000)
    play.play_out()
    assert play.flow.root.result is Result.SUCCEEDED


def test_in_what_is_stopped_nothing_is_tried_again() -> None:
    play = played(One(WORK, retry=Retry(3, 0.0)))
    tell(play, CommandOverdue(play.flow.id))
    play.finish(0, Outcome.FAILED, "cleanSuccess")
    play.play_out()
    assert [(row.result, row.attempt, row.superseded) for row in parts(play)] == [(Result.FAILED, 1, False)]


def test_a_failure_is_no_expiry_unless_it_was_rolled_back() -> None:
    play = played(One(Task()))
    tell(play, TaskOverdue(only_task(play).id))
    play.finish(0, Outcome.FAILED, "cleanFailure")
    play.play_out()
    [task] = play.flow.tasks.values()
    assert task.outcome is Outcome.FAILED
    assert set(play.flow.leftovers) == {task.id}


def test_a_wait_that_is_stopped_is_looked_at_once_more_and_is_over_then() -> None:
    play = played(One(WORK))
    play.flow.put_task(replace(only_task(play), wait_json="{}"))
    [look] = decide(play.flow, CommandOverdue(play.flow.id), play.now)
    task = only_task(play)
    assert (look, task.outcome) == (Judge(task.command_id, task.id), None)
    ended = stopping.goes_on(play.flow, task.id)
    assert ended is not None
    tell(play, ended)
    [task] = play.flow.tasks.values()
    assert (task.state, task.outcome, task.message) == (TaskState.CLEARED, Outcome.STOPPED, task.stopping)
    play.play_out()
    assert play.flow.root.result is Result.FAILED


def test_a_command_that_waits_is_stopped_before_it_begins() -> None:
    play = Play(WORK)
    assert stopping.stop(play.flow, play.flow.root, "nobody wants it", play.now) == []
    assert (play.flow.root.result, play.flow.root.started_at) == (Result.CANCELLED, None)
    play.due.clear()
    play.play_out()


def test_a_task_that_stalls_is_told_once_and_so_is_that_it_goes_on() -> None:
    play = played(One(Task()))
    id = only_task(play).id
    tell(play, TaskStalled(id, "running", "job 1", 600.0))
    assert (play.flow.tasks[id].stalled_at, play.flow.events) == (None, [])  # not yet begun
    tell(play, TaskAnswered(id, "h1"))
    tell(play, TaskProgressed(id, "running", 10))
    play.now += 5
    stalled_at = play.now
    for _ in range(2):
        tell(play, TaskStalled(id, "running", "job 1", 600.0))
        play.now += 5
    tell(play, TaskProgressed(id, "running", 10, "job 1"))  # what an engine sees that takes over
    assert play.flow.tasks[id].stalled_at == stalled_at
    tell(play, TaskProgressed(id, "running", 11, "job 1"))
    assert play.flow.tasks[id].stalled_at is None
    assert events(play) == [
        ("task_stalled", "copy on None has reported no progress for 600 s (running)"),
        ("task_went_on", "copy on None goes on (running)"),
    ]
    tell(play, TaskStalled(id, "running", "job 1", 600.0))
    tell(play, TaskEnded(id, Outcome.SUCCEEDED))
    assert play.flow.tasks[id].stalled_at is None


def test_a_cancel_that_waits_for_a_person_says_so() -> None:
    play = played(Several((One(Task()), One(WORK))))
    narration.raise_attention(play.flow, play.flow.root, "its class is gone", play.now)
    cancelling.cancel(play.flow, Wish(UUID(int=1), "ann"), play.now)
    assert play.flow.root.stopped_by == "ann"
    assert events(play)[-1] == (
        "cancel_waits", f"{play.flow.root.title} ends only when a person has seen to it: its class is gone",
    )  # fmt: skip
