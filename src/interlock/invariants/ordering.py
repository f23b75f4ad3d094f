"""Invariants 13 and 14: the order in which parts run and are undone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, or_, select

from interlock.model.layout import options_of
from interlock.model.records import Role
from interlock.model.states import Result, State
from interlock.store import tables

_command = tables.command_entities
_columns = (
    *(
        _command.c[name]
        for name in (
            "id", "flow_id", "parent_id", "role", "undoes", "position", "after", "state", "result", "best_effort",
            "started_at", "ended_seq", "undo", "has_leftovers", "options_json", "superseded", "forced_by",
            "skipped_by",
        )
    ),
    _command.c.failure_json.is_not(None).label("has_failure"),
)  # fmt: skip


def sequence_broken(connection: Connection) -> Iterator[str]:
    """13. A part that had its turn comes after parts that had succeeded, or need not; an alternative after failures."""
    of_parents = select(_command.c.parent_id).where(or_(_command.c.after != (), _command.c.options_json.is_not(None)))
    rows = connection.execute(select(*_columns).where(_command.c.parent_id.in_(of_parents))).all()
    places = {(*_plan(row), row.position): row for row in rows if not row.superseded}
    chosen = {(*_plan(row), _choice(row)): row for row in rows if row.result is Result.SUCCEEDED}
    for row in rows:
        never_began = row.state is State.PENDING or (row.result is Result.CANCELLED and row.started_at is None)
        if never_began or row.superseded:
            continue
        for position in row.after:
            before = places.get((*_plan(row), position))
            if before is not None and _choice(before) is not None:
                before = chosen.get((*_plan(row), _choice(before)), before)
            yield from _comes_after(row, position, before)
        former = places.get((*_plan(row), row.position - 1))
        if former is None or _choice(row) is None or _choice(former) != _choice(row):
            continue
        if former.result is not Result.FAILED or former.has_leftovers:
            yield f"command {row.id} is {row.state} instead of {former.id}, which has not failed cleanly"


def _comes_after(row: Row[Any], position: int, before: Row[Any] | None) -> Iterator[str]:
    if before is None:
        yield f"command {row.id} comes after position {position}, where there is nothing"
    elif before.result is not Result.SUCCEEDED and not _need_not_succeed(before):
        yield f"command {row.id} is {row.state} but comes after {before.id}, which has not succeeded"
    elif row.ended_seq is not None and (before.ended_seq or 0) > row.ended_seq:
        yield f"command {row.id} ended before {before.id}, which it comes after"


def _need_not_succeed(row: Row[Any]) -> bool:
    """Whether somebody skipped it, or it is best-effort and has ended, not because what it comes after has failed."""
    was_cancelled = row.result is Result.CANCELLED and (row.started_at is not None or row.has_failure)
    return row.skipped_by is not None or (row.best_effort and (row.result is Result.FAILED or was_cancelled))


def _plan(row: Row[Any]) -> tuple[Any, ...]:
    return row.parent_id, row.role, row.undoes


def _choice(row: Row[Any]) -> int | None:
    return options_of(row.options_json).choice


def former_broken(connection: Connection) -> Iterator[str]:
    """13. A job that comes after others began only when they had ended; what is still awaited is kept."""
    former, job = tables.job_formers.c, tables.job
    columns = select(former.flow_id, former.former_id, former.result, _command.c.started_at, job.c.id.label("kept"))
    query = columns.join(_command, _command.c.id == former.flow_id).outerjoin(job, job.c.id == former.former_id)
    for row in connection.execute(query.where(former.result.is_(None), _command.c.state != State.ENDED)):
        if row.kept is None:
            yield f"job {row.flow_id} comes after job {row.former_id}, which is gone"
        if row.started_at is not None:
            yield f"job {row.flow_id} has begun but comes after job {row.former_id}, of whose end it was not told"


def undone_wrongly(connection: Connection) -> Iterator[str]:
    """14. What is undone had succeeded, under a command that failed; what ended later is undone as well."""
    flows = select(_command.c.flow_id).where(or_(_command.c.undo.is_not(None), _command.c.state == State.COMPENSATING))
    query = select(*_columns).where(_command.c.flow_id.in_(flows)).order_by(_command.c.flow_id)
    rows = {row.id: row for row in connection.execute(query)}
    permanent = _past_return(rows.values())
    under: dict[UUID, list[Row[Any]]] = {}
    for row in rows.values():
        if row.undo is not None and row.result is not Result.SUCCEEDED:
            yield f"command {row.id} is undone ({row.undo}) and its result is {row.result}"
        elif row.result is Result.SUCCEEDED and row.parent_id is not None:
            above = _first_not_succeeded(rows, row)
            if _is_under(rows, row, permanent):
                if row.undo is not None:
                    yield f"command {row.id} is undone ({row.undo}) past a point of no return"
            elif above is not None:
                under.setdefault(above.id, []).append(row)
            elif row.undo is not None:
                yield f"command {row.id} is undone ({row.undo}) and nothing above it failed"
    for id, completed in under.items():
        yield from _out_of_order(rows[id], completed)


def _first_not_succeeded(rows: dict[UUID, Row[Any]], row: Row[Any]) -> Row[Any] | None:
    """The command that undoes this one; None where it is not part of what anybody may undo."""
    while row.parent_id is not None and row.role is Role.FORWARD:
        row = rows[row.parent_id]
        if row.result is not Result.SUCCEEDED:
            return row
    return None


def _past_return(rows: Iterable[Row[Any]]) -> set[UUID]:
    """What is not undone: parts of no return that may have happened, what came before them, and what holds them."""
    by_id = {row.id: row for row in rows}
    places = {(*_plan(row), row.position): row for row in by_id.values() if not row.superseded}
    kept: set[UUID] = set()
    stack = [row for row in by_id.values() if options_of(row.options_json).no_return and _may_have_happened(row)]
    while stack:
        row = stack.pop()
        if row.id in kept or row.parent_id is None or row.role is not Role.FORWARD:
            continue
        kept.add(row.id)
        stack.append(by_id[row.parent_id])
        stack += [places[(*_plan(row), position)] for position in row.after]
    return kept


def _may_have_happened(row: Row[Any]) -> bool:
    return row.result is Result.SUCCEEDED or bool(row.has_leftovers)


def _is_under(rows: dict[UUID, Row[Any]], row: Row[Any], kept: set[UUID]) -> bool:
    """Whether it, or a command above it, is kept; below one that is kept all is."""
    while row.parent_id is not None:
        if row.id in kept and row.result is Result.SUCCEEDED:
            return True
        row = rows[row.parent_id]
    return False


def _out_of_order(above: Row[Any], completed: Sequence[Row[Any]]) -> Iterator[str]:
    undone = [row for row in completed if row.undo is not None]
    kept = [row for row in completed if row.undo is None]
    if undone and above.state in (State.PENDING, State.VALIDATING, State.EXECUTING):
        yield f"command {undone[0].id} is undone while {above.id} above it is {above.state}"
    elif undone and kept:
        first, last = min(undone, key=_place), max(kept, key=_place)
        if _place(first) < _place(last):
            yield f"command {first.id} is undone before {last.id}, which ended later"
        elif above.state in (State.FINALIZING, State.ENDED) and above.forced_by is None:
            yield f"command {above.id} has compensated but left {last.id}, which had completed"


def _place(row: Row[Any]) -> int:
    return int(row.ended_seq or 0)
