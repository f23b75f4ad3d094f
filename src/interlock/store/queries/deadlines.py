"""Open deadlines, all at once: what an engine moves that takes over."""

from sqlalchemy import ColumnElement, Connection, Table, Update, bindparam, select, update

from interlock.model.states import State
from interlock.store.tables import async_tasks, command_entities, job

_OPEN_FLOWS = select(job.c.id).where(job.c.ended_at.is_(None))


def _moved(table: Table, is_open: ColumnElement[bool]) -> Update:
    which = (table.c.flow_id.in_(_OPEN_FLOWS), table.c.deadline_at.is_not(None), is_open)
    return update(table).where(*which).values(deadline_at=table.c.deadline_at + bindparam("by_us"))


_MOVES = (
    _moved(command_entities, command_entities.c.state != State.ENDED),
    _moved(async_tasks, async_tasks.c.outcome.is_(None)),
)


def move(connection: Connection, by_us: int) -> None:
    """Moves the deadline of every command and task that has not ended."""
    for statement in _MOVES:
        connection.execute(statement, {"by_us": by_us})
