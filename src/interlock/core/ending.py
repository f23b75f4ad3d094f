"""How a command ends, computed afresh from its children and tasks (design rule 3)."""

from typing import Any
from uuid import UUID

from interlock.core.flow import Flow
from interlock.model.failure import Cause, Failure
from interlock.model.records import CommandRecord, Role, TaskRecord, Undo
from interlock.model.refs import Ref
from interlock.model.states import Outcome, Result, State, TaskState

_DONE = frozenset({TaskState.ENDED, TaskState.CLEARED, TaskState.CLEAR_FAILED})

#: outcomes after which something may remain, or still run, on the host
FATE_UNKNOWN = frozenset({Outcome.LOST, Outcome.UNKNOWN})


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
    failed = total = 0
    for task in flow.tasks_for(command.id, role, undoes):
        total += 1
        if task.outcome is not Outcome.SUCCEEDED and not task.best_effort:
            failed += 1
            causes.append(task_cause(flow, command, task))
    for child in flow.children_of(command.id, role, undoes):
        total += 1
        if child.result is not Result.SUCCEEDED and not child.best_effort:
            failed += 1
            causes.extend(_child_causes(command, child))
    if not failed:
        return None
    if total == 1 and causes:
        return Failure.of(causes[0].message, causes)
    first = f": {causes[0].message}" if causes else ""
    return Failure.of(f"{failed} of {total} parts failed{first}", causes)


def task_cause(flow: Flow, command: CommandRecord, task: TaskRecord) -> Cause:
    """What is said of a task that did not succeed."""
    host = str(task.host) if task.host else "this process"
    said = {
        Outcome.LOST: f"{task.method} was lost: {host} does not know task {task.id}; it may have run",
        Outcome.UNKNOWN: f"the fate of {task.method} on {host} is unknown (task {task.id})",
        Outcome.REFUSED: f"{host} refused {task.method}: {task.message}",
    }.get(task.outcome or Outcome.FAILED, f"{task.method} failed on {host}: {task.message}")
    return Cause(
        said,
        (command.title,),
        tuple(str(ref) for ref in task.refs),
        str(task.host) if task.host else None,
        task.code,
        f"see what it left on {host}, then clear leftover {task.id}" if task.id in flow.leftovers else None,
        task.id in flow.leftovers,
    )


def _child_causes(command: CommandRecord, child: CommandRecord) -> list[Cause]:
    if child.failure_json is None:
        return []  # never started: the part before it says why
    failure = Failure.from_json(child.failure_json)
    causes = failure.causes or (Cause(failure.message, (child.title,), tuple(map(str, child.refs))),)
    return [
        Cause(
            cause.message, (command.title, *cause.path), cause.refs, cause.host, cause.code, cause.remedy,
            cause.leftover,
        )
        for cause in causes
    ]  # fmt: skip


def is_ready(flow: Flow, command: CommandRecord) -> bool | None:
    """Whether a pending part's turn has come: True, not yet (None), or never (False)."""
    if command.parent_id is None:
        return True
    if not command.after:
        return True
    siblings = flow.children_of(command.parent_id, command.role, command.undoes)
    before = {child.position: child for child in siblings}
    ready: bool | None = True
    for position in command.after:
        sibling = before[position]
        if sibling.state is not State.ENDED:
            ready = None
        elif sibling.result is not Result.SUCCEEDED and not sibling.best_effort:
            return False
    return ready


def to_undo(flow: Flow, command: CommandRecord) -> list[CommandRecord]:
    """The completed commands under this one whose undoing is not over, the latest end last."""
    found: list[CommandRecord] = []
    stack = flow.children_of(command.id, Role.FORWARD)
    while stack:
        child = stack.pop()
        if child.result is Result.SUCCEEDED:
            if child.undo is None or child.undo is Undo.UNDERWAY:
                found.append(child)
            stack.extend(flow.children_of(child.id, Role.FORWARD))
    return sorted(found, key=lambda child: child.ended_seq or 0)
