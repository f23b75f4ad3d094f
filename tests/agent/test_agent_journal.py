"""The journal: what was acknowledged survives every crash, and damage is told from a crash."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest

from interlock.agent.files import RealFiles
from interlock.agent.journal import Journal
from interlock.agent.journal_format import Entry, JournalDamaged, encode
from tests.agent.forgetful_files import Disk, ForgetfulFiles, Views

FOLDER = Path("/state")
FILE = FOLDER / "journal"


class Died(BaseException):
    """Stands for the end of the process."""


def die(reason: str) -> NoReturn:
    raise Died(reason)


def entry(number: int) -> Entry:
    return {"kind": "terms", "terms": {"flow": number}}


def _entries(contents: dict[Path, bytes]) -> list[Entry]:
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
    assert any(FOLDER / "journal.new" in disk.most for disk in files.history[3:])  # it was compacted
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


async def test_a_reopened_journal_keeps_its_incarnation_and_grows_on(tmp_path: Path) -> None:
    incarnations = set()
    for round_ in range(3):
        journal = Journal(tmp_path, RealFiles(), die=die)
        assert journal.open() == [entry(number) for number in range(round_)]
        incarnations.add(journal.incarnation)
        journal.append(entry(round_))
        await journal.close()
    assert len(incarnations) == 1


async def test_a_lost_journal_is_another_incarnation(tmp_path: Path) -> None:
    incarnations = []
    for _ in range(2):
        journal = Journal(tmp_path, RealFiles(), die=die)
        assert journal.open() == []
        incarnations.append(journal.incarnation)
        await journal.close()
        (tmp_path / "journal").unlink()
    assert incarnations[0] != incarnations[1]


async def test_a_tail_torn_at_any_byte_is_cut_and_the_journal_goes_on() -> None:
    files = ForgetfulFiles()
    acknowledged = await filled(files, [1, 1])
    whole = files.history[-1].most[FILE]
    two_ago = files.history[acknowledged[1][0] - 1].most[FILE]
    for size in range(len(two_ago), len(whole)):
        torn = ForgetfulFiles.after_crash({FILE: whole[:size]})
        journal = Journal(FOLDER, torn, die=die)
        assert journal.open() == [entry(0)]
        journal.append(entry(7))
        await journal.close()
        assert _entries(torn.history[-1].least) == [entry(0), entry(7)]


async def test_a_broken_record_in_the_middle_is_refused_with_the_remedy() -> None:
    files = ForgetfulFiles()
    await filled(files, [1, 1, 1])
    data = bytearray(files.history[-1].most[FILE])
    data[data.index(b'"flow":1') + 7] ^= 1
    with pytest.raises(JournalDamaged, match=r"record 2 at byte \d+ cannot be read.*Restore the file"):
        _entries({FILE: bytes(data)})


async def test_a_batch_whose_pages_came_to_disk_out_of_order_is_a_torn_tail() -> None:
    files = ForgetfulFiles()
    await filled(files, [1, 3])
    data = bytearray(files.history[-1].most[FILE])
    data[data.index(b'"flow":1') + 7] ^= 1
    assert _entries({FILE: bytes(data)}) == [entry(0)]


async def test_a_compacted_journal_that_lost_its_end_is_damaged() -> None:
    born: Entry = {"kind": "journal", "version": 1, "incarnation": "i", "entries": 2}
    with pytest.raises(JournalDamaged, match="2 entries and only 1 can be read"):
        _entries({FILE: encode(0, 0, born) + encode(1, 0, entry(0))})


@pytest.mark.parametrize("data", [b"", b"garbage", b"\0" * 100])
def test_a_file_that_is_no_journal_is_refused(data: bytes) -> None:
    with pytest.raises(JournalDamaged, match="does not begin as a journal does"):
        _entries({FILE: data})


async def test_callers_that_wait_at_the_same_time_share_one_fsync() -> None:
    files = ForgetfulFiles()
    journal = Journal(FOLDER, files, die=die)
    journal.open()
    before = len(files.history)

    async def caller(number: int) -> None:
        journal.append(entry(number))
        await journal.sync()

    await asyncio.gather(*(caller(number) for number in range(100)))
    assert len(files.history) - before == 4  # the first goes at once; a write and an fsync for the other 99
    await journal.close()
    assert len(_entries(files.history[-1].least)) == 100


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
    assert _entries(files.history[-1].least) == [entry(0), entry(1)]
    await journal.close()


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
    assert _entries(Disk({}, {}, {}).least) == []
