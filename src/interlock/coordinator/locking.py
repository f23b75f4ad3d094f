"""Takes entity locks for a command, all or none. What is not free is refused, or waited for in fair order.

A lock is free when nobody else holds it in a conflicting mode and no conflicting ticket comes before. A flow that
holds something already, locks or room under limits, passes those who hold nothing: they would wait for it in turn.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.coordinator import circling, deadlocks
from interlock.coordinator.circling import NEVER_ENDS
from interlock.coordinator.snapshot import Snapshot
from interlock.core import limiting, lock_scopes, narration
from interlock.core.flow import Flow
from interlock.model.limits import LimitRecord
from interlock.model.locks import LockMode, Locks, LockScope, conflict, shared
from interlock.model.records import CommandRecord, LockRecord, Role, TaskRecord, TicketRecord
from interlock.model.refs import Ref
from interlock.model.replacing import replace
from interlock.store.queries.locks import HeldLock
from interlock.store.queries.tickets import Waiter


@dataclass
class Acquisition:
    """What came of asking for locks: they are held, unless `refusals` say why not, or it `is_waiting`."""

    refusals: list[str] = field(default_factory=list)
    is_waiting: bool = False


def acquire(
    flow: Flow, command: CommandRecord, wanted: Locks, limits: Mapping[str, LimitRecord], snapshot: Snapshot, now: int
) -> Acquisition:
    """Puts the missing locks into the flow's change set, or tickets for them."""
    missing = {ref: mode for ref, mode in wanted.modes().items() if not _holds(flow, ref, mode)}
    if not missing:
        _take(flow, command, missing, wanted, snapshot, now)
        return Acquisition()
    tickets = _tickets(flow, command, missing, wanted, now)
    held = [each for each in snapshot.held(list(missing)) if _is_in_the_way(flow, each.lock, missing)]
    before = [each for each in snapshot.waiting(list(missing)) if _comes_before(flow, each, tickets[each.ticket.ref])]
    reasons = [describe(snapshot, each) for each in held] + [_describe_waiter(snapshot, each) for each in before]
    if not reasons:
        circle = _circle_closed_by_taking(flow, command, missing, snapshot)
        if circle is None:
            _take(flow, command, missing, wanted, snapshot, now)
            return Acquisition()
        reasons = [f"{NEVER_ENDS}: {circle}; start it again when one of these jobs has ended"]
    may_wait = wanted.waits and command.role is Role.FORWARD and not any(each.lock.leftover_id for each in held)
    if not may_wait:
        return Acquisition(reasons)
    return _wait(flow, command, tickets, held, reasons, limits, snapshot, now)


def _circle_closed_by_taking(
    flow: Flow, command: CommandRecord, missing: dict[Ref[Any], LockMode], snapshot: Snapshot
) -> str | None:
    """A flow of which another part waits would, by holding more, be waited for by those who hold what that part wants.
    Then this part waits too, although it need not: a flow that holds nothing is passed."""
    if not any(command_id != command.id for command_id, _ in flow.tickets):
        return None
    snapshot.needs_writer = True
    return deadlocks.cycle(flow, (), snapshot, missing)


def _wait(
    flow: Flow,
    command: CommandRecord,
    tickets: dict[Ref[Any], TicketRecord],
    held: list[HeldLock],
    reasons: list[str],
    limits: Mapping[str, LimitRecord],
    snapshot: Snapshot,
    now: int,
) -> Acquisition:
    first = next(iter(tickets.values()))
    if first.deadline_at is not None and first.deadline_at <= now:
        waited_s = (now - first.since) / 1e6
        return Acquisition([f"{reason} (waited {waited_s:.0f} s, as long as allowed)" for reason in reasons])
    if any(key[0] == command.id for key in flow.tickets):
        return Acquisition(is_waiting=True)
    if limiting.holds(flow):
        snapshot.needs_writer = True  # two that wait for each other must not both look before either is stored
        cycle = deadlocks.cycle(flow, list(tickets.values()), snapshot)
        if cycle is not None:
            return Acquisition([f"{NEVER_ENDS}: {cycle}; start it again when one of these jobs has ended"])
    awaited = circling.awaited_by(flow, command, held, limits, snapshot) if first.deadline_at is None else None
    if awaited is not None:
        return Acquisition([f"{NEVER_ENDS}: {awaited}; who holds it should not wait meanwhile"])
    for ticket in tickets.values():
        flow.put_ticket(ticket)
    narration.lock_waited(flow, command, reasons, now)
    return Acquisition(is_waiting=True)


def _tickets(
    flow: Flow, command: CommandRecord, missing: dict[Ref[Any], LockMode], wanted: Locks, now: int
) -> dict[Ref[Any], TicketRecord]:
    """The tickets that the command has, or would draw now; all of one age."""
    drawn = next((ticket for (id, _), ticket in flow.tickets.items() if id == command.id), None)
    rank, since = limiting.rank_of(flow, command, now)
    deadline_at = drawn.deadline_at if drawn else None
    if drawn is None and wanted.timeout_s is not None:
        deadline_at = now + round(wanted.timeout_s * 1e6)
    return {
        ref: TicketRecord(command.id, ref, flow.id, mode, rank, since, deadline_at) for ref, mode in missing.items()
    }


def _take(
    flow: Flow, command: CommandRecord, missing: dict[Ref[Any], LockMode], wanted: Locks, snapshot: Snapshot, now: int
) -> None:
    flow.drop_tickets(command.id)
    for ref, scope in wanted.scopes().items():
        held, mode = flow.locks.get(ref), missing.get(ref)
        if mode is not None:
            snapshot.lock_wants[ref] = mode
        if held is None:
            assert mode is not None  # what is wanted and not held is missing
            flow.put_lock(LockRecord(ref, flow.id, mode, command.id, now, scope=scope))
            continue
        kept = lock_scopes.asked_again(flow, held, command.id, scope)
        if mode is not None:
            kept = replace(kept, mode=mode, taken_at=now)
        if kept is not held:
            flow.put_lock(kept)


def touching(flow: Flow, tasks: Iterable[TaskRecord]) -> Locks:
    """What a plan's tasks may change, held at least shared, so that one of unknown fate leaves a refusal on all of it
    (hard case 5). What the flow holds already it need not keep beyond the execution."""
    refs = [ref for task in tasks if task.is_mutating for ref in task.refs]
    held = [ref for ref in refs if ref in flow.locks]
    return shared(*held).scoped(LockScope.EXECUTION) + shared(*(ref for ref in refs if ref not in flow.locks))


def _is_in_the_way(flow: Flow, lock: LockRecord, missing: dict[Ref[Any], LockMode]) -> bool:
    return lock.flow_id != flow.id and conflict(lock.mode, missing[lock.ref])


def _comes_before(flow: Flow, waiter: Waiter, mine: TicketRecord) -> bool:
    ticket = waiter.ticket
    if ticket.flow_id == flow.id or not conflict(ticket.mode, mine.mode):
        return False
    if limiting.holds(flow) and not waiter.is_holder:
        return False
    return (ticket.rank, ticket.command_id) < (mine.rank, mine.command_id)


def _holds(flow: Flow, ref: Ref[Any], mode: LockMode) -> bool:
    held = flow.locks.get(ref)
    return held is not None and (held.mode is LockMode.EXCLUSIVE or held.mode is mode)


def describe(snapshot: Snapshot, held: HeldLock) -> str:
    """Who holds it, in words, with the remedy."""
    name = _name(snapshot, held.lock.ref)
    if held.lock.leftover_id is not None:
        return (
            f"{name} is blocked by leftover {held.lock.leftover_id} of job {held.lock.flow_id}: "
            f"{held.leftover_reason}; clear it with `interlock leftover clear {held.lock.leftover_id}`"
        )
    return f"{name} is locked by job {held.lock.flow_id} ({held.job_title}); wait for it to end"


def _describe_waiter(snapshot: Snapshot, waiter: Waiter) -> str:
    name, who = _name(snapshot, waiter.ticket.ref), f"job {waiter.ticket.flow_id} ({waiter.job_title})"
    return f"{name} is waited for by {who}, which came before; try again later"


def _name(snapshot: Snapshot, ref: Ref[Any]) -> str:
    record = snapshot.entity(ref)
    return f"{ref.type} {record.name}" if record and record.name else str(ref)
