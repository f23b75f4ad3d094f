"""Leftovers: whose they are."""

from uuid import UUID

from sqlalchemy import Connection, select

from interlock.store.tables import leftovers


def flow_of(connection: Connection, leftover_id: UUID) -> UUID | None:
    """The flow that left it."""
    found: UUID | None = connection.scalar(select(leftovers.c.flow_id).where(leftovers.c.id == leftover_id))
    return found
