"""Version 2: parts of plans have options, and attempts; locks are waited for, by priority; ends are forced."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is stored already has no options, is in its first attempt and waits for nothing."""
    op.add_column("command_entities", sa.Column("options_json", sa.Text()))
    op.add_column("command_entities", sa.Column("attempt", sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("command_entities", sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("command_entities", sa.Column("forced_by", sa.Text()))
    op.add_column("job", sa.Column("priority", sa.BigInteger(), nullable=False, server_default="0"))
    _create_lock_tickets()


def _create_lock_tickets() -> None:
    op.create_table(
        "lock_tickets",
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("ref_type", sa.Text(), nullable=False),
        sa.Column("ref_id", Id(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
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
