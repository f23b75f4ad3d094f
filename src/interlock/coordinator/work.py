"""What travels between the engine's loop, its workers and the writer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from sqlalchemy import Connection

from interlock.coordinator.accepting import Submission
from interlock.coordinator.change_set import ChangeSet
from interlock.coordinator.snapshot import Snapshot
from interlock.core.facts import Fact
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.records import JobRecord, TaskRecord
from interlock.model.states import TaskState

#: writes that are not the consequence of a fact: a claim, or the engine's own complaint about a flow
Errand = Callable[[Flow], None]


@dataclass(frozen=True)
class Asked:
    """An errand with who waits for its commit. After that of one that `resumes` the flow goes on."""

    errand: Errand
    done: "asyncio.Future[None] | None" = None
    resumes: bool = False


@dataclass(frozen=True)
class Outside:
    """A write that belongs to no flow under way: a signal, what a monitor was told, several flows at once. `make`
    may be called again, after a conflict."""

    make: Callable[[Snapshot, int], ChangeSet | None]
    done: "asyncio.Future[None]"


@dataclass
class Slot:
    """A flow in memory. It has one run at a time; facts that come meanwhile wait in the mailbox."""

    flow: Flow
    mailbox: list[Fact] = field(default_factory=list)
    busy: bool = False
    conflicts: int = 0
    submission: Submission | None = None
    accepted: "asyncio.Future[UUID] | None" = None
    errands: list["Asked"] = field(default_factory=list)
    outside: Outside | None = None
    #: waits that are to be looked at
    looks: dict[Fact, None] = field(default_factory=dict)
    #: reads the flow's rows, in the first run, where they were not in memory
    load: Callable[[Connection], Flow] | None = None
    #: taken over from an engine that died: each run is counted beforehand, and no other such flow runs meanwhile
    suspect: bool = False
    #: one fact at a time, after a run of several raised
    careful: bool = False
    #: whether its tasks are in the care of this engine: not those of a flow that was taken over and parked at once
    is_taken_up: bool = False
    #: facts at which a run raised, kept for when a person has it tried again
    kept: dict[Fact, None] = field(default_factory=dict)
    #: tasks whose clearing failed before and is tried once more
    clearing: set[UUID] = field(default_factory=set)

    @property
    def is_due(self) -> bool:
        """Whether there is something to run."""
        return bool(self.mailbox or self.looks or self.submission or self.errands or self.outside)

    def take(self, count: int) -> list[Fact]:
        """The next facts, at most so many; waits are looked at last, each once."""
        facts, self.mailbox = self.mailbox[:count], self.mailbox[count:]
        looks = list(islice(self.looks, count - len(facts)))
        for fact in looks:
            del self.looks[fact]
        return facts + looks


@dataclass
class Work:
    """One run of a flow. `run` makes (again) its change set over a connection, None where nothing changed."""

    slot: Slot
    facts: list[Fact]
    #: what this run is for, chosen when it is scheduled: an errand runs alone, others wait their turn
    asked: Asked | None
    run: Callable[[Connection], ChangeSet | None]
    change_set: ChangeSet | None = None
    #: run by the writer itself, inside its transaction
    in_writer: bool = False


@dataclass
class Outcome:
    """How a batch ended: what is stored, what must run anew, what failed for good and why."""

    committed: list[Work] = field(default_factory=list)
    conflicted: list[Work] = field(default_factory=list)
    failed: list[tuple[Work, BaseException]] = field(default_factory=list)


def wants_action(change: Change) -> bool:
    """Whether a stored task is new, bound, answered, to be stopped, or ended: there is something to do about it."""
    old, new = change.old, change.new
    assert isinstance(new, TaskRecord)
    if new.state in (TaskState.CLEARED, TaskState.CLEAR_FAILED):
        return False
    return not isinstance(old, TaskRecord) or _what_counts(old) != _what_counts(new)


def _what_counts(task: TaskRecord) -> tuple[object, ...]:
    return task.state, task.incarnation, task.stopping


def moves_in_line(change: Change) -> bool:
    """Whether a stored job has another priority than it had."""
    old, new = change.old, change.new
    return isinstance(old, JobRecord) and isinstance(new, JobRecord) and old.priority != new.priority


def never_sent(change: Change) -> bool:
    """Whether the task was named, or bound to a host's journal, by this very change: nobody can have sent it."""
    return not isinstance(change.old, TaskRecord) or change.old.incarnation is None
