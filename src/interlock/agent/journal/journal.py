"""The agent's durable memory: an append-only file whose entries are fsynced before anybody hears of them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog

from interlock import failpoints
from interlock.agent.journal.damage import Damage, keep
from interlock.agent.journal.files import Appender, Files
from interlock.agent.journal.format import VERSION, Mark, Reading, encode, encode_mark, read
from interlock.agent.journal.salvage import salvage
from interlock.agent.records import Entry
from interlock.ids import new_id

log = structlog.get_logger()

#: A journal smaller than this is not compacted.
COMPACT_BYTES_MIN = 4 << 20


def end_process(reason: str) -> NoReturn:
    """Ends the agent on the spot: after a failed write nothing that it believes can be trusted."""
    sys.stderr.write(f"interlock agent ends: {reason}\n")
    sys.stderr.flush()
    os._exit(74)


class Journal:
    """Entries in order, and the incarnation id that this file was born with.

    `append` is immediate and in memory; `sync` returns when everything appended before it is durable; callers
    that wait at the same time share one fsync. A write that fails ends the process through `die`.
    """

    def __init__(
        self,
        folder: Path,
        files: Files,
        *,
        die: Callable[[str], NoReturn] = end_process,
        compact_bytes_min: int = COMPACT_BYTES_MIN,
    ) -> None:
        self._path = folder / "journal"
        self._aside = folder / "journal.new"
        self._mark = folder / "journal.mark"
        self._files = files
        self._die = die
        self._compact_bytes_min = compact_bytes_min
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._turn = asyncio.Lock()
        self._snapshot: Callable[[], Iterable[Entry]] = tuple
        self._buffer: list[Entry] = []
        self._appended = 0
        self._synced = 0
        self.incarnation = ""
        #: What was lost when this incarnation began, for as long as it lives.
        self.damage: Damage | None = None
        self._file: Appender
        self._first = 0
        self._number = 0
        self._size = 0
        self._compact_at = compact_bytes_min

    def open(self) -> list[Entry]:
        """The entries of the file, or of a new one. Raises `OtherVersion`.

        A tail that was never durable is cut. If anything else cannot be read, the file is kept aside, and the entries
        are those that could be saved of it, in a new incarnation: see `damage` and `salvage`.
        """
        self._files.remove(self._aside)
        data, mark = self._files.read(self._path), self._files.read(self._mark)
        reading = read(data or b"", mark or b"")
        if data is None and reading.mark is None:
            self.incarnation = str(new_id())
            self._write_anew(())
            return []
        if reading.is_damaged:
            return self._begin_again(data, reading)
        self._go_on(reading)
        return [record.entry for record in reading.records[1:]]

    def _go_on(self, reading: Reading) -> None:
        header = reading.records[0]
        damage = header.entry.get("damage")
        self.incarnation = header.entry["incarnation"]
        self.damage = Damage.from_entry(damage) if damage is not None else None
        self._first, self._number, self._size = header.number, reading.records[-1].number + 1, reading.size
        self._file = self._files.append_to(self._path, size=self._size)
        self._file.fsync()  # what was read is answered to callers, so it must not vanish again
        self._files.fsync_folder(self._path.parent)
        self._note_durable()
        # As it was when the file was written anew: with twice the size at each start it would grow by every restart.
        self._compact_at = max(self._compact_bytes_min, 2 * reading.records[header.entry["entries"]].end)

    def _begin_again(self, data: bytes | None, reading: Reading) -> list[Entry]:
        """Begins a new incarnation with what can be saved of a damaged file, which is kept aside."""
        self.incarnation = str(new_id())
        saved = salvage(reading, new_id=self.incarnation)
        kept_as = None if data is None else keep(self._files, self._path.parent, data, self._aside)
        self.damage = Damage.of(saved, kept_as=kept_as, at_byte=reading.size)
        log.error("journal_damaged", journal=str(self._path), incarnation=self.incarnation, **asdict(self.damage))
        self._number = saved.next_number
        self._write_anew(saved.entries)
        return list(saved.entries)

    def compact_from(self, snapshot: Callable[[], Iterable[Entry]]) -> None:
        """Names where the entries come from that say all that is still worth knowing."""
        self._snapshot = snapshot

    @property
    def size_bytes(self) -> int:
        """How large the file is."""
        return self._size

    def append(self, entry: Entry) -> None:
        """Adds an entry; nobody may hear of it before `sync`."""
        self._buffer.append(entry)
        self._appended += 1

    async def sync(self) -> None:
        """Returns when all that was appended before the call is durable."""
        target = self._appended
        while self._synced < target:
            async with self._turn:
                if self._synced < target:
                    await self._flush()

    async def close(self) -> None:
        """Makes everything durable and closes the file."""
        await self.sync()
        self._thread.shutdown(wait=True)
        self._file.close()

    async def _flush(self) -> None:
        upto, batch = self._appended, self._buffer
        self._buffer = []
        if self._size > self._compact_at:
            work = partial(self._write_anew, tuple(self._snapshot()))  # it says all that the batch says
        else:
            work = partial(self._write_more, tuple(batch))
        # A caller that is cancelled leaves the write to go on; the next one queues behind it in the thread.
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)
        done.add_done_callback(lambda future: self._settled(upto, future))
        await asyncio.shield(done)

    def _settled(self, upto: int, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._synced = max(self._synced, upto)

    def _guarded(self, work: Callable[[], None]) -> None:
        hit = failpoints.before("agent_journal")
        try:
            work()
        except Exception as error:
            self._die(f"the journal {self._path} cannot be written: {error}")
        failpoints.after("agent_journal", hit)

    def _write_more(self, entries: tuple[Entry, ...]) -> None:
        durable = self._number - 1
        encoded = [encode(self._number + n, durable, entry) for n, entry in enumerate(entries)]
        data = b"".join(encoded)
        self._file.write(data)
        self._file.fsync()
        self._number += len(encoded)
        self._size += len(data)
        self._note_durable()

    def _write_anew(self, entries: tuple[Entry, ...]) -> None:
        """Writes a whole journal aside and puts it in the place of the former one."""
        born: Entry = {
            "kind": "journal",
            "version": VERSION,
            "incarnation": self.incarnation,
            "entries": len(entries),
            "damage": asdict(self.damage) if self.damage is not None else None,
        }
        encoded = [encode(self._number + n, 0, entry) for n, entry in enumerate([born, *entries])]
        data = b"".join(encoded)
        file = self._files.append_to(self._aside, size=0)
        file.write(data)
        file.fsync()
        self._files.rename(self._aside, self._path)
        self._files.fsync_folder(self._path.parent)
        if self._size:
            self._file.close()
        self._first, self._number = self._number, self._number + len(encoded)
        self._file, self._size = file, len(data)
        self._note_durable()
        self._compact_at = max(self._compact_bytes_min, 2 * self._size)

    def _note_durable(self) -> None:
        """Says beside the journal how much of it is durable, so that a loss at its very end is seen too."""
        mark = Mark(self.incarnation, self._first, self._number - 1)
        self._files.overwrite(self._mark, encode_mark(mark))
