"""Invariant 16: a wish to stop is not lost."""

from collections.abc import Iterator

from sqlalchemy import Connection, and_, or_, select

from interlock.model.records import Role
from interlock.model.states import State
from interlock.store import tables

_command, _task = tables.command_entities, tables.async_tasks
_child = _command.alias("child")


def stopped_in_part(connection: Connection) -> Iterator[str]:
    """16. Of what is being stopped nothing waits for its turn, and the wish has reached all that is under way."""
    is_stopped = and_(_command.c.stopping.is_not(None), _command.c.state == State.EXECUTING)
    goes_on = or_(_child.c.state == State.PENDING, and_(_child.c.state == State.EXECUTING, _child.c.stopping.is_(None)))
    children = (
        select(_command.c.id, _child.c.id, _child.c.state)
        .join(_child, and_(_child.c.parent_id == _command.c.id, _child.c.role == Role.FORWARD))
        .where(is_stopped, goes_on)
        .order_by(_child.c.position)
    )
    for parent, child, state in connection.execute(children):
        yield f"command {parent} is being stopped and its child {child} is {state}, and is not"
    tasks = (
        select(_command.c.id, _task.c.id, _task.c.state)
        .join(_task, and_(_task.c.command_id == _command.c.id, _task.c.role == Role.FORWARD))
        .where(is_stopped, _task.c.outcome.is_(None), _task.c.stopping.is_(None))
    )
    for parent, task, state in connection.execute(tasks):
        yield f"command {parent} is being stopped and its task {task} is {state}, and is not"
