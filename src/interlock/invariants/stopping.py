"""Invariant 16: a wish to stop is not lost."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, or_, select

from interlock.model.layout import GROUP, options_of
from interlock.model.records import Role
from interlock.model.states import Phase, Result, State
from interlock.store import tables

_command, _task = tables.command_entities, tables.async_tasks
_child = _command.alias("child")


def stopped_in_part(connection: Connection) -> Iterator[str]:
    """16. Of what is being stopped nothing waits for its turn, and the wish has reached all that is under way, but for
    what a cancel spares: it has reached its point of no return."""
    is_stopped = and_(_command.c.stopping.is_not(None), _command.c.state == State.EXECUTING)
    goes_on = or_(_child.c.state == State.PENDING, and_(_child.c.state == State.EXECUTING, _child.c.stopping.is_(None)))
    children = (
        select(_command.c.id, _child.c.id, _child.c.state)
        .join(_child, and_(_child.c.parent_id == _command.c.id, _child.c.role == Role.FORWARD))
        .where(is_stopped, goes_on)
        .order_by(_child.c.position)
    )
    for parent, child, state in connection.execute(children):
        if state is State.EXECUTING and _has_passed(connection, child):
            continue
        yield f"command {parent} is being stopped and its child {child} is {state}, and is not"
    tasks = (
        select(_command.c.id, _task.c.id, _task.c.state)
        .join(_task, and_(_task.c.command_id == _command.c.id, _task.c.role == Role.FORWARD))
        .where(is_stopped, _task.c.outcome.is_(None), _task.c.stopping.is_(None))
    )
    for parent, task, state in connection.execute(tasks):
        yield f"command {parent} is being stopped and its task {task} is {state}, and is not"


def _has_passed(connection: Connection, id: UUID) -> bool:
    """Whether a point of no return was reached in a command, or in all of it that is still under way."""
    query = select(_command.c.id, _command.c.state, _command.c.result, _command.c.phase, _command.c.has_leftovers)
    query = query.add_columns(_command.c.options_json, _command.c.name)
    parts = connection.execute(query.where(_command.c.parent_id == id, _command.c.role == Role.FORWARD)).all()
    if any(options_of(part.options_json).no_return and _is_reached(part) for part in parts):
        return True
    if any(part.name == GROUP and _has_passed(connection, part.id) for part in parts):
        return True
    unfinished = [part for part in parts if part.state is not State.ENDED]
    return bool(unfinished) and all(
        part.state is not State.PENDING and (part.state is not State.EXECUTING or _has_passed(connection, part.id))
        for part in unfinished
    )


def _is_reached(part: Any) -> bool:
    is_under_way = part.state is State.EXECUTING or part.phase is Phase.END_SUCCESSFULLY
    return is_under_way or part.result is Result.SUCCEEDED or part.has_leftovers
