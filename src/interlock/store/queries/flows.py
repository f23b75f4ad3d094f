"""Flows: what an owner loads to go on with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, or_, select

from interlock.model.limits import LimitTicketRecord, LimitUseRecord
from interlock.model.records import (
    CommandRecord,
    FormerRecord,
    JobRecord,
    LeftoverRecord,
    LockRecord,
    SnapshotRecord,
    StepRecord,
    TaskRecord,
    TicketRecord,
)
from interlock.store import tables
from interlock.store.queries.rows import records, with_refs

R = TypeVar("R")

_job, _tasks = tables.job, tables.async_tasks
_UNFINISHED = select(_job.c.id).where(_job.c.ended_at.is_(None)).order_by(_job.c.started_at, _job.c.id)
_UNCLEARED = (
    select(_tasks)
    .join(_job, _job.c.id == _tasks.c.flow_id)
    .where(
        _tasks.c.state.in_(["Ended", "ClearFailed"]),
        _tasks.c.host_id.is_not(None),
        or_(_tasks.c.state == "ClearFailed", _job.c.ended_at.is_not(None)),
    )
    .order_by(_tasks.c.ended_at, _tasks.c.id)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class FlowRows:
    """All rows of one flow, parents before children, each kind in the order in which it was planned."""

    job: JobRecord
    commands: tuple[CommandRecord, ...]
    tasks: tuple[TaskRecord, ...]
    steps: tuple[StepRecord, ...]
    locks: tuple[LockRecord, ...]
    tickets: tuple[TicketRecord, ...]
    snapshots: tuple[SnapshotRecord, ...]
    leftovers: tuple[LeftoverRecord, ...]
    formers: tuple[FormerRecord, ...]
    uses: tuple[LimitUseRecord, ...]
    limit_tickets: tuple[LimitTicketRecord, ...]


def unfinished(connection: Connection) -> list[UUID]:
    """The flows that have not ended, the oldest first."""
    return list(connection.scalars(_UNFINISHED))


def load(connection: Connection, flow_ids: Sequence[UUID]) -> list[FlowRows]:
    """The rows of those flows, in the order of the ids; an id without a job is left out."""
    jobs = {job.id: job for job in records(connection, JobRecord, _job.c.id, flow_ids)}
    commands, step = tables.command_entities, tables.step
    taken, kept = tables.entity_locks, tables.business_entity_snapshot
    lefts, asked = tables.leftovers, tables.lock_tickets

    def by_flow(record: type[R], column: Any, *order: ColumnElement[Any]) -> dict[UUID, list[R]]:
        grouped: dict[UUID, list[R]] = {}
        for each in records(connection, record, column, flow_ids, *order):
            grouped.setdefault(getattr(each, column.name), []).append(each)
        return grouped

    all_commands = by_flow(CommandRecord, commands.c.flow_id, commands.c.depth, commands.c.position, commands.c.id)
    all_tasks = by_flow(TaskRecord, _tasks.c.flow_id, _tasks.c.position, _tasks.c.id)
    all_steps = by_flow(StepRecord, step.c.job_id, step.c.position, step.c.id)
    all_locks = by_flow(LockRecord, taken.c.flow_id, taken.c.ref_type, taken.c.ref_id)
    all_tickets = by_flow(TicketRecord, asked.c.flow_id, asked.c.command_id, asked.c.ref_type, asked.c.ref_id)
    all_snapshots = by_flow(SnapshotRecord, kept.c.flow_id, kept.c.command_id, kept.c.position)
    all_leftovers = by_flow(LeftoverRecord, lefts.c.flow_id, lefts.c.created_at, lefts.c.id)
    before, used, held_back = tables.job_formers, tables.limit_uses, tables.limit_tickets
    all_formers = by_flow(FormerRecord, before.c.flow_id, before.c.former_id)
    all_uses = by_flow(LimitUseRecord, used.c.flow_id, used.c.command_id, used.c.key)
    all_limit_tickets = by_flow(LimitTicketRecord, held_back.c.flow_id, held_back.c.command_id, held_back.c.key)
    return [
        FlowRows(
            jobs[id],
            tuple(all_commands.get(id, ())),
            tuple(all_tasks.get(id, ())),
            tuple(all_steps.get(id, ())),
            tuple(all_locks.get(id, ())),
            tuple(all_tickets.get(id, ())),
            tuple(all_snapshots.get(id, ())),
            tuple(all_leftovers.get(id, ())),
            tuple(all_formers.get(id, ())),
            tuple(all_uses.get(id, ())),
            tuple(all_limit_tickets.get(id, ())),
        )
        for id in dict.fromkeys(flow_ids)
        if id in jobs
    ]


def uncleared(connection: Connection, limit: int) -> list[TaskRecord]:
    """Tasks that a host may still remember, the longest ended first: those of ended flows that have ended,
    and all whose clearing failed."""
    return with_refs(connection, TaskRecord, _UNCLEARED, {"most": limit})
