"""Version 3: jobs that come after others; limits, what counts against them, and who waits for room."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id, Text


def create_formers() -> None:
    op.create_table(
        "job_formers",
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("former_id", Id(), nullable=False),
        sa.Column("policy", Text(), nullable=False),
        sa.Column("result", Text(), nullable=True),
        sa.CheckConstraint("policy = 'succeeded' OR policy = 'ended' OR policy = 'failed'", name="job_formers_policy"),
        sa.CheckConstraint(
            "result = 'SUCCEEDED' OR result = 'FAILED' OR result = 'CANCELLED'", name="job_formers_result"
        ),
        sa.CheckConstraint("flow_id <> former_id", name="job_formers_order"),
        sa.ForeignKeyConstraint(["flow_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("flow_id", "former_id"),
        sqlite_with_rowid=False,
    )
    where = sa.text("result IS NULL")
    op.create_index(
        "job_formers_awaited", "job_formers", ["former_id"], unique=False, sqlite_where=where, postgresql_where=where
    )


def create_limits() -> None:
    op.create_table(
        "limits",
        sa.Column("key", Text(), nullable=False),
        sa.Column("at_most", sa.BigInteger(), nullable=True),
        sa.Column("starts_max", sa.BigInteger(), nullable=True),
        sa.Column("window_us", sa.BigInteger(), nullable=True),
        sa.Column("set_by", Text(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("at_most IS NOT NULL OR starts_max IS NOT NULL", name="limits_something"),
        sa.CheckConstraint(
            "(at_most IS NULL OR at_most >= 0) AND (starts_max IS NULL OR starts_max >= 1)", name="limits_counters"
        ),
        sa.CheckConstraint("(starts_max IS NULL) = (window_us IS NULL)", name="limits_window"),
        sa.PrimaryKeyConstraint("key"),
    )


def create_uses() -> None:
    op.create_table(
        "limit_uses",
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("key", Text(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("command_id", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("limit_uses_by_key", "limit_uses", ["key", "taken_at"], unique=False)
    op.create_index("limit_uses_by_flow", "limit_uses", ["flow_id"], unique=False)


def create_tickets() -> None:
    op.create_table(
        "limit_tickets",
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("key", Text(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("look_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["flow_id"], ["job.id"]),
        sa.ForeignKeyConstraint(["command_id"], ["command_entities.id"]),
        sa.PrimaryKeyConstraint("command_id", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("limit_tickets_by_key", "limit_tickets", ["key", "rank"], unique=False)
    op.create_index("limit_tickets_by_flow", "limit_tickets", ["flow_id"], unique=False)
