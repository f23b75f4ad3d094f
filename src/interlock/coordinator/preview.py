"""Previews: what a command would do, found by running its first transaction and committing nothing."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from interlock.coordinator.accepting import Submission
from interlock.coordinator.change_set import World
from interlock.coordinator.runner import Runner
from interlock.coordinator.snapshot import Snapshot
from interlock.core.facts import Examine
from interlock.core.flow import Flow
from interlock.model.errors import Refused
from interlock.model.failure import Failure
from interlock.model.locks import LockMode
from interlock.model.plan import Retry
from interlock.model.records import CommandRecord, EntityRecord, LockRecord, Role, TaskRecord, TicketRecord
from interlock.model.refs import Ref
from interlock.model.states import Result, State

#: how many are made at once, how many may be asked for, and how long one may take
RUNNING_MAX, ASKED_MAX, PREVIEW_S_MAX = 2, 100, 20.0


class Begins(StrEnum):
    """When a part would begin."""

    #: in the transaction that accepts the command
    AT_ONCE = "at once"
    #: in one just after it: so much is due that it does not fit into the first
    NEXT = "next"
    #: when locks are free that others hold, or there is room under a limit
    WAITS = "when its locks are free"
    #: when its turn comes; what it contains is decided then
    LATER = "later"
    #: not at all: it was refused, or what it comes after has failed
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class PreviewLock:
    """A lock that would be taken, or (not `free`) waited for."""

    ref: Ref[Any]
    name: str | None
    mode: LockMode
    free: bool


@dataclass(frozen=True, slots=True)
class PreviewTask:
    """An async task that would be named; `host` None is a local function."""

    method: str
    host: Ref[Any] | None
    host_name: str | None
    step: str | None
    best_effort: bool
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class PreviewCommand:
    """A command of the tree. `after` are keys of parts beside it; parts with the same `choice` are alternatives,
    those with the same `pool` share `at_most` and `stop_on_failure`. `result`: it would have ended already."""

    name: str
    title: str
    key: str
    role: Role
    step: str | None
    begins: Begins
    result: Result | None
    failure: str | None
    after: tuple[str, ...]
    choice: int | None
    pool: int | None
    at_most: int | None
    stop_on_failure: bool
    retry: Retry | None
    no_return: bool
    best_effort: bool
    locks: tuple[PreviewLock, ...]
    parts: tuple["PreviewCommand | PreviewTask", ...]
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen at once, and what only later. `refusals`: it would be refused, or fail before anything
    was sent; then nothing below the command is there. `waits`: for whom it would wait."""

    command: PreviewCommand
    refusals: tuple[str, ...]
    waits: tuple[str, ...]


def preview(world: World, snapshot: Snapshot, submission: Submission, now: int) -> Preview:
    """Raises what accepting a submission raises (InvalidInput, Missing)."""
    flow = Flow(submission.flow_id)
    runner = Runner(world, flow, snapshot, now)
    runner.accept(submission)
    change_set = runner.change_set()
    assert change_set is not None  # an accepted command writes at least its job
    tree = _Tree(flow, snapshot, frozenset(each.command_id for each in change_set.later if isinstance(each, Examine)))
    waits = tuple(event.message for event in flow.events if event.kind in ("lock_waited", "limit_waited"))
    return Preview(tree.command(flow.root), _refusals(flow.root), waits)


def _refusals(root: CommandRecord) -> tuple[str, ...]:
    if root.result is not Result.FAILED and root.failure_json is None:
        return ()
    assert root.failure_json is not None
    failure = Failure.from_json(root.failure_json)
    return tuple(cause.message for cause in failure.causes) or (failure.message,)


class _Tree:
    """Turns the rows of a flow that is not to be stored into what people see."""

    def __init__(self, flow: Flow, snapshot: Snapshot, next_ones: frozenset[UUID]) -> None:
        self._flow = flow
        self._snapshot = snapshot
        self._next = next_ones
        self._waiting = {command_id for command_id, _ in (*flow.tickets, *flow.limit_tickets)}
        self._below: dict[UUID, list[CommandRecord | TaskRecord]] = {}
        rows: list[CommandRecord | TaskRecord] = [*flow.commands.values(), *flow.tasks.values()]
        for row in sorted(rows, key=lambda row: row.position):
            parent = row.parent_id if isinstance(row, CommandRecord) else row.command_id
            if parent is not None:
                self._below.setdefault(parent, []).append(row)
        self._locks: dict[UUID, list[LockRecord | TicketRecord]] = {}
        held: list[LockRecord | TicketRecord] = [*flow.locks.values(), *flow.tickets.values()]
        for lock in held:
            self._locks.setdefault(lock.command_id, []).append(lock)

    def command(self, row: CommandRecord) -> PreviewCommand:
        options = row.options
        before = [self._flow.at(row.plan, position) for position in row.after] if row.parent_id is not None else []
        parts = (
            self.command(each) if isinstance(each, CommandRecord) else self._task(each)
            for each in self._below.get(row.id, ())
        )
        return PreviewCommand(
            row.name, row.title, row.key, row.role, row.step, self._begins(row), row.result,
            None if row.failure_json is None else Failure.from_json(row.failure_json).message,
            tuple(each.key for each in before if each is not None),
            options.choice, options.pool, options.at_most, options.stop_on_failure, options.retry, options.no_return,
            row.best_effort, tuple(map(self._lock, self._locks.get(row.id, ()))), tuple(parts),
            options.timeout_s,
        )  # fmt: skip

    def _begins(self, row: CommandRecord) -> Begins:
        if row.started_at is not None:
            return Begins.AT_ONCE
        if row.state is State.ENDED:
            return Begins.NEVER
        if row.id in self._waiting:
            return Begins.WAITS
        return Begins.NEXT if row.id in self._next else Begins.LATER

    def _task(self, row: TaskRecord) -> PreviewTask:
        name = None if row.host is None else self._name(row.host)
        timeout_s = None if row.deadline_at is None else (row.deadline_at - row.created_at) / 1e6
        return PreviewTask(row.method, row.host, name, row.step, row.best_effort, timeout_s)

    def _lock(self, row: LockRecord | TicketRecord) -> PreviewLock:
        return PreviewLock(row.ref, self._name(row.ref), row.mode, isinstance(row, LockRecord))

    def _name(self, ref: Ref[Any]) -> str | None:
        change = self._flow.entities.get(ref)
        record = change.new if change is not None and change.new is not None else self._snapshot.entity(ref)
        return record.name if isinstance(record, EntityRecord) else None


class Previews:
    """Makes previews in threads, a few at a time. A phase that takes for ever keeps its thread, not who asked."""

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._reading = reading
        self._slots = asyncio.Semaphore(RUNNING_MAX)
        self._asked: set[asyncio.Task[Preview]] = set()

    async def make(self, world: World, submission: Submission, now: int) -> Preview:
        """Raises what `preview` does, and Refused where too many are asked for or its phases take too long."""
        if len(self._asked) >= ASKED_MAX:
            raise Refused(f"{len(self._asked)} previews are asked for already; ask again later")
        asked = asyncio.get_running_loop().create_task(self._make(world, submission, now))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        await asyncio.wait((asked,), timeout=PREVIEW_S_MAX)
        if not asked.done():
            name = submission.command.command_type.name
            raise Refused(f"a preview of {name} took longer than {PREVIEW_S_MAX:g} s; see whether a phase of it hangs")
        return asked.result()

    async def stop(self) -> None:
        """Lets those under way read to their end, for a bounded time."""
        if self._asked:
            await asyncio.wait(self._asked, timeout=PREVIEW_S_MAX)

    async def _make(self, world: World, submission: Submission, now: int) -> Preview:
        def read() -> Preview:
            with self._reading() as connection:
                return preview(world, Snapshot(lambda: connection, world.catalog), submission, now)

        async with self._slots:
            return await asyncio.to_thread(read)
