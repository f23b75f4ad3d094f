"""Who would wait for whom: a flow that holds locks may wait only where that does not lead back to itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.locks import LockMode, conflict
from interlock.model.records import TicketRecord
from interlock.model.refs import Ref
from interlock.store.queries.locks import HeldLock
from interlock.store.queries.tickets import Waiter


@dataclass(frozen=True, slots=True)
class _Edge:
    """One flow waits for another because of a ref."""

    target: UUID
    ref: Ref[Any]
    title: str


def cycle(flow: Flow, mine: Sequence[TicketRecord], snapshot: Snapshot) -> str | None:
    """The circle that these new tickets of a flow would close, in words; None where there is none.

    Flows that wait without holding anything are nobody's obstacle here: a holder passes them.
    """
    waiters = [each for each in snapshot.waiting_holders() if each.ticket.flow_id != flow.id]
    tickets = [*mine, *flow.tickets.values(), *(each.ticket for each in waiters)]
    held = snapshot.held(list({ticket.ref for ticket in tickets}))
    edges = _edges(tickets, held, waiters)
    path = _path(edges, flow.id)
    if path is None:
        return None
    words, who = [], f"this job ({flow.job.title})"
    for edge in path:
        holder = "this job" if edge.target == flow.id else f"job {edge.target} ({edge.title})"
        words.append(f"{who} waits for {edge.ref}, held or awaited by {holder}")
        who = holder
    return "; ".join(words)


def awaited_by(flow: Flow, held: Iterable[HeldLock], snapshot: Snapshot) -> str | None:
    """Who holds what this flow would wait for, and itself waits for the end of this flow's job, in words; or None."""
    for each in held:
        if leads_back(flow.id, each.lock.flow_id, snapshot):
            return f"job {each.lock.flow_id} ({each.job_title}) holds {each.lock.ref} and waits for the end of this job"
    return None


def leads_back(flow_id: UUID, origin: UUID, snapshot: Snapshot) -> bool:
    """Whether one flow waits for another, for locks or ends of jobs, through however many between them."""
    seen, front = set[UUID](), {origin}
    while front and flow_id not in seen:
        seen |= front
        front = snapshot.awaited(front) - seen
    return flow_id in seen


def _edges(
    tickets: Iterable[TicketRecord], held: Iterable[HeldLock], waiters: Iterable[Waiter]
) -> Mapping[UUID, list[_Edge]]:
    edges: dict[UUID, list[_Edge]] = {}
    for ticket in tickets:
        found = edges.setdefault(ticket.flow_id, [])
        for each in held:
            lock = each.lock
            if _stops(lock.ref, lock.flow_id, lock.mode, ticket) and lock.leftover_id is None:
                found.append(_Edge(lock.flow_id, ticket.ref, each.job_title))
        for waiter in waiters:
            other = waiter.ticket
            comes_before = (other.rank, other.command_id) < (ticket.rank, ticket.command_id)
            if _stops(other.ref, other.flow_id, other.mode, ticket) and comes_before:
                found.append(_Edge(other.flow_id, ticket.ref, waiter.job_title))
    return edges


def _stops(ref: Ref[Any], flow_id: UUID, mode: LockMode, ticket: TicketRecord) -> bool:
    return ref == ticket.ref and flow_id != ticket.flow_id and conflict(mode, ticket.mode)


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
