"""Two thousand states in which a crash could leave the journal: each opens, and tells all that was acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.agent.journal.files import Appender
from interlock.agent.records import Entry
from interlock.sim.forgetful_files import Contents, ForgetfulFiles
from tests.agent.crash_states.histories import ASIDE, History, facts, folded, id_of, journal_on
from tests.agent.crash_states.worlds import KINDS, is_open

HISTORIES = 25
STEPS = 60
STATES = 2_000
NEXT: Entry = {"kind": "terms", "terms": {id_of(1): 1}}


@dataclass(frozen=True)
class State:
    """What a crash left of a history when the disk had done so many operations."""

    kind: str
    history: History
    operations: int
    contents: Contents
    #: The crash came while the journal was written anew.
    is_compacting: bool


def states_of(history: History, number: int) -> list[State]:
    """So many different states, as many of each kind."""
    found: dict[tuple[int, frozenset[tuple[Path, bytes]]], State] = {}
    for kind_number, kind in enumerate(KINDS, start=1):
        wanted = number * kind_number // len(KINDS)
        for _ in range(50 * number):
            if len(found) == wanted:
                break
            operations = history.random.randint(1, len(history.files.history))
            disk = history.files.history[operations - 1]
            if is_open(disk, kind):
                contents = KINDS[kind](disk, history.random)
                state = State(
                    kind, history, operations, contents, is_compacting=any(ASIDE in table for table in disk.tables)
                )
                found.setdefault((operations, frozenset(contents.items())), state)
    return list(found.values())


async def judge(state: State) -> None:
    """What every crash must leave: all that was acknowledged, nothing that was not said, in its order."""
    history = state.history
    acknowledged, written = history.known_after(state.operations)
    files = ForgetfulFiles.after_crash(state.contents)
    journal = journal_on(files)
    entries = journal.open()
    assert journal.damage is None
    assert facts(folded(entries)) in history.facts[acknowledged : written + 1]
    if state.operations >= history.syncs[0].done or history.is_continued:
        assert journal.incarnation == history.journal.incarnation

    files = ForgetfulFiles.after_crash(files.history[-1].least())  # what was read must not vanish again
    again = journal_on(files)
    assert (again.open(), again.incarnation, again.damage) == (entries, journal.incarnation, None)
    again.append(NEXT)
    await again.close()

    files = ForgetfulFiles.after_crash(files.history[-1].least())
    last = journal_on(files)
    assert (last.open(), last.incarnation, last.damage) == ([*entries, NEXT], journal.incarnation, None)


async def lives(number: int) -> AsyncIterator[History]:
    """Histories, every other one upon what a crash has left of the one before."""
    history = None
    for seed in range(number):
        files = ForgetfulFiles()
        if history is not None and not history.is_continued:
            files = ForgetfulFiles.after_crash(KINDS["torn"](history.files.history[-1], history.random))
        history = await History(seed, files).live(STEPS)
        yield history


@pytest.mark.hard_case(8)
async def test_every_state_that_a_crash_can_leave_tells_all_that_was_acknowledged() -> None:
    judged: Counter[str] = Counter()
    compacting = 0
    async for history in lives(HISTORIES):
        for state in states_of(history, STATES // HISTORIES):
            try:
                await judge(state)
            except AssertionError as error:
                error.add_note(f"history {history.seed}, {state.kind} state after operation {state.operations}")
                raise
            judged[state.kind] += 1
            compacting += state.is_compacting
    kinds = ", ".join(f"{number} {kind}" for kind, number in judged.items())
    print(f"journal crash states: {judged.total()} judged ({kinds}; {compacting} while it was written anew)")
    assert judged.total() == STATES
    assert all(judged[kind] >= STATES // len(KINDS) - HISTORIES for kind in KINDS)
    assert compacting >= 100


class WithoutFileFsync(ForgetfulFiles):
    """A disk on which no file's fsync has an effect, as if the journal made none."""

    def append_to(self, path: Path, *, size: int) -> Appender:
        return _NeverSynced(super().append_to(path, size=size))


class WithoutFolderFsync(ForgetfulFiles):
    """A disk on which no folder's fsync has an effect."""

    def fsync_folder(self, path: Path) -> None:
        self._happened()


@dataclass
class _NeverSynced:
    file: Appender

    def write(self, data: bytes) -> None:
        self.file.write(data)

    def fsync(self) -> None:
        pass

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("files", [WithoutFileFsync, WithoutFolderFsync])
async def test_a_journal_that_left_out_an_fsync_would_be_found_out(files: type[ForgetfulFiles]) -> None:
    history = await History(0, files()).live(STEPS)
    with pytest.raises(AssertionError):
        for state in states_of(history, 30):
            await judge(state)
