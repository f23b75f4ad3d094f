"""Invariants 2 to 6: how commands and tasks end."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Connection, and_, case, func, not_, or_, select

from interlock.model.layout import options_of
from interlock.model.records import Role
from interlock.model.states import Result, State
from interlock.store import tables

_command, _task, _job, _event = tables.command_entities, tables.async_tasks, tables.job, tables.audit_log
_child = _command.alias("child")
_over = _task.c.state.in_(["Ended", "ClearFailed", "Cleared"])


def states_agree(connection: Connection) -> Iterator[str]:
    """2. A result and an end time are there exactly where something has ended."""
    ended = _command.c.state == State.ENDED
    wrong = or_(ended == _command.c.result.is_(None), ended == _command.c.ended_at.is_(None))
    query = select(_command.c.id, _command.c.state, _command.c.result, _command.c.ended_at).where(wrong)
    for id, state, result, ended_at in connection.execute(query):
        yield f"command {id} is {state} with result {result} and end time {ended_at}"
    wrong = or_(_over == _task.c.outcome.is_(None), _over == _task.c.ended_at.is_(None))
    query = select(_task.c.id, _task.c.state, _task.c.outcome, _task.c.ended_at).where(wrong)
    for id, state, outcome, ended_at in connection.execute(query):
        yield f"task {id} is {state} with outcome {outcome} and end time {ended_at}"


def one_end(connection: Connection) -> Iterator[str]:
    """3. Every ended command has its own place in the order of ends; every ended job tells its end once."""
    wrong = (_command.c.state == State.ENDED) == _command.c.ended_seq.is_(None)
    query = select(_command.c.id, _command.c.state, _command.c.ended_seq).where(wrong)
    for id, state, place in connection.execute(query):
        yield f"command {id} is {state} and has place {place} in the order of ends"
    twice = (
        select(_command.c.flow_id, _command.c.ended_seq, func.count())
        .where(_command.c.ended_seq.is_not(None))
        .group_by(_command.c.flow_id, _command.c.ended_seq)
        .having(func.count() > 1)
    )
    for flow, place, many in connection.execute(twice):
        yield f"{many} commands of flow {flow} have place {place} in the order of ends"
    told = (select(func.count()).where(_event.c.flow_id == _job.c.id, _event.c.kind == "job_ended")).scalar_subquery()
    expected = case((_job.c.ended_at.is_(None), 0), else_=1)
    for id, many in connection.execute(select(_job.c.id, told).where(told != expected)):
        yield f"the end of job {id} is told {many} times in its events"


def parts_end_first(connection: Connection) -> Iterator[str]:
    """4. Where a command has ended, its children and tasks have."""
    query = (
        select(_command.c.id, _child.c.id, _child.c.state)
        .join(_child, _child.c.parent_id == _command.c.id)
        .where(_command.c.state == State.ENDED, _child.c.state != State.ENDED)
    )
    for parent, child, state in connection.execute(query):
        yield f"command {parent} has ended and its child {child} is {state}"
    query = (
        select(_command.c.id, _task.c.id, _task.c.state)
        .join(_task, _task.c.command_id == _command.c.id)
        .where(_command.c.state == State.ENDED, not_(_over))
    )
    for parent, task, state in connection.execute(query):
        yield f"command {parent} has ended and its task {task} is {state}"


def open_parts_counted(connection: Connection) -> Iterator[str]:
    """5. Every command counts exactly the unfinished parts of the plan that is under way."""
    role = case(
        (_command.c.state == State.COMPENSATING, Role.UNDO.value),
        (_command.c.state == State.FINALIZING, Role.END.value),
        else_=Role.FORWARD.value,
    )
    children = (
        select(func.count())
        .select_from(_child)
        .where(_child.c.parent_id == _command.c.id, _child.c.role == role, _child.c.state != State.ENDED)
    )
    tasks = select(func.count()).where(_task.c.command_id == _command.c.id, _task.c.role == role, not_(_over))
    count = children.scalar_subquery() + tasks.scalar_subquery()
    query = select(_command.c.id, _command.c.open, count).where(_command.c.open != count)
    for id, counted, found in connection.execute(query):
        yield f"command {id} counts {counted} open parts and has {found}"


def _not_chosen(connection: Connection) -> list[UUID]:
    """The alternatives beside which another has succeeded."""
    query = select(_command).where(_command.c.options_json.contains('"choice"'))
    rows = connection.execute(query).all()
    keys = {row.id: (row.parent_id, row.role, row.undoes, options_of(row.options_json).choice) for row in rows}
    chosen = {keys[row.id] for row in rows if row.result is Result.SUCCEEDED}
    return [row.id for row in rows if row.result is not Result.SUCCEEDED and keys[row.id] in chosen]


def success_of_parts(connection: Connection) -> Iterator[str]:
    """6. A command succeeded exactly when every part of its plan that is not best-effort did.

    One that failed without a failed part is right where it has no parts: it was refused, or never began. An
    attempt that was followed by another does not count, nor one that somebody skipped; of alternatives one is enough. A
    forced end is a person's word.
    """
    spare = _not_chosen(connection)
    missed_child = and_(
        _child.c.parent_id == _command.c.id,
        _child.c.role == Role.FORWARD,
        not_(_child.c.best_effort),
        not_(_child.c.superseded),
        _child.c.skipped_by.is_(None),
        not_(_child.c.id.in_(spare)),
        or_(_child.c.result.is_(None), _child.c.result != Result.SUCCEEDED),
    )
    missed_task = and_(
        _task.c.command_id == _command.c.id,
        _task.c.role == Role.FORWARD,
        not_(_task.c.best_effort),
        or_(_task.c.outcome.is_(None), _task.c.outcome != "SUCCEEDED"),
    )
    is_free = _command.c.forced_by.is_(None)
    succeeded = and_(_command.c.result == Result.SUCCEEDED, is_free)
    for part, missed, name in ((_child, missed_child, "child"), (_task, missed_task, "task")):
        query = select(_command.c.id, part.c.id).join(part, missed).where(succeeded)
        for id, culprit in connection.execute(query):
            yield f"command {id} succeeded and its {name} {culprit} did not"
    has_parts = or_(
        select(_child.c.id).where(_child.c.parent_id == _command.c.id, _child.c.role == Role.FORWARD).exists(),
        select(_task.c.id).where(_task.c.command_id == _command.c.id, _task.c.role == Role.FORWARD).exists(),
    )
    failed = and_(_command.c.result == Result.FAILED, is_free, _command.c.attention.is_(None), has_parts)
    none_missed = and_(
        not_(select(_child.c.id).where(missed_child).exists()),
        not_(select(_task.c.id).where(missed_task).exists()),
    )
    for id in connection.scalars(select(_command.c.id).where(failed, none_missed)):
        yield f"command {id} failed and all of its parts succeeded"
