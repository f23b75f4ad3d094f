"""Who would wait for whom: a flow that holds locks may wait only where that does not lead back to itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.locks import LockMode, conflict
from interlock.model.records import TicketRecord
from interlock.model.refs import Ref

Modes = Mapping[Ref[Any], LockMode]


@dataclass(frozen=True, slots=True)
class _Edge:
    """One flow waits for another because of a ref."""

    target: UUID
    ref: Ref[Any]
    title: str


def cycle(flow: Flow, mine: Sequence[TicketRecord], snapshot: Snapshot, taken: Modes | None = None) -> str | None:
    """The circle that a flow which holds locks would close with these new tickets, or with locks that it takes while
    it waits for others; in words, None where there is none.

    Flows that wait without holding anything are nobody's obstacle here: a holder passes them.
    """
    others = [each for each in snapshot.waiting_holders() if each.ticket.flow_id != flow.id]
    title = flow.job.title
    waits = [_Wait(each.ticket, each.job_title) for each in others]
    waits += [_Wait(ticket, title) for ticket in (*mine, *flow.tickets.values())]
    stored = [(each.lock, each.job_title) for each in snapshot.held(list({wait.ticket.ref for wait in waits}))]
    theirs = [(lock, name) for lock, name in stored if lock.flow_id != flow.id and lock.leftover_id is None]
    holds = [_Hold(lock.ref, lock.flow_id, lock.mode, name) for lock, name in theirs]
    holds += [_Hold(ref, flow.id, lock.mode, title) for ref, lock in flow.locks.items()]
    holds += [_Hold(ref, flow.id, mode, title) for ref, mode in (taken or {}).items()]
    path = _path(_edges(waits, holds), flow.id)
    if path is None:
        return None
    words, who = [], f"this job ({title})"
    for edge in path:
        holder = "this job" if edge.target == flow.id else f"job {edge.target} ({edge.title})"
        words.append(f"{who} waits for {edge.ref}, held or awaited by {holder}")
        who = holder
    return "; ".join(words)


@dataclass(frozen=True, slots=True)
class _Wait:
    """A ticket of a flow that holds locks."""

    ticket: TicketRecord
    title: str


@dataclass(frozen=True, slots=True)
class _Hold:
    """A lock that is held, or would be."""

    ref: Ref[Any]
    flow_id: UUID
    mode: LockMode
    title: str


def _edges(waits: Sequence[_Wait], holds: Sequence[_Hold]) -> Mapping[UUID, list[_Edge]]:
    """For whom each flow waits: who holds what it wants, and who wants the same and came before."""
    edges: dict[UUID, list[_Edge]] = {}
    held: dict[Ref[Any], list[_Hold]] = {}
    for hold in holds:
        held.setdefault(hold.ref, []).append(hold)
    wanted: dict[Ref[Any], list[_Wait]] = {}
    for wait in waits:
        wanted.setdefault(wait.ticket.ref, []).append(wait)
    for wait in waits:
        ticket = wait.ticket
        found = edges.setdefault(ticket.flow_id, [])
        for hold in held.get(ticket.ref, ()):
            if _stops(hold.flow_id, hold.mode, ticket):
                found.append(_Edge(hold.flow_id, ticket.ref, hold.title))
        for other in wanted[ticket.ref]:
            comes_before = (other.ticket.rank, other.ticket.command_id) < (ticket.rank, ticket.command_id)
            if comes_before and _stops(other.ticket.flow_id, other.ticket.mode, ticket):
                found.append(_Edge(other.ticket.flow_id, ticket.ref, other.title))
    return edges


def _stops(flow_id: UUID, mode: LockMode, ticket: TicketRecord) -> bool:
    return flow_id != ticket.flow_id and conflict(mode, ticket.mode)


def _path(edges: Mapping[UUID, list[_Edge]], start: UUID) -> list[_Edge] | None:
    """The way from a flow back to itself."""
    came_by: dict[UUID, tuple[UUID, _Edge]] = {}
    stack = [start]
    while stack:
        here = stack.pop()
        for edge in edges.get(here, ()):
            if edge.target == start:
                return [*_back(came_by, start, here), edge]
            if edge.target not in came_by:
                came_by[edge.target] = (here, edge)
                stack.append(edge.target)
    return None


def _back(came_by: Mapping[UUID, tuple[UUID, _Edge]], start: UUID, here: UUID) -> list[_Edge]:
    path: list[_Edge] = []
    while here != start:
        here, edge = came_by[here]
        path.append(edge)
    return path[::-1]
