"""A journal that lost what had been durable: said aloud, kept aside, and nothing that may be wrong is said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import pytest
from structlog.testing import capture_logs

from interlock.agent.journal.journal import Journal
from interlock.agent.journal.leavings import may_have_left
from interlock.agent.journal.ledger import Ledger
from interlock.agent.records import Entry, HostTask
from interlock.agent.task_machine import Inner
from interlock.ids import new_id
from interlock.sim.forgetful_files import Contents, ForgetfulFiles
from interlock.verbs import Code
from tests.agent.crash_states import damages
from tests.agent.crash_states.histories import FILE, FOLDER, MARK, History, facts, folded, id_of, journal_on
from tests.agent.crash_states.worlds import KINDS as CRASHES

HISTORIES = 10
STEPS = 60
STATES = 700
TRIES_MAX = 1_000
SECOND_CRASHES = 300
NEXT: Entry = {"kind": "terms", "terms": {id_of(1): 1}}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hundreds of damaged journals are hundreds of log lines."""
    with capture_logs():
        yield


class Life:
    """A history that ended in good order, and everything that was ever true in it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.random = history.random
        self.contents = history.files.history[-1].most()
        tasks = [HostTask.from_entry(entry) for entry in history.said if entry["kind"] == "task"]
        #: Every record of a task that was done; nothing here reverts one.
        self.ends = {task.id: task for task in tasks if task.state.is_done}
        self.task_ids = {task.id for task in tasks}
        self.forbidden_ids = {id for entry in history.said if entry["kind"] == "forbidden" for id in entry["terms"]}
        self.highest_terms: dict[str, int] = {}
        for entry in history.said:
            self.highest_terms |= entry["terms"] if entry["kind"] == "terms" else {}

    def damaged(self, number: int) -> list[Damaged]:
        """So many different states of the disk after damage, as many of each kind as of any other."""
        sound = self.contents[FILE]
        older = [disk.least().get(FILE, b"") for disk in self.history.files.history]

        def an_older_one(_: bytes, random: Random) -> bytes:
            return random.choice(older)

        kinds = {**damages.KINDS, "older": an_older_one}
        found: dict[bytes, Damaged] = {}
        for kind_number, (kind, damage) in enumerate(kinds.items(), start=1):
            for _ in range(TRIES_MAX):  # there may be fewer different ones of a kind
                if len(found) >= number * kind_number // len(kinds):
                    break
                data = damage(sound, self.random)
                if data != sound:
                    found.setdefault(data, Damaged(kind, self, {**self.contents, FILE: data}))
        return list(found.values())


@dataclass(frozen=True)
class Damaged:
    """The disk after a life, with a journal that is not as it was."""

    kind: str
    life: Life
    contents: Contents

    async def judge(self, contents: Contents) -> bool:
        """Opens the journal on this disk and checks what it says; returns whether it reports damage."""
        files = ForgetfulFiles.after_crash(contents)
        journal = journal_on(files)
        entries = journal.open()
        if journal.damage is None:  # then nothing is missing
            assert facts(folded(entries)) == self.life.history.facts[-1]
            assert journal.incarnation == self.life.history.journal.incarnation
        else:
            self._check(entries, journal)
            assert files.read(FOLDER / (journal.damage.kept_as or "")) == self.contents[FILE]
        await _goes_on(files, journal, entries)
        return journal.damage is not None

    def _check(self, entries: list[Entry], journal: Journal) -> None:
        assert journal.damage is not None
        old = self.life.history.journal.incarnation
        assert journal.incarnation != old
        assert journal.damage.former_incarnation in (old, None)
        ledger = Ledger()
        for entry in entries:
            ledger.apply(entry)
        failed = [task for task in ledger.tasks.values() if task != self.life.ends.get(task.id)]
        assert (set(journal.damage.failed), journal.damage.failed_count) == ({task.id for task in failed}, len(failed))
        for task in failed:
            _check_failed(task)
        for task_id in self.life.task_ids | self.life.forbidden_ids:
            is_used_up = task_id in ledger.closed and ledger.closed[task_id] is None
            is_refused = task_id not in ledger.closed and ledger.is_too_old(task_id)
            assert task_id in ledger.tasks or is_used_up or is_refused
        for flow, term in self.life.highest_terms.items():
            assert ledger.highest_term(flow) == term or ledger.is_flow_too_old(flow)
        fresh = str(new_id())
        assert not ledger.is_too_old(fresh)
        assert not ledger.is_flow_too_old(fresh)


def _check_failed(task: HostTask) -> None:
    status = task.status(progress=None, incarnation=None)
    assert (task.state, status.taskResult, status.code) == (Inner.FAILED, "cleanFailure", Code.JOURNAL_DAMAGED)
    assert task.failure is not None
    assert task.failure.is_unclean
    assert may_have_left(task) in status.message


async def _goes_on(files: ForgetfulFiles, journal: Journal, entries: list[Entry]) -> None:
    """Opened again the journal says the same, and it takes entries."""
    again = journal_on(ForgetfulFiles.after_crash(files.history[-1].least()))
    assert facts(folded(again.open())) == facts(folded(entries))
    assert (again.incarnation, again.damage) == (journal.incarnation, journal.damage)
    journal.append(NEXT)
    await journal.close()
    last = journal_on(ForgetfulFiles.after_crash(files.history[-1].least()))
    assert facts(folded(last.open())) == facts(folded([*entries, NEXT]))
    assert (last.incarnation, last.damage) == (journal.incarnation, journal.damage)


async def lives() -> AsyncIterator[Life]:
    for seed in range(HISTORIES):
        yield Life(await History(seed, ForgetfulFiles()).live(STEPS))


async def test_whatever_was_lost_is_reported_and_nothing_is_claimed_that_may_be_wrong() -> None:
    judged: Counter[str] = Counter()
    async for life in lives():
        for state in life.damaged(STATES // HISTORIES):
            with noted(state):
                is_reported = await state.judge(state.contents)
            judged[f"{state.kind}, {'reported' if is_reported else 'nothing missing'}"] += 1
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(judged.items()))
    print(f"damaged journals: {judged.total()} judged ({kinds})")
    assert judged.total() == STATES
    assert sum(number for kind, number in judged.items() if "nothing" in kind) < STATES // 20


async def test_a_crash_while_a_damaged_journal_is_put_right_loses_nothing_more() -> None:
    judged: Counter[bool] = Counter()
    async for life in lives():
        for state in life.damaged(SECOND_CRASHES // HISTORIES):
            files = ForgetfulFiles.after_crash(state.contents)
            is_damaged = (journal := journal_on(files)).open() and journal.damage is not None
            for disk in life.random.sample(files.history, min(3, len(files.history))) if is_damaged else []:
                contents = life.random.choice(list(CRASHES.values()))(disk, life.random)
                with noted(state):
                    assert await state.judge(contents)
                judged[contents[FILE] == state.contents[FILE]] += 1
    print(f"second crashes: {judged.total()} judged ({judged[True]} before the new journal, {judged[False]} after)")
    assert min(judged[True], judged[False]) >= 50


@contextmanager
def noted(state: Damaged) -> Iterator[None]:
    """Says which state an assertion is about."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"history {state.life.history.seed}, {state.kind}")
        raise


async def test_a_mark_that_cannot_be_read_is_no_damage() -> None:
    life = await anext(lives())
    for contents in ({**life.contents, MARK: b"torn"}, {**life.contents, MARK: life.contents[FILE]}):
        journal = journal_on(ForgetfulFiles.after_crash(contents))
        assert facts(folded(journal.open())) == life.history.facts[-1]
        assert (journal.damage, journal.incarnation) == (None, life.history.journal.incarnation)


async def test_a_journal_that_is_gone_is_damage_too() -> None:
    life = await anext(lives())
    files = ForgetfulFiles.after_crash({MARK: life.contents[MARK]})
    journal = journal_on(files)
    ledger = folded(journal.open())
    assert (ledger.tasks, dict(ledger.closed), ledger.terms) == ({}, {}, {})
    assert all(ledger.is_too_old(id) for id in life.task_ids)
    old = life.history.journal.incarnation
    assert journal.damage is not None
    assert (journal.damage.kept_as, journal.damage.at_byte, journal.damage.former_incarnation) == (None, 0, old)
    assert files.names(FOLDER) == ["journal", "journal.mark"]
