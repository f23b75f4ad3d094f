"""What travels between the engine's loop, its workers and the writer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection

from interlock.coordinator.accepting import Submission
from interlock.coordinator.runner import ChangeSet
from interlock.core.facts import Fact
from interlock.core.flow import Flow

#: writes that are not the consequence of a fact: a claim, or the engine's own complaint about a flow
Errand = Callable[[Flow], None]


@dataclass
class Slot:
    """A flow in memory. It has one run at a time; facts that come meanwhile wait in the mailbox."""

    flow: Flow
    mailbox: list[Fact] = field(default_factory=list)
    busy: bool = False
    conflicts: int = 0
    submission: Submission | None = None
    accepted: "asyncio.Future[UUID] | None" = None
    errands: list[tuple[Errand, "asyncio.Future[None] | None"]] = field(default_factory=list)
    #: the errand in hand is the claim, after whose commit the flow goes on
    claiming: bool = False


@dataclass
class Work:
    """One run of a flow. `run` makes (again) its change set over a connection, None where nothing changed."""

    slot: Slot
    facts: list[Fact]
    run: Callable[[Connection], ChangeSet | None]
    change_set: ChangeSet | None = None
    #: run by the writer itself, inside its transaction
    in_writer: bool = False


@dataclass
class Outcome:
    """How a batch ended: what is stored, what must run anew, what failed for good and why."""

    committed: list[Work] = field(default_factory=list)
    conflicted: list[Work] = field(default_factory=list)
    failed: list[tuple[Work, Exception]] = field(default_factory=list)
