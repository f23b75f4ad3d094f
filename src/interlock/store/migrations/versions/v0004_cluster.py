"""Version 4: which cluster the database is of, and its generation, which restoring a backup raises."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The next engine writes the one row."""
    op.create_table(
        "cluster",
        sa.Column("alone", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("id", Id(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("alone = 1 AND generation >= 1", name="cluster_alone"),
    )
