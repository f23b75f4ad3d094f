"""Version 1: jobs, steps and events, as people see them."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id, Text


def create_job() -> None:
    op.create_table(
        "job",
        sa.Column("id", Id(), nullable=False),
        sa.Column("action", Text(), nullable=False),
        sa.Column("title", Text(), nullable=False),
        sa.Column("status", Text(), nullable=False),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("user", Text(), nullable=False),
        sa.Column("parameters_json", Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("result", Text(), nullable=True),
        sa.Column("progress", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", Text(), nullable=True),
        sa.Column("digest", Text(), nullable=True),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("claims", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("attention", Text(), nullable=True),
        sa.Column("visible", sa.Boolean(), nullable=False),
        sa.CheckConstraint("ended_at IS NULL OR (status <> 'PENDING' AND status <> 'STARTED')", name="job_shown"),
        sa.CheckConstraint("result = 'SUCCEEDED' OR result = 'FAILED' OR result = 'CANCELLED'", name="job_result"),
        sa.CheckConstraint(
            "status = 'PENDING' OR status = 'STARTED' OR status = 'FINISHED' OR status = 'FAILED' OR status = 'ABORTED' OR status = 'NOT_STARTED' OR status = 'UNKNOWN'",
            name="job_status",
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (result IS NULL)", name="job_ended"),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name="job_progress"),
        sa.CheckConstraint("term >= 1 AND claims >= 0 AND events >= 0", name="job_counters"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("idempotency_key"),
    )
    op.create_index("job_by_start", "job", ["started_at"], unique=False)
    op.create_index(
        "job_unfinished",
        "job",
        ["started_at", "id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def create_job_subject_entity() -> None:
    op.create_table(
        "job_subject_entity",
        sa.Column("job_id", Id(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("entity_type", Text(), nullable=False),
        sa.Column("entity_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("job_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "job_subject_entity_by_entity",
        "job_subject_entity",
        ["entity_type", "entity_id", "job_id"],
        unique=False,
    )


def create_step() -> None:
    op.create_table(
        "step",
        sa.Column("id", Id(), nullable=False),
        sa.Column("job_id", Id(), nullable=False),
        sa.Column("parent_step_id", Id(), nullable=True),
        sa.Column("name", Text(), nullable=False),
        sa.Column("title", Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("status", Text(), nullable=False),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("weight", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("external_system", Text(), nullable=True),
        sa.Column("external_id", Text(), nullable=True),
        sa.CheckConstraint("ended_at IS NULL OR (status <> 'PENDING' AND status <> 'STARTED')", name="step_shown"),
        sa.CheckConstraint(
            "status = 'PENDING' OR status = 'STARTED' OR status = 'FINISHED' OR status = 'FAILED' OR status = 'ABORTED' OR status = 'NOT_STARTED' OR status = 'UNKNOWN'",
            name="step_status",
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name="step_progress"),
        sa.CheckConstraint("weight >= 1", name="step_weight_positive"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["parent_step_id"],
            ["step.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("step_by_job", "step", ["job_id"], unique=False)
    op.create_index("step_by_parent", "step", ["parent_step_id"], unique=False)


def create_step_subject_entity() -> None:
    op.create_table(
        "step_subject_entity",
        sa.Column("step_id", Id(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("entity_type", Text(), nullable=False),
        sa.Column("entity_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(
            ["step_id"],
            ["step.id"],
        ),
        sa.PrimaryKeyConstraint("step_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "step_subject_entity_by_entity",
        "step_subject_entity",
        ["entity_type", "entity_id", "step_id"],
        unique=False,
    )


def create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("severity", Text(), nullable=False),
        sa.Column("kind", Text(), nullable=False),
        sa.Column("message", Text(), nullable=False),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("user", Text(), nullable=True),
        sa.Column("command_id", Id(), nullable=True),
        sa.Column("task_id", Id(), nullable=True),
        sa.CheckConstraint(
            "severity = 'info' OR severity = 'warning' OR severity = 'error'", name="audit_log_severity"
        ),
        sa.CheckConstraint("seq >= 1", name="audit_log_counted"),
        sa.ForeignKeyConstraint(
            ["flow_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("flow_id", "seq"),
        sqlite_autoincrement=True,
    )
