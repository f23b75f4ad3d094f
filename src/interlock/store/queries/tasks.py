"""Async tasks: who works on a ref."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, select

from interlock.model.refs import Ref
from interlock.store import tables
from interlock.store.queries.by_ref import as_id, rows_by_ref

_refs, _tasks, _job = tables.async_task_entities, tables.async_tasks, tables.job
_UNFINISHED = (
    select(_refs.c.entity_type, _refs.c.entity_id, _tasks.c.flow_id, _tasks.c.method, _job.c.title)
    .join(_tasks, _tasks.c.id == _refs.c.task_id)
    .join(_job, _job.c.id == _tasks.c.flow_id)
    .where(_tasks.c.outcome.is_(None), _tasks.c.wait_json.is_(None))
    .order_by(_refs.c.entity_type, _refs.c.entity_id, _refs.c.task_id)
)


@dataclass(frozen=True, slots=True)
class TaskOnRef:
    """An unfinished task that touches a ref, with what names its job to a person."""

    ref: Ref[Any]
    flow_id: UUID
    method: str
    job_title: str


def unfinished_on(connection: Connection, refs: Iterable[Ref[Any]]) -> list[TaskOnRef]:
    """All tasks on those refs that have not ended, the oldest first within a ref; waits do no work."""
    named = (_refs.c.entity_type, _refs.c.entity_id)
    return [
        TaskOnRef(Ref(kind, as_id(id)), as_id(flow_id), method, title)
        for kind, id, flow_id, method, title in rows_by_ref(connection, _UNFINISHED, named, refs)
    ]


def starts_on(connection: Connection, host: Ref[Any], after: int) -> list[int]:
    """When tasks of a host were started there, after a time."""
    on_host = and_(_tasks.c.host_type == host.type, _tasks.c.host_id == host.id)
    return list(connection.scalars(select(_tasks.c.sent_at).where(on_host, _tasks.c.sent_at > after)))
