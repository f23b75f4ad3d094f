"""Actions of people, and the note of the last one."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id, Text


def create() -> None:
    """An empty chain; what was done before it began is not asked for."""
    op.create_table(
        "actions",
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("id", Id(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", Text(), nullable=False),
        sa.Column("what", Text(), nullable=False),
        sa.Column("subject_type", Text(), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("correlation_id", Text(), nullable=True),
        sa.Column("reason", Text(), nullable=True),
        sa.Column("before_json", Text(), nullable=True),
        sa.Column("after_json", Text(), nullable=True),
        sa.Column("digest", Text(), nullable=False),
        sa.UniqueConstraint("id"),
    )
    op.create_index("actions_by_subject", "actions", ["subject_type", "subject_id", "number"], unique=False)
    op.create_index("actions_by_person", "actions", ["by", "number"], unique=False)
    op.create_table(
        "actions_head",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="actions_head_alone"),
    )
    op.execute(
        f"INSERT INTO actions_head (id, number, digest, since) SELECT 1, 0, '{'0' * 64}', max(updated_at) "
        "FROM job HAVING count(*) > 0"
    )
