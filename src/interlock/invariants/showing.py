"""Invariants 19 to 21: what people see is what the commands are."""

from collections.abc import Iterator

from interlock.invariants.picture import Picture
from interlock.model.states import Outcome, Result, State, StepStatus

_UNENDED = frozenset({StepStatus.PENDING, StepStatus.STARTED})

_SHOWN = {
    Result.SUCCEEDED: StepStatus.FINISHED,
    Result.FAILED: StepStatus.FAILED,
    Result.CANCELLED: StepStatus.ABORTED,
}


def shown_otherwise(flow: Picture) -> Iterator[str]:
    """19. A job has ended exactly when its flow command has, as that did; no step is open after its job, and
    the step of a command or a task is over exactly when that is."""
    job, root = flow.job, flow.by_id.get(flow.job.id)
    if root is not None and (job.result is not root.result or (job.ended_at is None) is (root.state is State.ENDED)):
        shown = f"job {job.id} shows result {job.result} and end time {job.ended_at}"
        yield f"{shown}, its command is {root.state} {root.result}"
    elif root is not None and root.result is not None and job.status is not _SHOWN[root.result]:
        yield f"job {job.id} is {job.status}, its command ended {root.result}"
    over = {command.id: (command.state is State.ENDED, str(command.state)) for command in flow.commands}
    over |= {task.id: (task.outcome is not None, str(task.state)) for task in flow.tasks}
    for step in flow.steps:
        is_open = step.status in _UNENDED
        if is_open and job.ended_at is not None:
            yield f"step {step.id} is {step.status} and its job {job.id} has ended"
        is_over, state = over.get(step.id, (not is_open, ""))
        if is_over is is_open and step.parent_step_id is not None:
            yield f"step {step.id} is {step.status}, what it shows is {state}"


def progress_out_of_bounds(flow: Picture) -> Iterator[str]:
    """20. Progress is a percentage, and whole where something finished."""
    shown = [("job", flow.job.id, flow.job.progress, flow.job.result is Result.SUCCEEDED)]
    shown += [("step", each.id, each.progress, each.status is StepStatus.FINISHED) for each in flow.steps]
    shown += [("async_tasks", each.id, each.progress, each.outcome is Outcome.SUCCEEDED) for each in flow.tasks]
    for table, id, progress, is_done in shown:
        if not 0 <= progress <= 100 or (is_done and progress != 100):
            yield f"{table} {id} shows a progress of {progress}"


def event_gaps(flow: Picture) -> Iterator[str]:
    """21. The events of a flow are 1, 2, … as many as its job counts, in the order of the whole log."""
    numbers = [event.seq for _, event in flow.events]
    many, last = len(numbers), max(numbers, default=0)
    if many != flow.job.events or last != flow.job.events:
        yield f"job {flow.job.id} counts {flow.job.events} events; there are {many}, the last numbered {last}"
    place = {event.seq: number for number, event in flow.events}
    for seq, number in place.items():
        if number < place.get(seq - 1, 0):
            yield f"event {seq} of flow {flow.job.id} stands in the log before the one that precedes it"
