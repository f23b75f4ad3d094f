"""Invariant 16: a wish to stop is not lost."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from interlock.model.layout import GROUP, options_of
from interlock.model.records import CommandRecord, Role
from interlock.model.states import State
from interlock.store import tables
from interlock.store.queries.rows import with_refs

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
        if state is State.EXECUTING and _goes_on(connection, child):
            continue
        yield f"command {parent} is being stopped and its child {child} is {state}, and is not"
    tasks = (
        select(_command.c.id, _task.c.id, _task.c.state)
        .join(_task, and_(_task.c.command_id == _command.c.id, _task.c.role == Role.FORWARD))
        .where(is_stopped, _task.c.outcome.is_(None), _task.c.stopping.is_(None))
    )
    for parent, task, state in connection.execute(tasks):
        yield f"command {parent} is being stopped and its task {task} is {state}, and is not"


def _goes_on(connection: Connection, id: UUID) -> bool:
    """Whether a cancel spares the command: it, or what others follow on in it, is of no return and was reached; or all
    of it that is under way is spared, or over but for its end."""
    [command] = _asked(connection, _command.c.id == id)
    parts = _asked(connection, _command.c.parent_id == id)
    before = {position for part in parts for position in part.after}
    if options_of(command.options_json).no_return:
        return True
    if any(part.position in before and _has_passed(connection, part) for part in parts):
        return True
    unfinished = [part for part in parts if part.state is not State.ENDED]
    return bool(unfinished) and all(
        part.state is not State.PENDING and (part.state is not State.EXECUTING or _goes_on(connection, part.id))
        for part in unfinished
    )


def _asked(connection: Connection, condition: ColumnElement[bool]) -> list[CommandRecord]:
    query = select(_command).where(condition, or_(_command.c.role == Role.FORWARD, _command.c.parent_id.is_(None)))
    return with_refs(connection, CommandRecord, query)


def _has_passed(connection: Connection, part: CommandRecord) -> bool:
    if part.options.no_return and part.started_at is not None:
        return True  # it may have failed since
    within = _asked(connection, _command.c.parent_id == part.id) if part.name == GROUP else []
    before = {position for each in within for position in each.after}
    return any(each.position in before and _has_passed(connection, each) for each in within)
