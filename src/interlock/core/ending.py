"""How a command ends, computed afresh from its children and tasks (design rule 3)."""

from typing import Any
from uuid import UUID

from interlock.core.flow import Flow
from interlock.model.failure import Cause, Failure
from interlock.model.layout import GROUP
from interlock.model.records import CommandRecord, Role, TaskRecord, Undo
from interlock.model.refs import Ref
from interlock.model.states import Outcome, Phase, Result, State, TaskState

_DONE = frozenset({TaskState.ENDED, TaskState.CLEARED, TaskState.CLEAR_FAILED})

#: outcomes after which something may remain, or still run, on the host
FATE_UNKNOWN = frozenset({Outcome.LOST, Outcome.UNKNOWN})

#: what a person may do about what was stopped because its time was over
OVERDUE_REMEDY = "see what took so long, or give it more time"


def untouchable(flow: Flow) -> dict[Ref[Any], UUID]:
    """The refs that a task of unknown fate may still touch, each with the leftover that says so."""
    return {
        ref: leftover.id
        for leftover in flow.leftovers.values()
        if leftover.task_id is not None
        and leftover.cleared_at is None
        and flow.tasks[leftover.task_id].outcome in FATE_UNKNOWN
        for ref in leftover.refs
    }


def role_under_way(command: CommandRecord) -> Role:
    """The role of the plan that is under way."""
    match command.state:
        case State.COMPENSATING:
            return Role.UNDO
        case State.FINALIZING:
            return Role.END
        case _:
            return Role.FORWARD


def count_open(flow: Flow, command: CommandRecord, undoes: UUID | None = None) -> int:
    """How many children and tasks of the plan under way (for COMPENSATING: that undoes so) are unfinished."""
    plan = (command.id, role_under_way(command), undoes)
    children = sum(child.state is not State.ENDED for child in flow.children_of(*plan))
    return children + sum(task.state not in _DONE for task in flow.tasks_for(*plan))


def failure_of(
    flow: Flow, command: CommandRecord, role: Role = Role.FORWARD, undoes: UUID | None = None
) -> Failure | None:
    """Why the plan of that role failed, or None: every part that is not best-effort succeeded.

    For the role UNDO, `undoes` says whose undoing is meant.
    """
    causes: list[Cause] = []
    unmet = failed = total = 0
    for task in flow.tasks_for(command.id, role, undoes):
        total += 1
        if task.outcome is not Outcome.SUCCEEDED and not task.best_effort:
            unmet += 1
            failed += 1
            causes.append(task_cause(flow, command, task))
    children = flow.children_of(command.id, role, undoes)
    chosen = {child.options.choice for child in children if child.options_json and child.result is Result.SUCCEEDED}
    for child in children:
        total += 1
        is_spare = child.options_json is not None and child.options.choice in chosen - {None}
        counts = not (child.best_effort or child.skipped_by or is_spare)
        if child.result is not Result.SUCCEEDED and counts:
            unmet += 1
            failed += child.failure_json is not None  # otherwise it never began
            causes.extend(_child_causes(command, child))
    if not unmet:
        return None
    if total == 1 and causes:
        return Failure.of(causes[0].message, causes)
    if not failed:
        return Failure.of(f"{unmet} of {total} parts never began", causes)
    first = f": {causes[0].message}" if causes else ""
    return Failure.of(f"{failed} of {total} parts failed{first}", causes)


def task_cause(flow: Flow, command: CommandRecord, task: TaskRecord) -> Cause:
    """What is said of a task that did not succeed."""
    host = str(task.host) if task.host else "this process"
    said = {
        Outcome.LOST: f"{task.method} was lost: {host} does not know task {task.id}; it may have run",
        Outcome.UNKNOWN: f"the fate of {task.method} on {host} is unknown (task {task.id})",
        Outcome.REFUSED: f"{host} refused {task.method}: {task.message}",
        Outcome.STOPPED: f"{task.method} on {host} was stopped{_why_stopped(command, task)}",
    }.get(task.outcome or Outcome.FAILED, f"{task.method} failed on {host}: {task.message}")
    is_late = task.outcome is Outcome.STOPPED and task.stopped_by is None
    remedy = OVERDUE_REMEDY if is_late else None
    if task.id in flow.leftovers:
        remedy = f"see what it left on {host}, then clear leftover {task.id}"
    return Cause(
        said,
        (command.title,),
        tuple(str(ref) for ref in task.refs),
        str(task.host) if task.host else None,
        task.code,
        remedy,
        task.id in flow.leftovers,
        task.outcome,
    )


def _why_stopped(command: CommandRecord, task: TaskRecord) -> str:
    """Its own reason, unless that is its command's, which says it itself; and the words of who did it."""
    said = dict.fromkeys(why for why in (task.stopping, task.message) if why and why != command.stopping)
    return f": {'; '.join(said)}" if said else ""


def _child_causes(command: CommandRecord, child: CommandRecord) -> list[Cause]:
    if child.failure_json is None:
        return []  # never started: the part before it says why
    failure = Failure.from_json(child.failure_json)
    causes = failure.causes or (Cause(failure.message, (child.title,), tuple(map(str, child.refs))),)
    return [
        Cause(
            cause.message, (command.title, *cause.path), cause.refs, cause.host, cause.code, cause.remedy,
            cause.leftover, cause.outcome,
        )
        for cause in causes
    ]  # fmt: skip


def to_undo(flow: Flow, command: CommandRecord) -> list[CommandRecord]:
    """The completed commands under this one whose undoing is not over, the latest end last."""
    found: list[CommandRecord] = []
    stack = [command]
    while stack:
        parent = stack.pop()
        kept = past_return(flow, parent)
        for child in flow.children_of(parent.id, Role.FORWARD):
            if child.result is Result.SUCCEEDED and child.position not in kept:
                if child.undo is None or child.undo is Undo.UNDERWAY:
                    found.append(child)
                stack.append(child)
    return sorted(found, key=lambda child: child.ended_seq or 0)


def past_return(flow: Flow, command: CommandRecord) -> frozenset[int]:
    """The positions of a command's plan that are not undone: parts of no return, and all that came before them."""
    children = flow.children_of(command.id, Role.FORWARD)
    kept: set[int] = set()
    stack = [child.position for child in children if _is_permanent(flow, child)]
    while stack:
        position = stack.pop()
        child = flow.at((command.id, Role.FORWARD, None), position)
        if child is not None and position not in kept:
            kept.add(position)
            stack += child.after
    return frozenset(kept)


def _is_permanent(flow: Flow, command: CommandRecord) -> bool:
    """Whether it, a part of it, or an attempt before it has passed a point of no return, or may have."""
    return any(
        (_may_have_happened(attempt) and attempt.options_json is not None and attempt.options.no_return)
        or any(_is_permanent(flow, child) for child in flow.children_of(attempt.id, Role.FORWARD))
        for attempt in flow.attempts_at(command)
    )


def _may_have_happened(command: CommandRecord) -> bool:
    return command.result is Result.SUCCEEDED or command.has_leftovers


def has_passed(flow: Flow, command: CommandRecord) -> bool:
    """Whether a part of its plan that is of no return has succeeded, may have, or is under way, and others follow on
    it: they are what goes on."""
    children = flow.children_of(command.id, Role.FORWARD)
    before = {position for child in children for position in child.after}
    return any(
        child.position in before
        and ((child.options.no_return and _is_reached(child)) or (child.name == GROUP and has_passed(flow, child)))
        for child in children
    )


def _is_reached(part: CommandRecord) -> bool:
    is_under_way = part.state is State.EXECUTING or part.phase is Phase.END_SUCCESSFULLY
    return is_under_way or _may_have_happened(part)


def is_given_up(flow: Flow, command: CommandRecord) -> bool:
    """Whether nothing of it is tried again and nobody is asked: it, or what it is part of, is being stopped, and it
    has passed no point of no return for which it goes on all the same."""
    lineage = [command]
    while lineage[-1].parent_id is not None and lineage[-1].role is Role.FORWARD:
        lineage.append(flow.commands[lineage[-1].parent_id])
    stopped = next((number for number, each in enumerate(lineage) if each.stopping is not None), None)
    if stopped is None:
        return False
    return not any(each.options.no_return or has_passed(flow, each) for each in lineage[:stopped])
