"""Tickets: who waits for a lock, in which order."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from interlock.model.locks import LockMode
from interlock.model.records import TicketRecord
from interlock.model.refs import Ref
from interlock.store import tables
from interlock.store.queries.by_ref import as_id, rows_by_ref

_tickets, _job, _locks = tables.lock_tickets, tables.job, tables.entity_locks
_uses, _commands = tables.limit_uses, tables.command_entities
_is_holder = (
    select(_locks.c.flow_id)
    .where(and_(_locks.c.flow_id == _tickets.c.flow_id, _locks.c.leftover_id.is_(None)))
    .correlate(_tickets)
    .exists()
)
_is_running = (
    select(_uses.c.flow_id)
    .join(_commands, and_(_commands.c.id == _uses.c.command_id, _commands.c.result.is_(None)))
    .where(_uses.c.flow_id == _tickets.c.flow_id)
    .correlate(_tickets)
    .exists()
)
_ALL = select(_tickets, _job.c.title, or_(_is_holder, _is_running).label("is_holder")).join(
    _job, _job.c.id == _tickets.c.flow_id
)
_ON = _ALL.order_by(_tickets.c.ref_type, _tickets.c.ref_id, _tickets.c.rank, _tickets.c.command_id)


@dataclass(frozen=True, slots=True)
class Waiter:
    """A ticket with what names its job to a person; `is_holder`: its flow has other locks, or room under
    limits, meanwhile."""

    ticket: TicketRecord
    job_title: str
    is_holder: bool


def on(connection: Connection, refs: Iterable[Ref[Any]]) -> list[Waiter]:
    """All tickets for those refs, the first first within a ref."""
    named = (_tickets.c.ref_type, _tickets.c.ref_id)
    return [_waiter(row) for row in rows_by_ref(connection, _ON, named, refs)]


def of_holders(connection: Connection) -> list[Waiter]:
    """The tickets of all flows that hold locks while they wait."""
    return [_waiter(tuple(row)) for row in connection.execute(_ON.where(or_(_is_holder, _is_running)))]


def _waiter(row: Any) -> Waiter:
    """From a row as the driver, or SQLAlchemy, has it."""
    command_id, kind, id, flow_id, mode, rank, since, deadline_at, title, is_holder = row
    ticket = TicketRecord(
        as_id(command_id), Ref(kind, as_id(id)), as_id(flow_id), LockMode(mode), rank, since, deadline_at
    )
    return Waiter(ticket, title, bool(is_holder))
