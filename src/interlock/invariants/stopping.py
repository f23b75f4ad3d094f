"""Invariant 16: a wish to stop is not lost."""

from collections.abc import Iterator

from interlock.invariants.picture import Picture
from interlock.model.layout import GROUP
from interlock.model.records import CommandRecord, Role
from interlock.model.states import State


def stopped_in_part(flow: Picture) -> Iterator[str]:
    """16. Of what is being stopped nothing waits for its turn, and the wish has reached all that is under way, but for
    what a cancel spares: it has reached its point of no return."""
    for command in flow.commands:
        if command.stopping is None or command.state is not State.EXECUTING:
            continue
        for child in flow.children_of(command, Role.FORWARD):
            waits = child.state is State.PENDING
            runs_on = child.state is State.EXECUTING and child.stopping is None and not _goes_on(flow, child)
            if waits or runs_on:
                yield f"command {command.id} is being stopped and its child {child.id} is {child.state}, and is not"
        for task in flow.tasks_for(command, Role.FORWARD):
            if task.outcome is None and task.stopping is None:
                yield f"command {command.id} is being stopped and its task {task.id} is {task.state}, and is not"


def _goes_on(flow: Picture, command: CommandRecord) -> bool:
    """Whether a cancel spares the command: it, or what others follow on in it, is of no return and was reached; or all
    of it that is under way is spared, or over but for its end."""
    parts = flow.children_of(command, Role.FORWARD)
    before = {position for part in parts for position in part.after}
    if command.options.no_return:
        return True
    if any(part.position in before and _has_passed(flow, part) for part in parts):
        return True
    unfinished = [part for part in parts if part.state is not State.ENDED]
    return bool(unfinished) and all(
        part.state is not State.PENDING and (part.state is not State.EXECUTING or _goes_on(flow, part))
        for part in unfinished
    )


def _has_passed(flow: Picture, part: CommandRecord) -> bool:
    if part.options.no_return and part.started_at is not None:
        return True  # it may have failed since
    within = flow.children_of(part, Role.FORWARD) if part.name == GROUP else []
    before = {position for each in within for position in each.after}
    return any(each.position in before and _has_passed(flow, each) for each in within)
