"""Invariants 13 and 14: the order in which parts run and are undone."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, or_, select

from interlock.model.records import Role
from interlock.model.states import Result, State
from interlock.store import tables

_command = tables.command_entities
_columns = tuple(
    _command.c[name]
    for name in (
        "id", "flow_id", "parent_id", "role", "undoes", "position", "after", "state", "result", "best_effort",
        "started_at", "ended_seq", "undo",
    )
)  # fmt: skip


def sequence_broken(connection: Connection) -> Iterator[str]:
    """13. A part that had its turn comes after parts that had succeeded, or need not."""
    of_parents = select(_command.c.parent_id).where(_command.c.after != ())
    rows = connection.execute(select(*_columns).where(_command.c.parent_id.in_(of_parents))).all()
    places = {(row.parent_id, row.role, row.undoes, row.position): row for row in rows}
    for row in rows:
        if row.state is State.PENDING or (row.result is Result.CANCELLED and row.started_at is None):
            continue
        for position in row.after:
            before = places.get((row.parent_id, row.role, row.undoes, position))
            if before is None:
                yield f"command {row.id} comes after position {position}, where there is nothing"
            elif before.result is not Result.SUCCEEDED and not (before.best_effort and before.result):
                yield f"command {row.id} is {row.state} but comes after {before.id}, which has not succeeded"
            elif row.ended_seq is not None and (before.ended_seq or 0) > row.ended_seq:
                yield f"command {row.id} ended before {before.id}, which it comes after"


def undone_wrongly(connection: Connection) -> Iterator[str]:
    """14. What is undone had succeeded, under a command that failed; what ended later is undone as well."""
    flows = select(_command.c.flow_id).where(or_(_command.c.undo.is_not(None), _command.c.state == State.COMPENSATING))
    query = select(*_columns).where(_command.c.flow_id.in_(flows)).order_by(_command.c.flow_id)
    rows = {row.id: row for row in connection.execute(query)}
    under: dict[UUID, list[Row[Any]]] = {}
    for row in rows.values():
        if row.undo is not None and row.result is not Result.SUCCEEDED:
            yield f"command {row.id} is undone ({row.undo}) and its result is {row.result}"
        elif row.result is Result.SUCCEEDED and row.parent_id is not None:
            above = _first_not_succeeded(rows, row)
            if above is not None:
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


def _out_of_order(above: Row[Any], completed: Sequence[Row[Any]]) -> Iterator[str]:
    undone = [row for row in completed if row.undo is not None]
    kept = [row for row in completed if row.undo is None]
    if undone and above.state in (State.PENDING, State.VALIDATING, State.EXECUTING):
        yield f"command {undone[0].id} is undone while {above.id} above it is {above.state}"
    elif undone and kept:
        first, last = min(undone, key=_place), max(kept, key=_place)
        if _place(first) < _place(last):
            yield f"command {first.id} is undone before {last.id}, which ended later"
        elif above.state in (State.FINALIZING, State.ENDED):
            yield f"command {above.id} has compensated but left {last.id}, which had completed"


def _place(row: Row[Any]) -> int:
    return int(row.ended_seq or 0)
