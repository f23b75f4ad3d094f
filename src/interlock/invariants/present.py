"""Invariants 18 and 22: every row belongs to something, and bears its flow's correlation id."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import Connection, ForeignKeyConstraint, Select, Table, and_, select

from interlock.invariants.picture import Picture
from interlock.store import tables

_job, _command, _task = tables.job, tables.command_entities, tables.async_tasks
_event, _leftover = tables.audit_log, tables.leftovers
_parent = _command.alias("parent")

#: ids that are no foreign keys, lest deleting a command searched the whole log
_SOFT = (
    (_event.c.command_id, _command),
    (_event.c.task_id, _task),
    (_leftover.c.task_id, _task),
)
#: rows whose owner must be of the same flow
_SAME_FLOW = (
    (_task, _task.c.flow_id, _task.c.command_id),
    (_leftover, _leftover.c.flow_id, _leftover.c.command_id),
    (tables.entity_locks, tables.entity_locks.c.flow_id, tables.entity_locks.c.command_id),
    (
        tables.business_entity_snapshot,
        tables.business_entity_snapshot.c.flow_id,
        tables.business_entity_snapshot.c.command_id,
    ),
)
_ROOTLESS = select(_job.c.id).outerjoin(_command, _command.c.id == _job.c.id).where(_command.c.id.is_(None))
_STRAYS = (
    select(_command.c.id, _command.c.flow_id, _parent.c.flow_id)
    .join(_parent, _parent.c.id == _command.c.parent_id)
    .where(_command.c.flow_id != _parent.c.flow_id)
)


def orphans(connection: Connection) -> Iterator[str]:
    """18. Whatever a row names is there, and of the same flow."""
    for name, of_target, query in _dangling():
        for row in connection.execute(query):
            named = " ".join(str(value) for value in row)
            yield f"{name} names {of_target} {named}, which does not exist"
    for id in connection.scalars(_ROOTLESS):
        yield f"job {id} has no command"
    for id, flow, other in connection.execute(_STRAYS):
        yield f"command {id} of flow {flow} has a parent of flow {other}"
    for name, query in _misplaced():
        for id, flow, other in connection.execute(query):
            yield f"{name} has a row of flow {flow} for command {id} of flow {other}"


@cache
def _dangling() -> tuple[tuple[str, str, Select[Any]], ...]:
    """Who refers, to what, and the query for references that lead nowhere: for each foreign key, and what is none."""
    keys = [
        (table.name, foreign.referred_table.name, _leading_nowhere(table, foreign))
        for table in tables.metadata.sorted_tables
        for foreign in sorted(table.foreign_key_constraints, key=lambda each: list(each.column_keys))
    ]
    soft = [
        (
            column.table.name,
            target.name,
            select(column)
            .distinct()
            .outerjoin(target, target.c.id == column)
            .where(column.is_not(None), target.c.id.is_(None)),
        )
        for column, target in _SOFT
    ]
    return (*keys, *soft)


@cache
def _misplaced() -> tuple[tuple[str, Select[Any]], ...]:
    """For each of _SAME_FLOW whose rows they are, and the query for those of another flow than their owner."""
    return tuple(
        (
            table.name,
            select(owner, of_flow, _command.c.flow_id)
            .join(_command, _command.c.id == owner)
            .where(of_flow != _command.c.flow_id),
        )
        for table, of_flow, owner in _SAME_FLOW
    )


def _leading_nowhere(table: Table, foreign: ForeignKeyConstraint) -> Select[Any]:
    target = foreign.referred_table.alias("target")
    pairs = [(element.parent, target.c[element.column.name]) for element in foreign.elements]
    return (
        select(*(column for column, _ in pairs))
        .distinct()
        .select_from(table.outerjoin(target, and_(*(column == key for column, key in pairs))))
        .where(*(column.is_not(None) for column, _ in pairs), pairs[0][1].is_(None))
    )


def correlation_differs(flow: Picture) -> Iterator[str]:
    """22. All rows of a flow bear the correlation id of its job."""
    rows = [("command_entities", each.id, each.correlation_id) for each in flow.commands]
    rows += [("async_tasks", each.id, each.correlation_id) for each in flow.tasks]
    rows += [("step", each.id, each.correlation_id) for each in flow.steps]
    rows += [("leftovers", each.id, each.correlation_id) for each in flow.leftovers]
    told = [("audit_log", number, event.correlation_id) for number, event in flow.events]
    for table, id, found in (*rows, *told):
        if found != flow.job.correlation_id:
            wanted = f"its job {flow.job.id} bears {flow.job.correlation_id!r}"
            yield f"{table} {id} bears correlation id {found!r}, {wanted}"
