"""Indexes for the search language, and the names of entities that are gone."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id, Text

_SELDOM = "status = 'FAILED' OR status = 'ABORTED' OR status = 'UNKNOWN'"
_SELDOM_RESULT = "result = 'FAILED' OR result = 'CANCELLED'"
_SELDOM_KIND = "kind <> 'job_accepted' AND kind <> 'job_ended' AND kind <> 'step_started' AND kind <> 'step_ended'"

_INDEXES: tuple[tuple[str, str, list[str], str | None], ...] = (
    ("job_by_start", "job", ["started_at", "id"], None),
    ("job_by_end", "job", ["ended_at", "id"], "ended_at IS NOT NULL"),
    ("job_by_status", "job", ["status", "started_at", "id"], _SELDOM),
    ("job_by_user", "job", ["user", "started_at", "id"], None),
    ("job_by_action", "job", ["action", "started_at", "id"], None),
    ("job_by_correlation", "job", ["correlation_id", "started_at", "id"], None),
    ("job_by_title", "job", ["title"], None),
    ("command_entities_by_result", "command_entities", ["result", "created_at", "id"], _SELDOM_RESULT),
    ("async_tasks_by_host", "async_tasks", ["host_type", "host_id", "flow_id"], "host_id IS NOT NULL"),
    ("step_by_status", "step", ["status", "started_at", "id"], _SELDOM),
    ("audit_log_by_time", "audit_log", ["at", "id"], None),
    ("audit_log_by_kind", "audit_log", ["kind", "at", "id"], _SELDOM_KIND),
    ("audit_log_by_severity", "audit_log", ["severity", "at", "id"], "severity <> 'info'"),
)


def create_indexes() -> None:
    """The order of starts is made whole by the id; the rest is new."""
    op.drop_index("job_by_start", "job")
    for name, table, columns, condition in _INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)


def create_former_entities() -> None:
    """Nobody knows the names of what went before."""
    op.create_table(
        "former_entities",
        sa.Column("type", Text(), nullable=False),
        sa.Column("id", Id(), nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.PrimaryKeyConstraint("type", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("former_entities_by_name", "former_entities", ["type", "name"], unique=False)
