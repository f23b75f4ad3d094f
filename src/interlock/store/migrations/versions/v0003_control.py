"""Version 3: what people do to jobs: cancel, pause, decide, start again; and a record of it."""

import sqlalchemy as sa
from alembic import op

from interlock.store.migrations.v0003 import actions, limiting, schedules, searching
from interlock.store.types import Id, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody has done anything to what is stored already."""
    _change_jobs()
    for column in ("stopped_by", "asking", "skipped_by"):
        op.add_column("command_entities", sa.Column(column, Text()))
    op.add_column("async_tasks", sa.Column("stopped_by", Text()))
    actions.create()
    schedules.create()
    limiting.create_formers()
    limiting.create_limits()
    limiting.create_uses()
    limiting.create_tickets()
    searching.create_indexes()
    searching.create_former_entities()


def _change_jobs() -> None:
    op.add_column("job", sa.Column("paused_by", Text()))
    op.add_column("job", sa.Column("restart_of", Id()))
    op.add_column("job", sa.Column("schedule_id", Id()))
    op.add_column("job", sa.Column("change_no", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    if op.get_context().dialect.name != "sqlite":
        op.alter_column("job", "change_no", server_default=None)
    op.create_index("job_by_change", "job", ["change_no"], unique=False)
    for name, columns in (("job_by_origin", ["restart_of"]), ("job_by_schedule", ["schedule_id", "started_at"])):
        where = sa.text(f"{columns[0]} IS NOT NULL")
        op.create_index(name, "job", columns, unique=False, sqlite_where=where, postgresql_where=where)
