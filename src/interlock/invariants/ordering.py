"""Invariants 13 and 14: the order in which parts run and are undone."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from interlock.invariants.picture import Picture
from interlock.model.records import CommandRecord, Role
from interlock.model.states import Result, State
from interlock.store import tables

_command = tables.command_entities


def sequence_broken(flow: Picture) -> Iterator[str]:
    """13. A part that had its turn comes after parts that had succeeded, or need not; an alternative after failures."""
    rows = [row for row in flow.commands if row.parent_id is not None]
    places = {(*row.plan, row.position): row for row in rows if not row.superseded}
    chosen = {(*row.plan, row.options.choice): row for row in rows if row.result is Result.SUCCEEDED}
    for row in rows:
        never_began = row.state is State.PENDING or (row.result is Result.CANCELLED and row.started_at is None)
        if never_began or row.superseded:
            continue
        for position in row.after:
            before = places.get((*row.plan, position))
            if before is not None and before.options.choice is not None:
                before = chosen.get((*row.plan, before.options.choice), before)
            yield from _comes_after(row, position, before)
        former = places.get((*row.plan, row.position - 1))
        choice = row.options.choice
        if former is None or choice is None or former.options.choice != choice:
            continue
        if former.result is not Result.FAILED or former.has_leftovers:
            yield f"command {row.id} is {row.state} instead of {former.id}, which has not failed cleanly"


def _comes_after(row: CommandRecord, position: int, before: CommandRecord | None) -> Iterator[str]:
    if before is None:
        yield f"command {row.id} comes after position {position}, where there is nothing"
    elif before.result is not Result.SUCCEEDED and not _need_not_succeed(before):
        yield f"command {row.id} is {row.state} but comes after {before.id}, which has not succeeded"
    elif row.ended_seq is not None and (before.ended_seq or 0) > row.ended_seq:
        yield f"command {row.id} ended before {before.id}, which it comes after"


def _need_not_succeed(row: CommandRecord) -> bool:
    """Whether somebody skipped it, or it is best-effort and has ended, not because what it comes after has failed."""
    has_begun = row.started_at is not None or row.failure_json is not None
    was_cancelled = row.result is Result.CANCELLED and has_begun
    return row.skipped_by is not None or (row.best_effort and (row.result is Result.FAILED or was_cancelled))


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


def undone_wrongly(flow: Picture) -> Iterator[str]:
    """14. What is undone had succeeded, under a command that failed; what ended later is undone as well."""
    undoing = [(each.id, each.undoes) for each in flow.commands] + [(each.id, each.undoes) for each in flow.tasks]
    for id, undoes in undoing:
        if undoes is not None and undoes in flow.by_id and flow.by_id[undoes].undo is None:
            yield f"command {undoes} is not said to be undone, and {id} undoes it"
    if all(row.undo is None and row.state is not State.COMPENSATING for row in flow.commands):
        return
    permanent = _past_return(flow)
    under: dict[UUID, list[CommandRecord]] = {}
    for row in flow.commands:
        if row.undo is not None and row.result is not Result.SUCCEEDED:
            yield f"command {row.id} is undone ({row.undo}) and its result is {row.result}"
        elif row.result is Result.SUCCEEDED and row.parent_id is not None:
            above = _first_not_succeeded(flow, row)
            if _is_under(flow, row, permanent):
                if row.undo is not None:
                    yield f"command {row.id} is undone ({row.undo}) past a point of no return"
            elif above is not None:
                under.setdefault(above.id, []).append(row)
            elif row.undo is not None:
                yield f"command {row.id} is undone ({row.undo}) and nothing above it failed"
    for id, completed in under.items():
        yield from _out_of_order(flow.by_id[id], completed)


def _first_not_succeeded(flow: Picture, row: CommandRecord) -> CommandRecord | None:
    """The command that undoes this one; None where it is not part of what anybody may undo."""
    while row.role is Role.FORWARD and (parent := flow.parent_of(row)) is not None:
        row = parent
        if row.result is not Result.SUCCEEDED:
            return row
    return None


def _past_return(flow: Picture) -> set[UUID]:
    """What is not undone: parts of no return that may have happened, what came before them, and what holds them."""
    places: dict[tuple[Any, ...], CommandRecord] = {
        (*row.plan, row.position): row for row in flow.commands if row.parent_id is not None and not row.superseded
    }
    kept: set[UUID] = set()
    stack = [row for row in flow.commands if row.options.no_return and _may_have_happened(row)]
    while stack:
        row = stack.pop()
        parent = flow.parent_of(row)
        if row.id in kept or parent is None or row.role is not Role.FORWARD:
            continue
        kept.add(row.id)
        stack.append(parent)
        stack += [places[place] for position in row.after if (place := (*row.plan, position)) in places]
    return kept


def _may_have_happened(row: CommandRecord) -> bool:
    return row.result is Result.SUCCEEDED or row.has_leftovers


def _is_under(flow: Picture, row: CommandRecord, kept: set[UUID]) -> bool:
    """Whether it, or a command above it, is kept; below one that is kept all is."""
    while (parent := flow.parent_of(row)) is not None:
        if row.id in kept and row.result is Result.SUCCEEDED:
            return True
        row = parent
    return False


def _out_of_order(above: CommandRecord, completed: Sequence[CommandRecord]) -> Iterator[str]:
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


def _place(row: CommandRecord) -> int:
    return row.ended_seq or 0
