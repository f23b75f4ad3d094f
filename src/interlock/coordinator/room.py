"""Room under limits: whether a command may start, or waits in line with a ticket.

A ticket keeps one place for who comes before, so that nobody overtakes and nobody waits for room that nobody wants.
Decided in the writer alone: two that look at once would both find the last place free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock.catalog import Catalog
from interlock.command import Command, Reader
from interlock.coordinator import circling
from interlock.coordinator.snapshot import Snapshot
from interlock.core import limiting, narration, turns
from interlock.core.flow import Flow
from interlock.core.limiting import Standing
from interlock.model.limits import OF_COMMAND, OF_KEY, LimitRecord, LimitTicketRecord, LimitUseRecord, of_host
from interlock.model.records import CommandRecord
from interlock.model.refs import Ref
from interlock.model.replacing import replace


@dataclass
class Room:
    """What came of asking: the keys to take, or what holds the command back, or why that would never end."""

    keys: list[str] = field(default_factory=list)
    held_back: list[Standing] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def keys_of(
    flow: Flow,
    row: CommandRecord,
    command: Command[Any],
    db: Reader,
    limits: Mapping[str, LimitRecord],
    catalog: Catalog,
) -> list[str]:
    """The configured limits that hold for a command. Raises what its `limited_by` raises."""
    if not limits or turns.mends(flow, row):
        return []  # what undoes or ends is never held back
    keys = [f"{OF_COMMAND}{row.name}"]
    if any(not key.startswith(OF_COMMAND) for key in limits):
        keys += [_key(each, catalog) for each in command.limited_by(db)]
    return [key for key in dict.fromkeys(keys) if key in limits]


def ask(
    flow: Flow,
    command: CommandRecord,
    keys: Sequence[str],
    limits: Mapping[str, LimitRecord],
    snapshot: Snapshot,
    now: int,
) -> Room:
    """Whether there is room under all of them. Where not, the change set has tickets for those that are full; where
    there is, none: what then keeps it from starting must not keep others from the room.

    Who waits under several keeps its places until all have room, or it might never see room under all at once; not
    where one of them lets none begin, nor where others may wait for what the flow has: they would wait in turn.
    """
    found = Room()
    if keys:
        snapshot.needs_writer = True
        _look(flow, command, keys, limits, snapshot, now, found)
    if found.refusals:
        return found
    if not found.held_back:
        flow.drop_limit_tickets(command.id)
        return found
    is_new = not any(id == command.id for id, _ in flow.limit_tickets)
    if limiting.holds(flow) or any(standing.limit.at_most == 0 for standing in found.held_back):
        flow.drop_limit_tickets(command.id, but={standing.limit.key for standing in found.held_back})
    for standing in found.held_back:
        ticket = replace(_ticket(flow, command, standing.limit.key, now), look_at=limiting.look_at(standing))
        if flow.limit_tickets.get((command.id, ticket.key)) != ticket:
            flow.put_limit_ticket(ticket)
    if is_new:
        narration.limit_waited(flow, command, [limiting.words(each) for each in found.held_back], now)
    return found


def take(flow: Flow, command: CommandRecord, keys: Sequence[str], now: int) -> None:
    """The command starts: it counts from now on."""
    for key in keys:
        flow.put_use(LimitUseRecord(command.id, key, flow.id, now))


def stale(keys: Sequence[str], limits: Mapping[str, LimitRecord], snapshot: Snapshot, now: int) -> list[LimitUseRecord]:
    """What is to be removed, since it counts no more; others that start in the same run find the same."""
    return [use for key in keys for use in snapshot.stale_uses(key, now - (limits[key].window_us or 0))]


def _look(
    flow: Flow,
    command: CommandRecord,
    keys: Sequence[str],
    limits: Mapping[str, LimitRecord],
    snapshot: Snapshot,
    now: int,
    found: Room,
) -> None:
    lineage, stored = limiting.lineage(flow, command), snapshot.limit_uses(keys)
    for key in keys:
        limit, mine = limits[key], _ticket(flow, command, key, now)
        running = limiting.running(flow, key, [use.command_id for use in stored if use.key == key])
        if not running.isdisjoint(lineage):
            continue  # a command above it counts already
        ahead = _before(flow, mine, snapshot)
        standing = Standing(limit, len(running), _recent(flow, limit, snapshot, now), ahead)
        if limiting.room(standing):
            found.keys.append(key)
            continue
        found.held_back.append(standing)
        behind = snapshot.last_holder_before(mine) if ahead else None
        circle = circling.held_back_by(flow, lineage, key, behind, limits, snapshot)
        if circle is not None:
            found.refusals.append(f"{circling.NEVER_ENDS}: {circle}; start it again when one of these jobs has ended")


def _ticket(flow: Flow, command: CommandRecord, key: str, now: int) -> LimitTicketRecord:
    """The ticket that the command has, or would draw now."""
    rank, since = limiting.rank_of(flow, command, now)
    return LimitTicketRecord(command.id, key, flow.id, rank, since)


def _before(flow: Flow, mine: LimitTicketRecord, snapshot: Snapshot) -> int:
    """How many wait for the same and come before. Who has something that others may wait for passes those who have
    nothing, as with locks: they would wait for it in turn."""
    place = mine.rank, mine.command_id
    own = [each for each in flow.limit_tickets.values() if each.key == mine.key]
    others = snapshot.limit_tickets_before(mine, only_holders=limiting.holds(flow))
    return others + sum((each.rank, each.command_id) < place for each in own)


def _recent(flow: Flow, limit: LimitRecord, snapshot: Snapshot, now: int) -> list[int]:
    if limit.starts_max is None or limit.window_us is None:
        return []
    stored = snapshot.limit_starts(limit.key, now - limit.window_us, limit.starts_max)
    return limiting.in_window(limit, [*stored, *[now] * flow.new_uses(limit.key)], now)


def _key(named: str | Ref[Any], catalog: Catalog) -> str:
    if isinstance(named, Ref):
        return of_host(named) if hasattr(catalog.entities.get(named.type), "endpoint") else f"{OF_KEY}{named}"
    return f"{OF_KEY}{named}"
