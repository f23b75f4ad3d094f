"""Schedules."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id, Text


def create() -> None:
    """None."""
    op.create_table(
        "schedules",
        sa.Column("id", Id(), nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("command", Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("parameters_json", Text(), nullable=False),
        sa.Column("shown_json", Text(), nullable=False),
        sa.Column("user", Text(), nullable=False),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("cron", Text(), nullable=True),
        sa.Column("zone", Text(), nullable=False),
        sa.Column("missed", Text(), nullable=False),
        sa.Column("late_s_max", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("last_job_id", Id(), nullable=True),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.Column("skipped_at", sa.BigInteger(), nullable=True),
        sa.Column("skipped_reason", Text(), nullable=True),
        sa.Column("paused_by", Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.CheckConstraint("missed = 'run' OR missed = 'skip'", name="schedules_missed"),
        sa.CheckConstraint("runs >= 0 AND skipped >= 0 AND late_s_max >= 0", name="schedules_counters"),
    )
    where = sa.text("next_at IS NOT NULL")
    op.create_index(
        "schedules_by_time", "schedules", ["next_at"], unique=False, sqlite_where=where, postgresql_where=where
    )
