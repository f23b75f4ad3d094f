"""Version 1: the first tables."""

import sqlalchemy as sa
from alembic import op

from interlock.store.migrations.v0001 import flows, ownership, shown
from interlock.store.migrations.v0001.triggers import POSTGRESQL_TRIGGERS, SQLITE_TRIGGERS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Everything, in an order that satisfies foreign keys."""
    ownership.create_engines()
    shown.create_job()
    shown.create_job_subject_entity()
    shown.create_step()
    shown.create_step_subject_entity()
    shown.create_audit_log()
    flows.create_command_entities()
    flows.create_command_assoc_entities()
    flows.create_async_tasks()
    flows.create_async_task_entities()
    flows.create_leftovers()
    flows.create_entity_locks()
    flows.create_business_entity_snapshot()
    ownership.create_entities()
    ownership.create_entity_refs()
    is_sqlite = op.get_context().dialect.name == "sqlite"
    for statement in SQLITE_TRIGGERS if is_sqlite else POSTGRESQL_TRIGGERS:
        op.execute(sa.text(statement))
