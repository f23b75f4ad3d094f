"""Open deadlines, all at once: what an engine moves that takes over."""

from sqlalchemy import Connection, select, update

from interlock.model.states import State
from interlock.store.tables import async_tasks, command_entities, job


def move(connection: Connection, by_us: int) -> None:
    """Moves the deadline of every command and task that has not ended."""
    open_flows = select(job.c.id).where(job.c.ended_at.is_(None))
    for table, is_open in (
        (command_entities, command_entities.c.state != State.ENDED),
        (async_tasks, async_tasks.c.outcome.is_(None)),
    ):
        which = (table.c.flow_id.in_(open_flows), table.c.deadline_at.is_not(None), is_open)
        connection.execute(update(table).where(*which).values(deadline_at=table.c.deadline_at + by_us))
