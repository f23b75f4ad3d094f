"""Jobs in lists: newest first, read page by page."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, select, union

from interlock.model.records import JobRecord
from interlock.model.refs import Ref
from interlock.model.states import StepStatus
from interlock.store.tables import (
    async_task_entities,
    async_tasks,
    command_assoc_entities,
    command_entities,
    job,
    job_subject_entity,
)
from interlock.views.loading import CHUNK, records
from interlock.views.words import Json, moment, refs, text

#: jobs on one page
PAGE_MAX = 200


def page(
    connection: Connection,
    *,
    limit: int = 50,
    before: UUID | None = None,
    status: StepStatus | None = None,
) -> Json:
    """`{"jobs": […], "next": id}`: the visible jobs, newest first; `next` is the `before` of the next page.
    Those that need a person stand before all others on the first page, and nowhere else.

    ValueError where `limit` is not 1 to PAGE_MAX.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"limit {limit}; it must be 1 to {PAGE_MAX}")
    where: list[ColumnElement[bool]] = [job.c.visible]
    if status is not None:
        where.append(job.c.status == status)
    urgent = [job.c.attention.is_not(None), job.c.ended_at.is_(None)]
    first = (
        records(connection, JobRecord, *where, *urgent, order_by=[job.c.id.desc()], limit=PAGE_MAX)
        if before is None
        else []
    )
    where.append(~and_(*urgent))
    if before is not None:
        where.append(job.c.id < before)
    found = records(connection, JobRecord, *where, order_by=[job.c.id.desc()], limit=limit + 1)
    shown = found[:limit]
    return {
        "jobs": summaries(connection, first + shown),
        "next": str(shown[-1].id) if len(found) > limit else None,
    }


def touching(connection: Connection, ref: Ref[Any], *, limit: int = 50) -> list[Json]:
    """The newest jobs that name the entity: themselves, in a command or in a task."""

    def names(table: Any) -> ColumnElement[bool]:
        found: ColumnElement[bool] = (table.c.entity_type == ref.type) & (table.c.entity_id == ref.id)
        return found

    ids = union(
        select(job_subject_entity.c.job_id).where(names(job_subject_entity)),
        select(command_entities.c.flow_id)
        .join(command_assoc_entities, command_assoc_entities.c.command_id == command_entities.c.id)
        .where(names(command_assoc_entities)),
        select(async_tasks.c.flow_id)
        .join(async_task_entities, async_task_entities.c.task_id == async_tasks.c.id)
        .where(names(async_task_entities)),
    ).subquery()
    found = records(
        connection,
        JobRecord,
        job.c.visible,
        job.c.id.in_(select(ids.c[0])),
        order_by=[job.c.id.desc()],
        limit=limit,
    )
    return summaries(connection, found)


def summaries(connection: Connection, found: Sequence[JobRecord]) -> list[Json]:
    """One object a job, with what its flow command says of leftovers and warnings."""
    remains: dict[UUID, tuple[bool, bool]] = {}
    root = command_entities.c
    for start in range(0, len(found), CHUNK):
        ids = [each.id for each in found[start : start + CHUNK]]
        query = select(root.id, root.has_leftovers, root.has_warnings).where(root.id.in_(ids))
        remains |= {id: (leftovers, warnings) for id, leftovers, warnings in connection.execute(query)}
    return [_summary(each, *remains.get(each.id, (False, False))) for each in found]


def _summary(record: JobRecord, has_leftovers: bool, has_warnings: bool) -> Json:
    return {
        "id": str(record.id),
        "action": record.action,
        "title": record.title,
        "status": record.status,
        "result": record.result,
        "progress": record.progress,
        "correlation_id": record.correlation_id,
        "user": record.user,
        "refs": refs(record.refs),
        "started_at": moment(record.started_at),
        "updated_at": moment(record.updated_at),
        "ended_at": moment(record.ended_at),
        "attention": record.attention,
        "priority": record.priority,
        "paused_by": record.paused_by,
        "visible": record.visible,
        "restart_of": text(record.restart_of),
        "has_leftovers": has_leftovers,
        "has_warnings": has_warnings,
    }
