"""Limits: what is configured, what counts against it, who waits for room."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from interlock.model.limits import LimitRecord, LimitTicketRecord, LimitUseRecord
from interlock.model.records import Role
from interlock.model.states import State
from interlock.store import tables
from interlock.store.queries.rows import pieces, records, with_refs

_limits, _uses, _tickets = tables.limits, tables.limit_uses, tables.limit_tickets
_commands, _locks = tables.command_entities, tables.entity_locks
#: how many uses that count no more are removed at once
STALE_MAX = 100

_is_open = and_(_commands.c.id == _uses.c.command_id, _commands.c.result.is_(None))
_uses_of_waiter = select(_uses.c.flow_id).join(_commands, _is_open).where(_uses.c.flow_id == _tickets.c.flow_id)
_locks_of_waiter = select(_locks.c.flow_id).where(
    and_(_locks.c.flow_id == _tickets.c.flow_id, _locks.c.leftover_id.is_(None))
)
_is_holder = or_(_locks_of_waiter.correlate(_tickets).exists(), _uses_of_waiter.correlate(_tickets).exists())


@dataclass(frozen=True, slots=True)
class Waiter:
    """A ticket; `is_holder`: its flow has locks, or room under other limits, meanwhile."""

    ticket: LimitTicketRecord
    is_holder: bool


def configured(connection: Connection) -> list[LimitRecord]:
    """All limits, by key."""
    return with_refs(connection, LimitRecord, select(_limits).order_by(_limits.c.key))


def running(connection: Connection, keys: Collection[str]) -> list[LimitUseRecord]:
    """What runs under those limits."""
    query = select(_uses).join(_commands, _is_open)
    return [
        use
        for piece in pieces(keys)
        for use in with_refs(connection, LimitUseRecord, query.where(_uses.c.key.in_(piece)))
    ]


def starts(connection: Connection, key: str, after: int, limit: int) -> list[int]:
    """The latest starts under a limit after a time, at most so many."""
    query = select(_uses.c.taken_at).where(_uses.c.key == key, _uses.c.taken_at > after)
    return list(connection.scalars(query.order_by(_uses.c.taken_at.desc()).limit(limit)))


def stale(connection: Connection, key: str, before: int) -> list[LimitUseRecord]:
    """Uses that count no more: started before a time, and not running; at most STALE_MAX."""
    query = select(_uses).outerjoin(_commands, _commands.c.id == _uses.c.command_id)
    over = or_(_commands.c.id.is_(None), _commands.c.result.is_not(None))
    where = query.where(_uses.c.key == key, _uses.c.taken_at <= before, over)
    return with_refs(connection, LimitUseRecord, where.limit(STALE_MAX))


def all_uses(connection: Connection, key: str) -> list[LimitUseRecord]:
    """Everything that was counted under a limit."""
    return records(connection, LimitUseRecord, _uses.c.key, [key])  # type: ignore[list-item]  # any value will do


def waiters(connection: Connection, keys: Iterable[str]) -> list[Waiter]:
    """Who waits for room under those limits, the first first within a key."""
    found: list[Waiter] = []
    for piece in pieces(keys):
        query = select(_tickets, _is_holder.label("is_holder")).where(_tickets.c.key.in_(piece))
        for row in connection.execute(query.order_by(_tickets.c.key, _tickets.c.rank, _tickets.c.command_id)):
            *fields, is_holder = row
            found.append(Waiter(LimitTicketRecord(*fields), bool(is_holder)))
    return found


def before(connection: Connection, mine: LimitTicketRecord, *, only_holders: bool) -> int:
    """How many of other flows wait for the same and come before."""
    query = select(func.count()).select_from(_tickets).where(*_comes_before(mine))
    return connection.scalar(query.where(_is_holder) if only_holders else query) or 0


def last_holder_before(connection: Connection, mine: LimitTicketRecord) -> LimitTicketRecord | None:
    """The last of other flows that comes before and has what others may wait for."""
    query = select(_tickets).where(*_comes_before(mine), _is_holder)
    latest = query.order_by(_tickets.c.rank.desc(), _tickets.c.command_id.desc()).limit(1)
    return next(iter(with_refs(connection, LimitTicketRecord, latest)), None)


def _comes_before(mine: LimitTicketRecord) -> tuple[ColumnElement[bool], ...]:
    ticket = _tickets.c
    earlier = or_(ticket.rank < mine.rank, and_(ticket.rank == mine.rank, ticket.command_id < mine.command_id))
    return ticket.key == mine.key, ticket.flow_id != mine.flow_id, earlier


def of_flows(connection: Connection, flow_ids: Collection[UUID]) -> list[LimitTicketRecord]:
    """The tickets of those flows."""
    return records(connection, LimitTicketRecord, _tickets.c.flow_id, flow_ids)


def running_commands(connection: Connection, name: str) -> list[tuple[UUID, UUID, int]]:
    """The commands of a type that run, as a forward plan's part: id, flow, and since when."""
    command = _commands.c
    query = select(command.id, command.flow_id, command.started_at).where(
        command.name == name, command.role == Role.FORWARD, command.state.not_in([State.PENDING, State.ENDED])
    )
    return [(id, flow_id, started_at) for id, flow_id, started_at in connection.execute(query)]
