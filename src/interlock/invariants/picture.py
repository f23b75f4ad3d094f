"""All rows of one flow, as checks look at them: from a database, or as a simulator saw them written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from interlock.model.records import (
    CommandRecord,
    EventRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    Role,
    StepRecord,
    TaskRecord,
)
from interlock.model.states import State, TaskState
from interlock.store import tables
from interlock.store.codec import read
from interlock.store.queries import flows

#: how many flows are read at once
BATCH = 200
#: states of a task that is over
OVER = frozenset({TaskState.ENDED, TaskState.CLEAR_FAILED, TaskState.CLEARED})
_log = tables.audit_log
_EVENTS = select(_log).where(_log.c.flow_id.in_(bindparam("flows", expanding=True))).order_by(_log.c.id)
#: which plan of a command is under way
_UNDER_WAY = {State.COMPENSATING: Role.UNDO, State.FINALIZING: Role.END}


@dataclass(frozen=True)
class Picture:
    """One flow. The events are in the order of the whole log, each with its number there."""

    job: JobRecord
    commands: Sequence[CommandRecord]
    tasks: Sequence[TaskRecord]
    steps: Sequence[StepRecord]
    locks: Sequence[LockRecord]
    leftovers: Sequence[LeftoverRecord]
    events: Sequence[tuple[int, EventRecord]]

    @cached_property
    def by_id(self) -> dict[UUID, CommandRecord]:
        """The commands by their ids."""
        return {command.id: command for command in self.commands}

    def parent_of(self, command: CommandRecord) -> CommandRecord | None:
        """The command that it is a part of; None also where that is not in this flow, which another check tells."""
        return None if command.parent_id is None else self.by_id.get(command.parent_id)

    @cached_property
    def children(self) -> dict[UUID, list[CommandRecord]]:
        """The children of each command that has some, in the order of their places."""
        found: dict[UUID, list[CommandRecord]] = {}
        for command in sorted(self.commands, key=lambda each: (each.position, each.id)):
            if command.parent_id is not None:
                found.setdefault(command.parent_id, []).append(command)
        return found

    @cached_property
    def tasks_of(self) -> dict[UUID, list[TaskRecord]]:
        """The tasks of each command that has some."""
        found: dict[UUID, list[TaskRecord]] = {}
        for task in self.tasks:
            found.setdefault(task.command_id, []).append(task)
        return found

    def children_of(self, command: CommandRecord, role: Role | None = None) -> list[CommandRecord]:
        """The children of a command; of one plan of it."""
        return [each for each in self.children.get(command.id, ()) if role in (None, each.role)]

    def tasks_for(self, command: CommandRecord, role: Role | None = None) -> list[TaskRecord]:
        """The tasks of a command; of one plan of it."""
        return [each for each in self.tasks_of.get(command.id, ()) if role in (None, each.role)]


def under_way(command: CommandRecord) -> Role:
    """Which plan of the command is under way, or was at last."""
    return _UNDER_WAY.get(command.state, Role.FORWARD)


def pictures(connection: Connection) -> Iterator[Picture]:
    """All flows of a database that have a job, the oldest first, read some at a time."""
    ids = list(connection.scalars(select(tables.job.c.id).order_by(tables.job.c.id)))
    for start in range(0, len(ids), BATCH):
        yield from of_flows(connection, ids[start : start + BATCH])


def of_flows(connection: Connection, ids: Sequence[UUID]) -> Iterator[Picture]:
    """Those flows."""
    events: dict[UUID, list[tuple[int, EventRecord]]] = {}
    for row in connection.execute(_EVENTS, {"flows": ids}).mappings():
        events.setdefault(row["flow_id"], []).append((row["id"], read(EventRecord, dict(row))))
    for rows in flows.load(connection, ids):
        yield Picture(
            rows.job, rows.commands, rows.tasks, rows.steps, rows.locks, rows.leftovers, events.get(rows.job.id, ())
        )
