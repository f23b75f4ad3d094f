"""The journal: what was acknowledged survives every crash, and damage is told from a crash."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from interlock.agent.journal.damage import KEPT_MAX, Damage
from interlock.agent.journal.files import RealFiles
from interlock.agent.journal.format import VERSION, OtherVersion, encode
from interlock.agent.journal.journal import Journal
from interlock.agent.journal.ledger import Ledger
from interlock.agent.records import Entry, HostTask
from interlock.agent.task_machine import Inner
from interlock.agent.tasks.table import TaskTable
from interlock.ids import new_id
from interlock.sim.forgetful_files import Contents, ForgetfulFiles, Views

FOLDER = Path("/state")
FILE = FOLDER / "journal"
MARK = FOLDER / "journal.mark"


class Died(BaseException):
    """Stands for the end of the process."""


def die(reason: str) -> NoReturn:
    raise Died(reason)


def entry(number: int) -> Entry:
    return {"kind": "terms", "terms": {"flow": number}}


def _entries(contents: Contents) -> list[Entry]:
    return Journal(FOLDER, ForgetfulFiles.after_crash(contents), die=die).open()


async def filled(files: ForgetfulFiles, batches: list[int]) -> list[tuple[int, int]]:
    """Appends entries 0, 1, … in batches; returns (operations done, entries acknowledged) after each."""
    journal = Journal(FOLDER, files, die=die)
    journal.open()
    acknowledged = [(len(files.history), 0)]
    number = 0
    for size in batches:
        for _ in range(size):
            journal.append(entry(number))
            number += 1
        await journal.sync()
        acknowledged.append((len(files.history), number))
    await journal.close()
    return acknowledged


def known_at(operations: int, acknowledged: list[tuple[int, int]]) -> int:
    return max((count for done, count in acknowledged if done <= operations), default=0)


async def test_every_acknowledged_entry_survives_a_crash_after_every_operation() -> None:
    files = ForgetfulFiles()
    acknowledged = await filled(files, [1, 3, 1, 2])
    first_answer = acknowledged[0][0]
    for operations, disk in enumerate(files.history, start=1):
        for view in Views:
            found = _entries(view(disk))
            assert found == [entry(number) for number in range(len(found))]
            assert operations < first_answer or len(found) >= known_at(operations, acknowledged)


async def test_every_acknowledged_entry_survives_a_crash_in_the_middle_of_compaction() -> None:
    files = ForgetfulFiles()
    journal = Journal(FOLDER, files, die=die, compact_bytes_min=300)
    journal.open()
    journal.compact_from(lambda: [entry(latest)])
    acknowledged = []
    for latest in range(12):
        journal.append(entry(latest))
        await journal.sync()
        acknowledged.append((len(files.history), latest))
    await journal.close()
    assert any(FOLDER / "journal.new" in disk.most() for disk in files.history[3:])  # it was compacted
    for operations, disk in enumerate(files.history, start=1):
        for view in Views:
            found = _entries(view(disk))
            known = [latest for done, latest in acknowledged if done <= operations]
            assert not known or found[-1]["terms"]["flow"] >= known[-1]


async def test_the_journal_stays_small_when_little_is_worth_knowing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RealFiles(), die=die, compact_bytes_min=1000)
    journal.open()
    journal.compact_from(lambda: [entry(0)])
    for number in range(500):
        journal.append(entry(number))
        await journal.sync()
        assert journal.size_bytes < 1200
    await journal.close()
    assert (tmp_path / "journal").stat().st_size == journal.size_bytes


async def test_an_endless_run_of_tasks_leaves_a_journal_of_bounded_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RealFiles(), die=die, compact_bytes_min=4_000)
    table = TaskTable(journal, Ledger(closed_max=10, flows_max=5), is_stock=False, publish=lambda _: None)
    table.load()
    going: deque[str] = deque()
    for _ in range(300):
        task_id, flow = str(new_id()), str(new_id())
        table.note_term(flow, 1)
        table.add(HostTask(task_id, "Image.delete", {"imageID": flow}, flow=flow, term=1))
        await table.sync()
        going.append(task_id)
        if len(going) > 3:
            over = going.popleft()
            for state in (Inner.PREPARING, Inner.FINISHED):
                table.move(over, state)
            table.remove(over, is_remembered=True)
        await table.sync()
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8_000
    assert len(table.ledger.tasks) == 3
    await journal.close()


async def test_a_journal_that_is_opened_again_and_again_stays_small_too() -> None:
    files, sizes = ForgetfulFiles(), list[int]()
    for _ in range(30):
        journal = Journal(FOLDER, files, die=die, compact_bytes_min=10_000)
        journal.open()
        journal.compact_from(lambda: [entry(0)])
        for number in range(30):
            journal.append(entry(number))
            await journal.sync()
        await journal.close()
        sizes.append(journal.size_bytes)
    assert max(sizes) < 20_000


async def test_a_reopened_journal_keeps_its_incarnation_and_grows_on(tmp_path: Path) -> None:
    incarnations = set()
    for round_ in range(3):
        journal = Journal(tmp_path, RealFiles(), die=die)
        assert journal.open() == [entry(number) for number in range(round_)]
        incarnations.add(journal.incarnation)
        journal.append(entry(round_))
        await journal.close()
    assert len(incarnations) == 1


@pytest.mark.hard_case(3)
async def test_a_lost_journal_is_another_incarnation(tmp_path: Path) -> None:
    incarnations = []
    for _ in range(2):
        journal = Journal(tmp_path, RealFiles(), die=die)
        assert journal.open() == []
        incarnations.append(journal.incarnation)
        await journal.close()
        for name in ("journal", "journal.mark"):
            (tmp_path / name).unlink()
    assert incarnations[0] != incarnations[1]


async def test_a_tail_torn_at_any_byte_is_cut_and_the_journal_goes_on() -> None:
    files = ForgetfulFiles()
    acknowledged = await filled(files, [1, 1])
    whole = files.history[-1].most()[FILE]
    two_ago = files.history[acknowledged[1][0] - 1].most()[FILE]
    for size in range(len(two_ago), len(whole)):
        torn = ForgetfulFiles.after_crash({FILE: whole[:size]})
        journal = Journal(FOLDER, torn, die=die)
        assert journal.open() == [entry(0)]
        journal.append(entry(7))
        await journal.close()
        assert _entries(torn.history[-1].least()) == [entry(0), entry(7)]


def damage_of(contents: Contents) -> Damage | None:
    journal = Journal(FOLDER, ForgetfulFiles.after_crash(contents), die=die)
    journal.open()
    return journal.damage


async def test_a_broken_record_in_the_middle_is_reported_and_begins_another_incarnation() -> None:
    files = ForgetfulFiles()
    await filled(files, [1, 1, 1])
    data = bytearray(files.history[-1].most()[FILE])
    broken = data.index(b'"flow":1')
    data[broken + 7] ^= 1
    journal = Journal(FOLDER, ForgetfulFiles.after_crash({FILE: bytes(data)}), die=die)
    with capture_logs() as logs:
        *_, terms = journal.open()
    assert terms == entry(2)
    damage = Damage(
        kept_as="journal.damaged-1",
        at_byte=data.rindex(b"ILJ1", 0, broken),
        lost=((2, 2),),
        failed=(),
        failed_count=0,
        former_incarnation=incarnation_in(files),
    )
    assert journal.damage == damage
    said = {"journal": "/state/journal", "incarnation": journal.incarnation, **asdict(damage)}
    assert logs == [{"event": "journal_damaged", "log_level": "error", **said}]
    assert journal.incarnation != damage.former_incarnation


def incarnation_in(files: ForgetfulFiles) -> str:
    journal = Journal(FOLDER, ForgetfulFiles.after_crash(files.history[-1].least()), die=die)
    journal.open()
    return journal.incarnation


async def test_what_was_lost_is_told_as_long_as_the_incarnation_lives() -> None:
    files = ForgetfulFiles()
    await filled(files, [1, 1])
    files = ForgetfulFiles.after_crash({FILE: b"", MARK: files.history[-1].most()[MARK]})
    journal = Journal(FOLDER, files, die=die, compact_bytes_min=0)
    journal.open()
    for number in range(20):
        journal.append(entry(number))
        await journal.sync()
    await journal.close()
    assert journal.damage is not None
    assert damage_of(files.history[-1].least()) == journal.damage


async def test_of_many_damaged_files_the_newest_are_kept() -> None:
    found: Contents = {}
    contents = []
    for number in range(KEPT_MAX + 2):
        contents.append(b"no journal" + bytes([number]))
        files = ForgetfulFiles.after_crash({**found, FILE: contents[-1]})
        Journal(FOLDER, files, die=die).open()
        found = files.history[-1].least()
    kept = {path.name: data for path, data in found.items() if "damaged" in path.name}
    newest = range(3, KEPT_MAX + 3)
    assert kept == {f"journal.damaged-{number}": contents[number - 1] for number in newest}


async def test_a_copy_of_an_older_journal_is_not_taken_for_the_last_one() -> None:
    files = ForgetfulFiles()
    acknowledged = await filled(files, [2, 3])
    older = files.history[acknowledged[1][0] - 1].most()[FILE]
    damage = damage_of({FILE: older, MARK: files.history[-1].most()[MARK]})
    assert damage is not None
    assert damage.lost == ((3, 5),)


async def test_a_loss_at_the_very_end_is_seen_by_the_mark_only() -> None:
    files = ForgetfulFiles()
    await filled(files, [1, 3])
    data = bytearray(files.history[-1].most()[FILE])
    data[data.index(b'"flow":1') + 7] ^= 1
    assert _entries({FILE: bytes(data)}) == [entry(0)]  # so does a batch look whose pages came to disk out of order
    damage = damage_of({FILE: bytes(data), MARK: files.history[-1].most()[MARK]})
    assert damage is not None
    assert damage.lost == ((2, 2),)


async def test_a_journal_written_anew_that_lost_its_end_is_damaged() -> None:
    born: Entry = {"kind": "journal", "version": VERSION, "incarnation": "i", "entries": 2}
    damage = damage_of({FILE: encode(7, 0, born) + encode(8, 0, entry(0))})
    assert damage is not None
    assert (damage.lost, damage.former_incarnation) == (((9, 9),), "i")


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", b"\0" * 100, encode(0, 0, {"kind": "mark"})],
    ids=["empty", "garbage", "zeros", "another file's"],
)
def test_a_file_that_is_no_journal_is_damaged_from_its_beginning(data: bytes) -> None:
    damage = damage_of({FILE: data})
    assert damage is not None
    assert (damage.at_byte, damage.lost, damage.former_incarnation) == (0, ((0, 0),), None)


@pytest.mark.parametrize("data", [b"", b"garbage"], ids=["sound", "damaged"])
def test_a_journal_of_another_version_is_left_alone(data: bytes) -> None:
    born: Entry = {"kind": "journal", "version": VERSION + 1, "incarnation": "i", "entries": 0}
    files = ForgetfulFiles.after_crash({FILE: data + encode(0, 0, born)})
    with pytest.raises(OtherVersion, match=rf"version {VERSION + 1}; this agent reads version {VERSION}"):
        Journal(FOLDER, files, die=die).open()
    assert files.history == []


def test_a_journal_of_the_first_version_is_read() -> None:
    born: Entry = {"kind": "journal", "version": 1, "incarnation": "i", "entries": 1}
    journal = Journal(FOLDER, ForgetfulFiles.after_crash({FILE: encode(0, 0, born) + encode(1, 0, entry(0))}), die=die)
    assert (journal.open(), journal.incarnation, journal.damage) == ([entry(0)], "i", None)


def test_pages_that_the_disk_cannot_read_are_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"a" * 4096 + b"b" * 4096 + b"c" * 100
    (tmp_path / "journal").write_bytes(data)

    def bad_disk(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    def bad_page(descriptor: int, length: int, offset: int) -> bytes:
        return bad_disk() if offset == 4096 else read_well(descriptor, length, offset)

    read_well = os.pread
    monkeypatch.setattr(Path, "read_bytes", bad_disk)
    monkeypatch.setattr(os, "pread", bad_page)
    assert RealFiles().read(tmp_path / "journal") == b"a" * 4096 + bytes(4096) + b"c" * 100


async def test_callers_that_wait_at_the_same_time_share_one_fsync() -> None:
    files = ForgetfulFiles()
    journal = Journal(FOLDER, files, die=die)
    journal.open()
    before = len(files.history)

    async def caller(number: int) -> None:
        journal.append(entry(number))
        await journal.sync()

    await asyncio.gather(*(caller(number) for number in range(100)))
    assert len(files.history) - before == 6  # the first goes at once; a write, an fsync and a mark for the other 99
    await journal.close()
    assert len(_entries(files.history[-1].least())) == 100


async def test_a_caller_that_gives_up_takes_nothing_from_the_others() -> None:
    files = ForgetfulFiles()
    journal = Journal(FOLDER, files, die=die)
    journal.open()
    journal.append(entry(0))
    impatient = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)
    impatient.cancel()
    journal.append(entry(1))
    await journal.sync()
    assert _entries(files.history[-1].least()) == [entry(0), entry(1)]
    await journal.close()


@pytest.mark.hard_case(8)
async def test_a_failed_fsync_ends_the_process_before_any_answer() -> None:
    reasons: list[str] = []

    def note(reason: str) -> NoReturn:
        reasons.append(reason)
        raise OSError(reason)

    files = ForgetfulFiles()
    journal = Journal(FOLDER, files, die=note)
    journal.open()
    files.fail_fsync = True
    journal.append(entry(0))
    with pytest.raises(OSError, match="the journal /state/journal cannot be written"):
        await journal.sync()
    assert reasons == ["the journal /state/journal cannot be written: [Errno 5] Input/output error"]


def test_a_disk_that_lost_everything_gives_a_new_journal() -> None:
    journal = Journal(FOLDER, ForgetfulFiles(), die=die)
    assert (journal.open(), journal.damage) == ([], None)
