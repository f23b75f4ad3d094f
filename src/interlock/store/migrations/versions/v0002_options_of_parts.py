"""Version 2: parts of plans have options, attempts and deadlines; locks are waited for, by priority, and have a
scope; tasks may be waits, and signals end them; ends are forced."""

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

_OUTCOMES = (
    "outcome = 'SUCCEEDED' OR outcome = 'FAILED' OR outcome = 'REFUSED' OR outcome = 'LOST' OR outcome = 'UNKNOWN'"
)


def upgrade() -> None:
    """What is stored already has no options, is in its first attempt and waits for nothing."""
    _change_commands()
    _change_tasks()
    _add("job", "priority", sa.BigInteger(), sa.text("0"))
    _add("entity_locks", "scope", Text(), sa.text("'command'"), "scope = 'command' OR scope = 'execution'")
    op.add_column("engines", sa.Column("seen_at", sa.BigInteger()))
    _create_lock_tickets()
    _create_signals()


def _change_commands() -> None:
    op.add_column("command_entities", sa.Column("options_json", Text()))
    op.add_column("command_entities", sa.Column("forced_by", Text()))
    _add("command_entities", "attempt", sa.BigInteger(), sa.text("1"))
    _add("command_entities", "superseded", sa.Boolean(), sa.false())
    op.add_column("command_entities", sa.Column("deadline_at", sa.BigInteger()))
    op.add_column("command_entities", sa.Column("stopping", Text()))


def _change_tasks() -> None:
    op.add_column("async_tasks", sa.Column("wait_json", Text()))
    op.add_column("async_tasks", sa.Column("deadline_at", sa.BigInteger()))
    op.add_column("async_tasks", sa.Column("stopping", Text()))
    op.add_column("async_tasks", sa.Column("stalled_at", sa.BigInteger()))
    if op.get_context().dialect.name == "sqlite":
        _widen_check_on_sqlite("async_tasks", _OUTCOMES, f"{_OUTCOMES} OR outcome = 'STOPPED'")
    else:
        op.drop_constraint("async_tasks_outcome", "async_tasks")
        op.create_check_constraint("async_tasks_outcome", "async_tasks", f"{_OUTCOMES} OR outcome = 'STOPPED'")


def _widen_check_on_sqlite(table: str, former: str, wanted: str) -> None:
    """SQLite cannot alter a CHECK; its manual (ALTER TABLE, "Making Other Kinds Of Table Schema Changes") allows to
    rewrite the table's text where no stored row becomes wrong by it."""
    version = op.get_bind().exec_driver_sql("PRAGMA schema_version").scalar_one()
    op.execute("PRAGMA writable_schema = ON")
    statement = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = ?"
    op.get_bind().exec_driver_sql(statement, (former, wanted, table))
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = OFF")


def _add(
    table: str,
    column: str,
    kind: TypeEngine[Any],
    former: ColumnElement[Any] | TextClause,
    check: str | None = None,
) -> None:
    """A column with a value for the rows that are there; new ones must say theirs, where the dialect can ask that."""
    checks = [sa.CheckConstraint(check, name=f"{table}_{column}")] if check else []
    op.add_column(table, sa.Column(column, kind, *checks, nullable=False, server_default=former))
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


def _create_signals() -> None:
    op.create_table(
        "signals",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", Id(), nullable=False),
        sa.Column("kind", Text(), nullable=False),
        sa.Column("about_type", Text(), nullable=True),
        sa.Column("about_id", Id(), nullable=True),
        sa.Column("job_id", Id(), nullable=True),
        sa.Column("data_json", Text(), nullable=False),
        sa.Column("by", Text(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("taken_by", Id(), nullable=True),
        sa.CheckConstraint("(about_type IS NULL) = (about_id IS NULL)", name="signals_about"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    for name, columns, condition in (
        ("signals_to_all", ["kind", "about_type", "about_id", "number"], "job_id IS NULL"),
        ("signals_to_job", ["job_id", "kind", "about_type", "about_id", "number"], "taken_by IS NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "signals", columns, unique=False, sqlite_where=where, postgresql_where=where)
