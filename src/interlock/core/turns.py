"""Whose turn it is: when a part of a plan may start, or that it never will."""

from itertools import islice
from uuid import UUID

from interlock.core.flow import Flow, Pool
from interlock.model.records import CommandRecord, Role
from interlock.model.states import Result, State


def turn(flow: Flow, command: CommandRecord) -> bool | None:
    """Whether a pending part may start: True, not yet (None), or never (False)."""
    if flow.job.paused_by is not None and not mends(flow, command):
        return None
    if command.parent_id is None or not (command.after or command.options_json):
        return True
    answers = [_is_satisfied(flow, command, position) for position in command.after]
    if command.options_json is not None:
        answers += [_former_failed(flow, command), _has_room(flow, command)]
    if False in answers:
        return False
    return None if None in answers else True


def mends(flow: Flow, command: CommandRecord) -> bool:
    """Whether it is part of undoing or of an end phase."""
    while command.parent_id is not None:
        if command.role is not Role.FORWARD:
            return True
        command = flow.commands[command.parent_id]
    return False


def siblings_of_choice(flow: Flow, command: CommandRecord) -> list[CommandRecord]:
    """All alternatives of a `first_of`, in order, from one of them."""
    number, first = command.options.choice, command.position
    while (former := flow.at(command.plan, first - 1)) is not None and former.options.choice == number:
        first -= 1
    found: list[CommandRecord] = []
    while (each := flow.at(command.plan, first + len(found))) is not None and each.options.choice == number:
        found.append(each)
    return found


def _is_satisfied(flow: Flow, command: CommandRecord, position: int) -> bool | None:
    before = flow.at(command.plan, position)
    assert before is not None  # nothing but commands is waited for, and all of a plan is laid out at once
    if before.options.choice is not None:
        alternatives = siblings_of_choice(flow, before)
        if any(each.result is Result.SUCCEEDED or each.skipped_by for each in alternatives):
            return True
        return False if all(each.state is State.ENDED for each in alternatives) else None
    if before.state is not State.ENDED:
        return None
    never_began = before.result is Result.CANCELLED and before.started_at is None and before.failure_json is None
    return before.result is Result.SUCCEEDED or (before.best_effort and not never_began) or bool(before.skipped_by)


def _former_failed(flow: Flow, command: CommandRecord) -> bool | None:
    """Of an alternative: whether the one before it has failed and left nothing that may still be at work."""
    former = flow.at(command.plan, command.position - 1)
    if command.options.choice is None or former is None or former.options.choice != command.options.choice:
        return True
    if former.state is not State.ENDED:
        return None
    return former.result is Result.FAILED and not former.has_leftovers


def _has_room(flow: Flow, command: CommandRecord) -> bool | None:
    """Of a part of a pool: whether so many of it may run."""
    options = command.options
    if options.pool is None:
        return True
    pool = pool_of(flow, command)
    if options.stop_on_failure and pool.has_failed:
        return False
    return True if options.at_most is None or pool.running < options.at_most else None


def pool_of(flow: Flow, command: CommandRecord) -> Pool:
    """The pool of a part that is in one."""
    key = (command.plan, command.options.pool)
    if key not in flow.pools:
        members = [row for row in flow.children_of(*command.plan) if row.options.pool == command.options.pool]
        flow.pools[key] = Pool(
            [row.id for row in reversed(members) if row.state is State.PENDING],
            sum(row.state not in (State.PENDING, State.ENDED) for row in members),
            any(_dooms(row, row.result) for row in members),
        )
    return flow.pools[key]


def note_begun(flow: Flow, command: CommandRecord) -> None:
    """A part is about to leave PENDING."""
    if command.options_json is not None and command.options.pool is not None:
        pool_of(flow, command).running += 1


def note_ended(flow: Flow, command: CommandRecord, result: Result) -> list[UUID]:
    """A part is about to end; returns those of its pool whose turn that brings, now or never."""
    if command.options_json is None or command.options.pool is None:
        return []
    pool = pool_of(flow, command)
    pool.running -= command.state is not State.PENDING
    stops = _dooms(command, result) and command.options.stop_on_failure
    pool.has_failed = pool.has_failed or stops
    if command.state is State.PENDING and not stops:
        return []  # it had no place
    while pool.waiting and not _waits(flow, pool.waiting[-1], command):
        pool.waiting.pop()
    waiting = (id for id in reversed(pool.waiting) if _waits(flow, id, command))
    if stops:
        return list(waiting)
    return [*islice((id for id in waiting if turn(flow, flow.commands[id])), 1)]


def _dooms(command: CommandRecord, result: Result | None) -> bool:
    """Whether the group fails with this part: it did not succeed, and that counts; not that it never began."""
    has_failed = result is Result.FAILED or (result is Result.CANCELLED and command.failure_json is not None)
    return has_failed and not command.best_effort and command.skipped_by is None


def _waits(flow: Flow, id: UUID, leaving: CommandRecord) -> bool:
    return id != leaving.id and flow.commands[id].state is State.PENDING


def forget_pool(flow: Flow, command: CommandRecord) -> None:
    """A pool has a new member: it is counted afresh."""
    flow.pools.pop((command.plan, command.options.pool), None)
