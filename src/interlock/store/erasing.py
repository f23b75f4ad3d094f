"""Everything that belongs to a job, in one list: read to be archived, and erased in an order that foreign keys allow.

Actions of people belong to no job: they are never erased.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Column, ColumnElement, Connection, Delete, Table, bindparam, delete, select

from interlock.store import tables


class _Part:
    """Rows of a table, found by an id that the job is, or by the ids of rows that belong to it."""

    def __init__(self, table: Table, column: str, through: tuple[Table, str] | None = None) -> None:
        self.table = table
        self.column: Column[Any] = table.c[column]
        self.through = through

    @cached_property
    def of_jobs(self) -> ColumnElement[bool]:
        """Whether a row belongs to one of `jobs`."""
        jobs: BindParameter[Any] = bindparam("jobs", expanding=True)
        if self.through is None:
            return self.column.in_(jobs)
        table, owner = self.through
        return self.column.in_(select(table.c.id).where(table.c[owner].in_(jobs)))

    @cached_property
    def erasing(self) -> Delete:
        """The statement that deletes them."""
        return delete(self.table).where(self.of_jobs)


#: what refers comes before what it refers to
PARTS: tuple[_Part, ...] = (
    _Part(tables.signals, "job_id"),
    _Part(tables.audit_log, "flow_id"),
    _Part(tables.business_entity_snapshot, "flow_id"),
    _Part(tables.lock_tickets, "flow_id"),
    _Part(tables.limit_tickets, "flow_id"),
    _Part(tables.job_formers, "flow_id"),
    _Part(tables.entity_locks, "flow_id"),
    _Part(tables.leftovers, "flow_id"),
    _Part(tables.step_subject_entity, "step_id", (tables.step, "job_id")),
    _Part(tables.step, "job_id"),
    _Part(tables.async_task_entities, "task_id", (tables.async_tasks, "flow_id")),
    _Part(tables.async_tasks, "flow_id"),
    _Part(tables.command_assoc_entities, "command_id", (tables.command_entities, "flow_id")),
    _Part(tables.command_entities, "flow_id"),
    _Part(tables.job_subject_entity, "job_id"),
    _Part(tables.job, "id"),
)


def erase(connection: Connection, jobs: Sequence[UUID]) -> None:
    """Deletes all that belongs to those jobs, each table in one statement."""
    for part in PARTS:
        connection.execute(part.erasing, {"jobs": jobs})


def everything_of(connection: Connection, job: UUID) -> dict[str, list[dict[str, Any]]]:
    """All rows that belong to a job, by table, as the columns have them; tables without any are left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    for part in reversed(PARTS):
        rows = connection.execute(select(part.table).where(part.of_jobs), {"jobs": [job]}).mappings().all()
        if rows:
            found[part.table.name] = [dict(row) for row in rows]
    return found


def erase_signals(connection: Connection, numbers: Sequence[int]) -> None:
    """Deletes signals that were addressed to nobody."""
    connection.execute(delete(tables.signals).where(tables.signals.c.number.in_(numbers)))
