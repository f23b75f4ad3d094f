"""What comes too soon: a lock given up, a part or a job begun, a time counted from before the beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from interlock.invariants import Picture
from interlock.model.changes import Change
from interlock.model.locks import LockScope
from interlock.model.records import CommandRecord, EventRecord, FormerRecord, LockRecord
from interlock.model.states import Outcome, Phase, Result, State
from interlock.sim.mirror import Mirror

_UNSURE = (Outcome.LOST, Outcome.UNKNOWN)


class TooSoon:
    """Looks at each commit twice: `before` the mirror has taken it in, and `after`."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._formers: dict[UUID, set[UUID]] = {}
        self._terms: dict[UUID, int] = {}

    def before(self, changes: Sequence[Change]) -> Iterator[str]:
        """What is wrong with a commit, against what was stored until then."""
        for change in changes:
            match change.new:
                case CommandRecord() as row if _has_begun(change):
                    yield from self._in_stopped_group(row)
                case EventRecord(kind="flow_claimed") as event:
                    self._terms[event.flow_id] = self._mirror.picture(event.flow_id).job.term
                case FormerRecord() as former:
                    self._formers.setdefault(former.flow_id, set()).add(former.former_id)
                case _:
                    pass

    def after(self, changes: Sequence[Change]) -> Iterator[str]:
        """What is wrong with a commit, now that it is stored."""
        for change in changes:
            match change.old, change.new:
                case LockRecord() as lock, None:
                    yield from self._given_up(lock)
                case _, CommandRecord() as row if _has_begun(change):
                    yield from _counted_from_before(row)
                    for former_id in self._formers.get(row.id, ()):
                        former = self._flow(former_id)
                        if former is not None and former.job.ended_at is None:
                            yield f"13: job {row.id} has begun but comes after job {former_id}, which has not ended"
                case _:
                    pass
        for flow_id, former_term in self._terms.items():
            term = self._mirror.picture(flow_id).job.term
            if term <= former_term:
                yield f"9: flow {flow_id} was taken over with term {term}, and had {former_term} before"
        self._terms.clear()

    def _flow(self, id: UUID) -> Picture | None:
        return self._mirror.picture(id) if id in self._mirror else None

    def _in_stopped_group(self, row: CommandRecord) -> Iterator[str]:
        """13. In a group that stops on a failure nothing begins after one."""
        flow = self._flow(row.flow_id)
        if flow is None or row.parent_id is None or not row.options.stop_on_failure:
            return
        for other in flow.commands:
            is_beside = other.parent_id is not None and other.plan == row.plan and other.id != row.id
            if is_beside and other.options.pool == row.options.pool and _dooms(other):
                yield f"13: command {row.id} begins after {other.id}, on whose failure their group stops"

    def _given_up(self, lock: LockRecord) -> Iterator[str]:
        """10, 11. A lock is kept to its flow's end, or as its scope says; beyond that by what may still touch it."""
        flow = self._flow(lock.flow_id)
        if flow is None:
            return
        command = flow.by_id[lock.command_id]
        is_executed = command.state in (State.FINALIZING, State.ENDED) and command.phase is Phase.END_SUCCESSFULLY
        if flow.job.ended_at is None and not (lock.scope is LockScope.EXECUTION and is_executed):
            yield f"10: {lock.ref} is given up by flow {lock.flow_id}, which goes on"
        unsure = {task.id for task in flow.tasks if task.outcome in _UNSURE}
        for leftover in flow.leftovers:
            if leftover.cleared_at is None and leftover.task_id in unsure and lock.ref in leftover.refs:
                yield f"11: {lock.ref} is free, and leftover {leftover.id} says what may still touch it"


def _has_begun(change: Change) -> bool:
    old, new = change.old, change.new
    had_begun = isinstance(old, CommandRecord) and old.started_at is not None
    return isinstance(new, CommandRecord) and new.started_at is not None and not had_begun


def _dooms(row: CommandRecord) -> bool:
    has_failed = row.result is Result.FAILED or (row.result is Result.CANCELLED and row.failure_json is not None)
    return has_failed and not (row.best_effort or row.superseded or row.skipped_by is not None)


def _counted_from_before(row: CommandRecord) -> Iterator[str]:
    """23. The time of a command is counted from its beginning."""
    if row.deadline_at is None or row.options.timeout_s is None or row.started_at is None:
        return
    given_s = (row.deadline_at - row.started_at) / 1e6
    if abs(given_s - row.options.timeout_s) > 1e-3:
        yield f"23: command {row.id} may take {row.options.timeout_s:g} s and is given {given_s:g} s"
