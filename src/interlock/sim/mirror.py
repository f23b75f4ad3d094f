"""What is stored, kept beside the database as each transaction writes it: so that every commit can be checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

from interlock.coordinator.change_set import ChangeSet
from interlock.invariants import Picture
from interlock.model.changes import Change
from interlock.model.records import (
    CommandRecord,
    EventRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    StepRecord,
    TaskRecord,
)
from interlock.model.replacing import replace


@dataclass
class _Flow:
    """The rows of one flow, each kind by its key."""

    rows: dict[type, dict[Any, Any]] = field(
        default_factory=lambda: {
            kind: {} for kind in (JobRecord, CommandRecord, TaskRecord, StepRecord, LockRecord, LeftoverRecord)
        }
    )
    events: list[tuple[int, EventRecord]] = field(default_factory=list)

    def picture(self, id: UUID) -> Picture:
        rows = self.rows
        return Picture(
            rows[JobRecord][id],
            list(rows[CommandRecord].values()),
            list(rows[TaskRecord].values()),
            list(rows[StepRecord].values()),
            list(rows[LockRecord].values()),
            list(rows[LeftoverRecord].values()),
            self.events,
        )


class Mirror:
    """All flows that were written since it began."""

    def __init__(self) -> None:
        self._flows: dict[UUID, _Flow] = {}
        self.tasks: dict[UUID, TaskRecord] = {}
        self._numbers = count(1)

    def write(self, sets: Sequence[ChangeSet]) -> list[UUID]:
        """Takes in one transaction; the flows that it touched and that are still there."""
        touched: dict[UUID, None] = {}
        for each in sets:
            for change in each.changes:
                flow_id = _flow_of(change)
                if flow_id is not None:
                    touched[flow_id] = None
                    self._write(self._flows.setdefault(flow_id, _Flow()), change)
            for erased in each.erased:
                self._flows.pop(erased, None)
        return [id for id in touched if id in self._flows]

    def __contains__(self, flow_id: UUID) -> bool:
        """Whether the flow was written, and is still there."""
        return flow_id in self._flows

    def task(self, id: UUID) -> TaskRecord | None:
        """A task as it is stored."""
        return self.tasks.get(id)

    def picture(self, flow_id: UUID) -> Picture:
        """A flow as it is stored."""
        return self._flows[flow_id].picture(flow_id)

    def pictures(self) -> Iterable[Picture]:
        """All of them."""
        return (flow.picture(id) for id, flow in self._flows.items())

    def differs(self, stored: Iterable[Picture]) -> Iterator[str]:
        """What is stored otherwise than it was told: but for deadlines, which move with the time without an owner."""
        by_id = {flow.job.id: flow for flow in stored}
        for told in self.pictures():
            found = by_id.get(told.job.id)
            if found is None:
                yield f"1: flow {told.job.id} was committed and is not there"
            elif _comparable(found) != _comparable(told):
                yield f"19: flow {told.job.id} is stored otherwise than it was committed"

    def _write(self, flow: _Flow, change: Change) -> None:
        record = change.new if change.new is not None else change.old
        if isinstance(record, EventRecord):
            flow.events.append((next(self._numbers), record))
            return
        key = record.ref if isinstance(record, LockRecord) else record.id  # type: ignore[union-attr]  # as _flow_of says
        if isinstance(change.new, TaskRecord):
            self.tasks[change.new.id] = change.new
        if change.new is None:
            flow.rows[type(record)].pop(key, None)
        else:
            flow.rows[type(record)][key] = change.new


def _flow_of(change: Change) -> UUID | None:
    """Whose row it is; None for rows that are no part of a picture."""
    match change.new if change.new is not None else change.old:
        case JobRecord(id=id) | StepRecord(job_id=id):
            return id
        case (
            CommandRecord(flow_id=id)
            | TaskRecord(flow_id=id)
            | LockRecord(flow_id=id)
            | LeftoverRecord(flow_id=id)
            | EventRecord(flow_id=id)
        ):
            return id
        case _:
            return None


def _comparable(flow: Picture) -> tuple[Any, ...]:
    rows: list[Any] = [replace(command, deadline_at=None) for command in flow.commands]
    rows += [replace(task, deadline_at=None) for task in flow.tasks]
    rows += [*flow.steps, *flow.leftovers]
    return (
        replace(flow.job, change_no=0),
        {row.id: row for row in rows},
        {lock.ref: lock for lock in flow.locks},
        [event for _, event in flow.events],
    )
