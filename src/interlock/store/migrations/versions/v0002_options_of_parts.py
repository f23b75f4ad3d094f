"""Version 2: parts of plans have options, and attempts; locks are waited for, by priority; ends are forced."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import ColumnElement, TextClause
from sqlalchemy.types import TypeEngine

from interlock.store.types import Id, Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is stored already has no options, is in its first attempt and waits for nothing."""
    op.add_column("command_entities", sa.Column("options_json", Text()))
    op.add_column("command_entities", sa.Column("forced_by", Text()))
    _add("command_entities", "attempt", sa.BigInteger(), sa.text("1"))
    _add("command_entities", "superseded", sa.Boolean(), sa.false())
    _add("job", "priority", sa.BigInteger(), sa.text("0"))
    _create_lock_tickets()


def _add(table: str, column: str, kind: TypeEngine[Any], former: ColumnElement[Any] | TextClause) -> None:
    """A column with a value for the rows that are there; new ones must say theirs, where the dialect can ask that."""
    op.add_column(table, sa.Column(column, kind, nullable=False, server_default=former))
    if op.get_context().dialect.name != "sqlite":
        op.alter_column(table, column, server_default=None)


def _create_lock_tickets() -> None:
    op.create_table(
        "lock_tickets",
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("ref_type", Text(), nullable=False),
        sa.Column("ref_id", Id(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("mode", Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("deadline_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("mode = 'shared' OR mode = 'exclusive'", name="lock_tickets_mode"),
        sa.ForeignKeyConstraint(["command_id"], ["command_entities.id"]),
        sa.ForeignKeyConstraint(["flow_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("command_id", "ref_type", "ref_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("lock_tickets_by_flow", "lock_tickets", ["flow_id"], unique=False)
    op.create_index("lock_tickets_by_ref", "lock_tickets", ["ref_type", "ref_id"], unique=False)
