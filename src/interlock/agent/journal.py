"""The agent's durable memory: an append-only file whose entries are fsynced before anybody hears of them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

from interlock import failpoints
from interlock.agent.files import Appender, Files
from interlock.agent.journal_format import Entry, JournalDamaged, decode, encode
from interlock.ids import new_id

_VERSION = 1
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
        self._file: Appender
        self._number = 0
        self._size = 0
        self._compact_at = compact_bytes_min

    def open(self) -> list[Entry]:
        """Reads the file, or makes one with a new incarnation. Raises `JournalDamaged`."""
        self._files.remove(self._aside)
        data = self._files.read(self._path)
        if data is None:
            self.incarnation = str(new_id())
            self._write_anew(())
            return []
        records, self._size = decode(data, str(self._path))
        if not records or records[0].entry.get("kind") != "journal":
            raise JournalDamaged(f"{self._path} does not begin as a journal does; move it away or restore it")
        expected = records[0].entry["entries"]
        if len(records) <= expected:
            raise JournalDamaged(
                f"{self._path} was written with {expected} entries and only {len(records) - 1} "
                "can be read: this is damage, not a crash. Restore the file from a copy, or move it away"
            )
        if records[0].entry["version"] != _VERSION:
            raise JournalDamaged(f"{self._path} was written by another version of the agent")
        self.incarnation = records[0].entry["incarnation"]
        self._number = len(records)
        self._file = self._files.append_to(self._path, size=self._size)
        self._file.fsync()  # what was read is answered to callers, so it must not vanish again
        self._files.fsync_folder(self._path.parent)
        self._compact_at = max(self._compact_bytes_min, 2 * self._size)
        return [record.entry for record in records[1:]]

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

    def _write_anew(self, entries: tuple[Entry, ...]) -> None:
        """Writes a whole journal aside and puts it in the place of the former one."""
        born: Entry = {
            "kind": "journal",
            "version": _VERSION,
            "incarnation": self.incarnation,
            "entries": len(entries),
        }
        encoded = [encode(n, 0, entry) for n, entry in enumerate([born, *entries])]
        data = b"".join(encoded)
        file = self._files.append_to(self._aside, size=0)
        file.write(data)
        file.fsync()
        self._files.rename(self._aside, self._path)
        self._files.fsync_folder(self._path.parent)
        if self._size:
            self._file.close()
        self._file, self._number, self._size = file, len(encoded), len(data)
        self._compact_at = max(self._compact_bytes_min, 2 * self._size)
