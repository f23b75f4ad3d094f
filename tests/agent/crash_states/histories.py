"""Random but repeatable lives of a real task table: what was said, what was acknowledged, what lay on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from interlock.agent.journal.journal import Journal
from interlock.agent.journal.ledger import Ledger
from interlock.agent.records import Entry, Failure, HostTask
from interlock.agent.task_machine import MOVES, Inner
from interlock.agent.tasks.table import TaskTable
from interlock.sim.forgetful_files import ForgetfulFiles
from interlock.verbs import Code

FOLDER = Path("/state")
FILE = FOLDER / "journal"
ASIDE = FOLDER / "journal.new"
MARK = FOLDER / "journal.mark"
#: Small enough that a history of some dozens of steps compacts its journal more than once.
COMPACT_BYTES_MIN = 6_000
TASKS_MAX = 6


class Died(BaseException):
    """Stands for the end of the process."""


def die(reason: str) -> NoReturn:
    raise Died(reason)


def small_ledger() -> Ledger:
    """A ledger that forgets within a history."""
    return Ledger(closed_max=5, flows_max=4)


def journal_on(files: ForgetfulFiles) -> Journal:
    """An agent's journal, not opened yet; too small to be compacted."""
    return Journal(FOLDER, files, die=die)


Facts = tuple[object, ...]


def facts(ledger: Ledger) -> Facts:
    """All that a ledger says, as it is now."""
    return (dict(ledger.tasks), dict(ledger.closed), ledger.low_water, dict(ledger.terms), ledger.flow_low_water)


def folded(entries: list[Entry]) -> Ledger:
    """What entries add up to."""
    ledger = small_ledger()
    for entry in entries:
        ledger.apply(entry)
    return ledger


@dataclass(frozen=True)
class Sync:
    """One acknowledgement: between these operations on the disk, so many entries became durable."""

    begun: int
    done: int
    entries: int


class History:
    """One life of an agent upon `files`, from an opened journal on."""

    def __init__(self, seed: int, files: ForgetfulFiles) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.files = files
        #: Whether there was a journal before.
        self.is_continued = files.read(FILE) is not None
        ledger = small_ledger()
        self.journal = _Noting(ledger, files)
        self.table = TaskTable(self.journal, ledger, is_stock=False, publish=lambda _: None)
        self.table.load()
        self._facts_at_first = facts(ledger)
        self.syncs = [Sync(0, len(files.history), 0)]
        self._ids = count(seed << 20)
        self._flows = [self._new_id() for _ in range(6)]

    @property
    def said(self) -> list[Entry]:
        """Every entry since the journal was opened."""
        return self.journal.said

    @property
    def facts(self) -> list[Facts]:
        """What the ledger said before the first entry, after it, after the second, …"""
        return [self._facts_at_first, *self.journal.facts]

    async def live(self, steps: int) -> History:
        """Does random things, and waits for the journal now and then."""
        for _ in range(steps):
            self._do_something()
            if self.random.random() < 0.5:
                await self.sync()
        await self.sync()
        return self

    async def sync(self) -> None:
        """Waits for the journal."""
        begun = len(self.files.history)
        await self.table.sync()
        self.syncs.append(Sync(begun, len(self.files.history), len(self.said)))

    def known_after(self, operations: int) -> tuple[int, int]:
        """How many entries were acknowledged, and how many written, when the disk had done so many operations."""
        acknowledged = max((sync.entries for sync in self.syncs if sync.done <= operations), default=0)
        written = max((sync.entries for sync in self.syncs if sync.begun < operations), default=0)
        return acknowledged, written

    def _do_something(self) -> None:
        tasks = list(self.table.ledger.tasks.values())
        done = [task for task in tasks if task.state.is_done]
        going = [task for task in tasks if not task.state.is_done]
        choices = [self._note_term, self._forbid]
        choices += [self._start] * 3 if len(tasks) < TASKS_MAX else []
        choices += [lambda: self._carry_on(self.random.choice(going))] * 8 if going else []
        choices += [lambda: self._remove(self.random.choice(done))] * 3 if done else []
        self.random.choice(choices)()

    def _start(self) -> None:
        flow = self._flow()
        closed = self.table.ledger.closed
        task_id = self.random.choice([self._new_id(), *(id for id, term in closed.items() if term is not None)])
        term = max(self.table.ledger.highest_term(flow) or 0, closed.get(task_id) or 0)
        self.table.note_term(flow, term)
        self.table.add(HostTask(task_id, *self._call(), flow=flow, term=term, is_kept=self.random.random() < 0.8))

    def _call(self) -> tuple[str, Mapping[str, Any]]:
        here = {"storagepoolID": self._new_id(), "storagedomainID": self._new_id(), "imageID": self._new_id()}
        there = {"dstSdUUID": self._new_id(), "dstImgUUID": self._new_id(), "dstVolUUID": self._new_id()}
        calls: list[tuple[str, Mapping[str, Any]]] = [
            ("Image.delete", {**here, "force": False}),
            ("Volume.create", {**here, "volumeID": self._new_id(), "size": 1 << 20}),
            ("Volume.copy", {**here, "volumeID": self._new_id(), **there, "desc": "d" * self.random.randrange(400)}),
        ]
        return self.random.choice(calls)

    def _carry_on(self, task: HostTask) -> None:
        targets = [target for source, target in MOVES if source is task.state and task.state is not target]
        if not targets or self.random.random() < 0.3:
            self.table.change(task.id, steps_done=task.steps_done + 1, is_begun=not task.is_begun)
            return
        target = self.random.choice(targets)
        failure = Failure(int(Code.ABORTED), "stopped") if target is Inner.ABORTING else task.failure
        self.table.move(task.id, target, failure=failure)

    def _remove(self, task: HostTask) -> None:
        self.table.remove(task.id, is_remembered=task.is_kept)

    def _note_term(self) -> None:
        flow = self._flow()
        self.table.note_term(flow, (self.table.ledger.highest_term(flow) or 0) + 1)

    def _flow(self) -> str:
        """A flow whose calls are not refused."""
        place = self.random.randrange(len(self._flows))
        if self.table.ledger.is_flow_too_old(self._flows[place]):
            self._flows[place] = self._new_id()
        return self._flows[place]

    def _forbid(self) -> None:
        self.table.forbid_unless_closed(self._new_id(), self.random.randrange(5))

    def _new_id(self) -> str:
        return id_of(next(self._ids))


class _Noting(Journal):
    """A journal that remembers what was said to it, and what its ledger said after each entry."""

    def __init__(self, ledger: Ledger, files: ForgetfulFiles) -> None:
        super().__init__(FOLDER, files, die=die, compact_bytes_min=COMPACT_BYTES_MIN)
        self._ledger = ledger
        self.said: list[Entry] = []
        self.facts: list[Facts] = []

    def append(self, entry: Entry) -> None:
        super().append(entry)
        self.said.append(entry)
        self.facts.append(facts(self._ledger))


def id_of(number: int) -> str:
    """A time-ordered id, the same whenever the tests run."""
    return f"0190a0b0-0000-7000-8000-{number:012x}"
