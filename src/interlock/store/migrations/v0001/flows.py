"""Version 1: commands, async tasks and what they hold."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id, Text


def create_command_entities() -> None:
    op.create_table(
        "command_entities",
        sa.Column("id", Id(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("parent_id", Id(), nullable=True),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("name", Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("parameters_json", Text(), nullable=False),
        sa.Column("title", Text(), nullable=False),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("role", Text(), nullable=False),
        sa.Column("key", Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("after", Text(), nullable=False),
        sa.Column("step", Text(), nullable=True),
        sa.Column("weight", sa.BigInteger(), nullable=False),
        sa.Column("best_effort", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("undoes", Id(), nullable=True),
        sa.Column("state", Text(), nullable=False),
        sa.Column("result", Text(), nullable=True),
        sa.Column("open", sa.BigInteger(), nullable=False),
        sa.Column("ended_seq", sa.BigInteger(), nullable=True),
        sa.Column("undo", Text(), nullable=True),
        sa.Column("failure_json", Text(), nullable=True),
        sa.Column("value_json", Text(), nullable=True),
        sa.Column("phase", Text(), nullable=True),
        sa.Column("phase_ran", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("attention", Text(), nullable=True),
        sa.Column("has_leftovers", sa.Boolean(), nullable=False),
        sa.Column("has_warnings", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(ended_at IS NOT NULL) = (state = 'ENDED')", name="command_entities_has_end"),
        sa.CheckConstraint("(result IS NOT NULL) = (state = 'ENDED')", name="command_entities_has_result"),
        sa.CheckConstraint(
            "phase = 'validate' OR phase = 'execute' OR phase = 'end_successfully' OR phase = 'end_with_failure' OR phase = 'compensate'",
            name="command_entities_phase",
        ),
        sa.CheckConstraint(
            "result = 'SUCCEEDED' OR result = 'FAILED' OR result = 'CANCELLED'", name="command_entities_result"
        ),
        sa.CheckConstraint("role = 'forward' OR role = 'undo' OR role = 'end'", name="command_entities_role"),
        sa.CheckConstraint(
            "state = 'PENDING' OR state = 'VALIDATING' OR state = 'EXECUTING' OR state = 'COMPENSATING' OR state = 'FINALIZING' OR state = 'ENDED'",
            name="command_entities_state",
        ),
        sa.CheckConstraint("undo = 'underway' OR undo = 'done' OR undo = 'failed'", name="command_entities_undo"),
        sa.CheckConstraint(
            "undo IS NULL OR (result IS NOT NULL AND result = 'SUCCEEDED')", name="command_entities_undone"
        ),
        sa.CheckConstraint("(parent_id IS NULL) = (id = flow_id)", name="command_entities_root"),
        sa.CheckConstraint(
            "open >= 0 AND attempts >= 0 AND depth >= 0 AND position >= 0", name="command_entities_counters"
        ),
        sa.CheckConstraint("weight >= 1", name="command_entities_weight_positive"),
        sa.ForeignKeyConstraint(
            ["flow_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["command_entities.id"],
        ),
        sa.ForeignKeyConstraint(
            ["undoes"],
            ["command_entities.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("command_entities_by_flow", "command_entities", ["flow_id"], unique=False)
    op.create_index("command_entities_by_parent", "command_entities", ["parent_id"], unique=False)
    op.create_index(
        "command_entities_by_undone",
        "command_entities",
        ["undoes"],
        unique=False,
        sqlite_where=sa.text("undoes IS NOT NULL"),
        postgresql_where=sa.text("undoes IS NOT NULL"),
    )
    op.create_index(
        "command_entities_unfinished",
        "command_entities",
        ["flow_id"],
        unique=False,
        sqlite_where=sa.text("state <> 'ENDED'"),
        postgresql_where=sa.text("state <> 'ENDED'"),
    )


def create_command_assoc_entities() -> None:
    op.create_table(
        "command_assoc_entities",
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("entity_type", Text(), nullable=False),
        sa.Column("entity_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(
            ["command_id"],
            ["command_entities.id"],
        ),
        sa.PrimaryKeyConstraint("command_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "command_assoc_entities_by_entity",
        "command_assoc_entities",
        ["entity_type", "entity_id", "command_id"],
        unique=False,
    )


def create_async_tasks() -> None:
    op.create_table(
        "async_tasks",
        sa.Column("id", Id(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("role", Text(), nullable=False),
        sa.Column("undoes", Id(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("host_type", Text(), nullable=True),
        sa.Column("host_id", Id(), nullable=True),
        sa.Column("method", Text(), nullable=False),
        sa.Column("arguments_json", Text(), nullable=False),
        sa.Column("is_async", sa.Boolean(), nullable=False),
        sa.Column("is_mutating", sa.Boolean(), nullable=False),
        sa.Column("step", Text(), nullable=True),
        sa.Column("weight", sa.BigInteger(), nullable=False),
        sa.Column("best_effort", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", Text(), nullable=False),
        sa.Column("outcome", Text(), nullable=True),
        sa.Column("incarnation", Text(), nullable=True),
        sa.Column("host_task_id", Text(), nullable=True),
        sa.Column("host_state", Text(), nullable=True),
        sa.Column("host_result", Text(), nullable=True),
        sa.Column("code", sa.BigInteger(), nullable=True),
        sa.Column("message", Text(), nullable=True),
        sa.Column("answer_json", Text(), nullable=True),
        sa.Column("progress", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (state = 'Ended' OR state = 'ClearFailed' OR state = 'Cleared')",
            name="async_tasks_has_end",
        ),
        sa.CheckConstraint(
            "(outcome IS NOT NULL) = (state = 'Ended' OR state = 'ClearFailed' OR state = 'Cleared')",
            name="async_tasks_has_outcome",
        ),
        sa.CheckConstraint(
            "outcome = 'SUCCEEDED' OR outcome = 'FAILED' OR outcome = 'REFUSED' OR outcome = 'LOST' OR outcome = 'UNKNOWN'",
            name="async_tasks_outcome",
        ),
        sa.CheckConstraint("role = 'forward' OR role = 'undo' OR role = 'end'", name="async_tasks_role"),
        sa.CheckConstraint(
            "state = 'Initializing' OR state = 'Polling' OR state = 'Ended' OR state = 'ClearFailed' OR state = 'Cleared'",
            name="async_tasks_state",
        ),
        sa.CheckConstraint("(host_type IS NULL) = (host_id IS NULL)", name="async_tasks_host"),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name="async_tasks_progress"),
        sa.CheckConstraint("weight >= 1", name="async_tasks_weight_positive"),
        sa.ForeignKeyConstraint(
            ["command_id"],
            ["command_entities.id"],
        ),
        sa.ForeignKeyConstraint(
            ["flow_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["undoes"],
            ["command_entities.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("async_tasks_by_command", "async_tasks", ["command_id"], unique=False)
    op.create_index("async_tasks_by_flow", "async_tasks", ["flow_id"], unique=False)
    op.create_index(
        "async_tasks_by_undone",
        "async_tasks",
        ["undoes"],
        unique=False,
        sqlite_where=sa.text("undoes IS NOT NULL"),
        postgresql_where=sa.text("undoes IS NOT NULL"),
    )
    op.create_index(
        "async_tasks_uncleared",
        "async_tasks",
        ["state"],
        unique=False,
        sqlite_where=sa.text("state IN ('Ended', 'ClearFailed')"),
        postgresql_where=sa.text("state IN ('Ended', 'ClearFailed')"),
    )


def create_async_task_entities() -> None:
    op.create_table(
        "async_task_entities",
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("entity_type", Text(), nullable=False),
        sa.Column("entity_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["async_tasks.id"],
        ),
        sa.PrimaryKeyConstraint("task_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "async_task_entities_by_entity",
        "async_task_entities",
        ["entity_type", "entity_id", "task_id"],
        unique=False,
    )


def create_leftovers() -> None:
    op.create_table(
        "leftovers",
        sa.Column("id", Id(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("task_id", Id(), nullable=True),
        sa.Column("correlation_id", Text(), nullable=False),
        sa.Column("host", Text(), nullable=True),
        sa.Column("refs", Text(), nullable=False),
        sa.Column("reason", Text(), nullable=False),
        sa.Column("remedy", Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.Column("cleared_by", Text(), nullable=True),
        sa.Column("cleared_reason", Text(), nullable=True),
        sa.CheckConstraint(
            "cleared_at IS NOT NULL OR (cleared_by IS NULL AND cleared_reason IS NULL)",
            name="leftovers_cleared",
        ),
        sa.ForeignKeyConstraint(
            ["command_id"],
            ["command_entities.id"],
        ),
        sa.ForeignKeyConstraint(
            ["flow_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("leftovers_by_command", "leftovers", ["command_id"], unique=False)
    op.create_index("leftovers_by_flow", "leftovers", ["flow_id"], unique=False)
    op.create_index(
        "leftovers_open",
        "leftovers",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )


def create_entity_locks() -> None:
    op.create_table(
        "entity_locks",
        sa.Column("ref_type", Text(), nullable=False),
        sa.Column("ref_id", Id(), nullable=False),
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("mode", Text(), nullable=False),
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("leftover_id", Id(), nullable=True),
        sa.CheckConstraint("mode = 'shared' OR mode = 'exclusive'", name="entity_locks_mode"),
        sa.ForeignKeyConstraint(
            ["command_id"],
            ["command_entities.id"],
        ),
        sa.ForeignKeyConstraint(
            ["flow_id"],
            ["job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["leftover_id"],
            ["leftovers.id"],
        ),
        sa.PrimaryKeyConstraint("ref_type", "ref_id", "flow_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "entity_locks_alone",
        "entity_locks",
        ["ref_type", "ref_id"],
        unique=True,
        sqlite_where=sa.text("mode = 'exclusive'"),
        postgresql_where=sa.text("mode = 'exclusive'"),
    )
    op.create_index("entity_locks_by_command", "entity_locks", ["command_id"], unique=False)
    op.create_index("entity_locks_by_flow", "entity_locks", ["flow_id"], unique=False)
    op.create_index(
        "entity_locks_by_leftover",
        "entity_locks",
        ["leftover_id"],
        unique=False,
        sqlite_where=sa.text("leftover_id IS NOT NULL"),
        postgresql_where=sa.text("leftover_id IS NOT NULL"),
    )


def create_business_entity_snapshot() -> None:
    op.create_table(
        "business_entity_snapshot",
        sa.Column("flow_id", Id(), nullable=False),
        sa.Column("command_id", Id(), nullable=False),
        sa.Column("ref_type", Text(), nullable=False),
        sa.Column("ref_id", Id(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("before_json", Text(), nullable=True),
        sa.Column("after_json", Text(), nullable=True),
        sa.CheckConstraint("position >= 0", name="business_entity_snapshot_counters"),
        sa.ForeignKeyConstraint(
            ["command_id"],
            ["command_entities.id"],
        ),
        sa.ForeignKeyConstraint(
            ["flow_id"],
            ["job.id"],
        ),
        sa.PrimaryKeyConstraint("command_id", "ref_type", "ref_id"),
    )
    op.create_index("business_entity_snapshot_by_flow", "business_entity_snapshot", ["flow_id"], unique=False)
