"""Limits: whether there is room for one more, in which order, and what holds a command back. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from interlock.core.flow import Flow
from interlock.model.limits import LimitRecord
from interlock.model.locks import AGEING_US
from interlock.model.records import CommandRecord
from interlock.model.replacing import replace
from interlock.model.states import State


@dataclass(frozen=True, slots=True)
class Standing:
    """How full a limit is for one that asks: `ahead` wait and come before it, `recent` are the starts in the window,
    the earliest first."""

    limit: LimitRecord
    running: int
    recent: Sequence[int]
    ahead: int


def room(standing: Standing) -> bool:
    """Whether it may start: each that comes before keeps a place, and no more."""
    limit, ahead = standing.limit, standing.ahead
    is_crowded = limit.at_most is not None and limit.at_most - standing.running <= ahead
    is_rapid = limit.starts_max is not None and limit.starts_max - len(standing.recent) <= ahead
    return not (is_crowded or is_rapid)


def look_at(standing: Standing) -> int | None:
    """When the window may have room for it; None where it has, or there is no window."""
    limit, recent = standing.limit, standing.recent
    if limit.starts_max is None or limit.window_us is None or not recent:
        return None
    too_many = len(recent) + standing.ahead + 1 - limit.starts_max
    return None if too_many <= 0 else recent[min(too_many, len(recent)) - 1] + limit.window_us


def in_window(limit: LimitRecord, starts: Iterable[int], now: int) -> list[int]:
    """The starts that count at that time, the earliest first."""
    window = limit.window_us or 0
    return sorted(start for start in starts if start > now - window)


def words(standing: Standing) -> str:
    """What holds it back, for people."""
    limit, found = standing.limit, []
    if limit.at_most is not None:
        found.append(f"{standing.running} of {limit.at_most} run")
    if limit.starts_max is not None and limit.window_us is not None:
        window_s = limit.window_us / 1e6
        found.append(f"{len(standing.recent)} of {limit.starts_max} started within {window_s:g} s")
    return f"limit {limit.key}: {', '.join(found)}; {standing.ahead} come before"


def rank_of(flow: Flow, command: CommandRecord, now: int) -> tuple[int, int]:
    """Its place in every line, and since when it waits: what it drew first, for whatever it waited then."""
    drawn = [(each.rank, each.since) for each in flow.tickets.values() if each.command_id == command.id]
    drawn += [(each.rank, each.since) for each in flow.limit_tickets.values() if each.command_id == command.id]
    return min(drawn, default=(now - flow.job.priority * AGEING_US, now))


def rerank(flow: Flow, priority: int) -> None:
    """What waits for room has its place in line by that priority."""
    for ticket in list(flow.limit_tickets.values()):
        flow.put_limit_ticket(replace(ticket, rank=ticket.since - priority * AGEING_US))


def lineage(flow: Flow, command: CommandRecord) -> list[UUID]:
    """The command and those above it, the flow command last."""
    ids = [command.id]
    while command.parent_id is not None:
        command = flow.commands[command.parent_id]
        ids.append(command.id)
    return ids


def running(flow: Flow, key: str, stored: Iterable[UUID]) -> set[UUID]:
    """Who counts against a limit at present: of those stored, as far as this flow has not ended them, and its own."""
    mine = {command_id for command_id, at in flow.uses if at == key}
    return {id for id in mine | set(stored) if id not in flow.commands or flow.commands[id].state is not State.ENDED}


def holds(flow: Flow) -> bool:
    """Whether others may wait for what this flow has: locks, or room under a limit."""
    return bool(flow.locks) or any(flow.commands[id].state is not State.ENDED for id, _ in flow.uses)
