"""Version 2: parts of plans have options, and attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is stored already has no options and is in its first attempt."""
    op.add_column("command_entities", sa.Column("options_json", sa.Text()))
    op.add_column("command_entities", sa.Column("attempt", sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("command_entities", sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.false()))
