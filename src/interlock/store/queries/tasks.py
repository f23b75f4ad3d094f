"""Async tasks: who works on a ref."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, or_, select

from interlock.model.refs import Ref
from interlock.store import tables
from interlock.store.queries.by_ref import as_id, rows_by_ref
from interlock.store.queries.rows import pieces

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
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


def jobs_of(connection: Connection, host: Ref[Any], host_task_ids: Iterable[str]) -> dict[str, UUID]:
    """The jobs of those of a host's tasks that this database knows, by the host's ids."""
    on_host = and_(_tasks.c.host_type == host.type, _tasks.c.host_id == host.id)
    query = select(_tasks.c.id, _tasks.c.host_task_id, _tasks.c.flow_id).where(on_host)
    known: dict[str, UUID] = {}
    for some in pieces(host_task_ids):
        ours = [UUID(id) for id in some if _UUID.fullmatch(id)]
        for row in connection.execute(query.where(or_(_tasks.c.host_task_id.in_(some), _tasks.c.id.in_(ours)))):
            known |= {str(row.id): row.flow_id, row.host_task_id or str(row.id): row.flow_id}
    return known


def starts_on(connection: Connection, host: Ref[Any], after: int) -> list[int]:
    """When tasks of a host were started there, after a time."""
    on_host = and_(_tasks.c.host_type == host.type, _tasks.c.host_id == host.id)
    return list(connection.scalars(select(_tasks.c.sent_at).where(on_host, _tasks.c.sent_at > after)))
