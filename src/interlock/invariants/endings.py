"""Invariants 2 to 6, and 17: how commands and tasks end."""

from collections import Counter
from collections.abc import Iterator

from interlock.invariants.picture import OVER, Picture, under_way
from interlock.model.records import CommandRecord, Role
from interlock.model.states import Outcome, Result, State

#: a host's word for a task that failed and was not rolled back
_UNCLEAN = "cleanFailure"


def states_agree(flow: Picture) -> Iterator[str]:
    """2. A result and an end time are there exactly where something has ended."""
    for each in flow.commands:
        has_ended = each.state is State.ENDED
        if has_ended is (each.result is None) or has_ended is (each.ended_at is None):
            yield f"command {each.id} is {each.state} with result {each.result} and end time {each.ended_at}"
    for task in flow.tasks:
        is_over = task.state in OVER
        if is_over is (task.outcome is None) or is_over is (task.ended_at is None):
            yield f"task {task.id} is {task.state} with outcome {task.outcome} and end time {task.ended_at}"


def one_end(flow: Picture) -> Iterator[str]:
    """3. Every ended command has its own place in the order of ends; every ended job tells its end once."""
    for each in flow.commands:
        if (each.state is State.ENDED) is (each.ended_seq is None):
            yield f"command {each.id} is {each.state} and has place {each.ended_seq} in the order of ends"
    places = Counter(each.ended_seq for each in flow.commands if each.ended_seq is not None)
    for place, many in places.items():
        if many > 1:
            yield f"{many} commands of flow {flow.job.id} have place {place} in the order of ends"
    told = sum(event.kind == "job_ended" for _, event in flow.events)
    if told != (flow.job.ended_at is not None):
        yield f"the end of job {flow.job.id} is told {told} times in its events"


def parts_end_first(flow: Picture) -> Iterator[str]:
    """4. Where a command has ended, its children and tasks have."""
    for command in flow.commands:
        if command.state is State.ENDED:
            for child in flow.children_of(command):
                if child.state is not State.ENDED:
                    yield f"command {command.id} has ended and its child {child.id} is {child.state}"
            for task in flow.tasks_for(command):
                if task.state not in OVER:
                    yield f"command {command.id} has ended and its task {task.id} is {task.state}"


def open_parts_counted(flow: Picture) -> Iterator[str]:
    """5. Every command counts exactly the unfinished parts of the plan that is under way."""
    for command in flow.commands:
        role = under_way(command)
        found = sum(child.state is not State.ENDED for child in flow.children_of(command, role))
        found += sum(task.state not in OVER for task in flow.tasks_for(command, role))
        if command.open != found:
            yield f"command {command.id} counts {command.open} open parts and has {found}"


def success_of_parts(flow: Picture) -> Iterator[str]:
    """6. A command succeeded exactly when every part of its plan that is not best-effort did.

    One that failed without a failed part is right where it has no parts: it was refused, or never began. An
    attempt that was followed by another does not count, nor one that somebody skipped; of alternatives one is enough. A
    forced end is a person's word.
    """
    for command in flow.commands:
        if command.forced_by is not None or command.result in (None, Result.CANCELLED):
            continue
        children, tasks = flow.children_of(command, Role.FORWARD), flow.tasks_for(command, Role.FORWARD)
        chosen = {each.options.choice for each in children if each.result is Result.SUCCEEDED}
        missed = [("child", each.id) for each in children if _is_missed(each, chosen)]
        missed += [
            ("task", each.id) for each in tasks if not each.best_effort and each.outcome is not Outcome.SUCCEEDED
        ]
        if command.result is Result.SUCCEEDED:
            for name, culprit in missed:
                yield f"command {command.id} succeeded and its {name} {culprit} did not"
        elif command.attention is None and (children or tasks) and not missed:
            yield f"command {command.id} failed and all of its parts succeeded"


def left_unsaid(flow: Picture) -> Iterator[str]:
    """17. Of what may remain on a host, or still run there, a leftover says so; nothing is tried again beside it."""
    said = {each.task_id for each in flow.leftovers}
    for task in flow.tasks:
        is_unsure = task.outcome in (Outcome.LOST, Outcome.UNKNOWN) or task.host_result == _UNCLEAN
        if is_unsure and task.is_mutating and task.outcome is not None and task.id not in said:
            yield f"task {task.id} ended {task.outcome} ({task.host_result or 'no result'}), and no leftover says so"
    for leftover in flow.leftovers:
        command = flow.by_id.get(leftover.command_id) if leftover.cleared_at is None else None
        while command is not None:
            if command.superseded:
                yield f"command {command.id} was tried again, and left leftover {leftover.id}"
            command = flow.parent_of(command)


def _is_missed(child: CommandRecord, chosen: set[int | None]) -> bool:
    """Whether a child should have succeeded, and has not."""
    need_not = child.best_effort or child.superseded or child.skipped_by is not None
    is_spare = child.options.choice is not None and child.options.choice in chosen
    return child.result is not Result.SUCCEEDED and not need_not and not is_spare
