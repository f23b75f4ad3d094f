"""Version 1: engines and entities."""

import sqlalchemy as sa
from alembic import op

from interlock.store.types import Id, Text


def create_engines() -> None:
    op.create_table(
        "engines",
        sa.Column("id", Id(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("host", Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("epoch >= 1 AND seq >= 0", name="engines_counters"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("epoch"),
    )


def create_entities() -> None:
    op.create_table(
        "entities",
        sa.Column("type", Text(), nullable=False),
        sa.Column("id", Id(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("links", sa.BigInteger(), nullable=False),
        sa.Column("name", Text(), nullable=True),
        sa.Column("status", Text(), nullable=True),
        sa.Column("schema", sa.BigInteger(), nullable=False),
        sa.Column("body_json", Text(), nullable=False),
        sa.CheckConstraint("version >= 0 AND links >= 0", name="entities_counters"),
        sa.PrimaryKeyConstraint("type", "id"),
        sa.UniqueConstraint("type", "name"),
    )


def create_entity_refs() -> None:
    op.create_table(
        "entity_refs",
        sa.Column("origin_type", Text(), nullable=False),
        sa.Column("origin_id", Id(), nullable=False),
        sa.Column("field", Text(), nullable=False),
        sa.Column("target_type", Text(), nullable=False),
        sa.Column("target_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(
            ["origin_type", "origin_id"],
            ["entities.type", "entities.id"],
        ),
        sa.PrimaryKeyConstraint("origin_type", "origin_id", "field", "target_type", "target_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "entity_refs_by_target",
        "entity_refs",
        ["target_type", "target_id", "origin_type", "field"],
        unique=False,
    )
