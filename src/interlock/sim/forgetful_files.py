"""Files that forget, when the machine "crashes", whatever was not fsynced: contents and folder entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interlock.agent.journal.files import Appender

Contents = dict[Path, bytes]


@dataclass(frozen=True)
class Change:
    """What was done to a file: data put at a place, or (None) all that was behind that place cut off."""

    at: int
    data: bytes | None

    def made_to(self, contents: bytes) -> bytes:
        """The contents after the change; a hole is zeros."""
        before = contents[: self.at].ljust(self.at, b"\0")
        return before if self.data is None else before + self.data + contents[self.at + len(self.data) :]


@dataclass(frozen=True)
class Unsynced:
    """A file at one moment: what the disk has for sure, and what was done to the file since."""

    durable: bytes
    changes: tuple[Change, ...]

    def after(self, changes: Sequence[Change]) -> bytes:
        """The contents if just these changes had reached the disk."""
        contents = self.durable
        for change in changes:
            contents = change.made_to(contents)
        return contents


@dataclass(frozen=True)
class Disk:
    """What a crash at one moment could leave: any of the tables of names, the first being the one fsynced."""

    tables: tuple[dict[Path, Unsynced], ...]

    def least(self) -> Contents:
        """Only what was fsynced."""
        return {path: file.durable for path, file in self.tables[0].items()}

    def most(self) -> Contents:
        """All that was written, as if the cache had been flushed just in time."""
        return {path: file.after(file.changes) for path, file in self.tables[-1].items()}

    def torn(self) -> Contents:
        """Names as fsynced; half of what was last put into each file."""
        return {path: _half(file) for path, file in self.tables[0].items()}


Views: tuple[Callable[[Disk], Contents], ...] = (Disk.least, Disk.most, Disk.torn)


def _half(file: Unsynced) -> bytes:
    *whole, last = file.changes or (Change(len(file.durable), b""),)
    half = [Change(last.at, last.data[: len(last.data) // 2])] if last.data is not None else []
    return file.after([*whole, *half])


@dataclass
class _Content:
    """One file, whatever its names."""

    cached: bytes = b""
    durable: bytes = b""
    changes: tuple[Change, ...] = ()

    def change(self, change: Change) -> None:
        self.cached = change.made_to(self.cached)
        self.changes += (change,)

    def sync(self) -> None:
        self.durable, self.changes = self.cached, ()


@dataclass
class ForgetfulFiles:
    """`Files` of one folder, in memory. `history` has what a crash after each operation could leave."""

    #: The names as fsynced, then as they became by each operation since.
    tables: list[dict[Path, _Content]] = field(default_factory=lambda: [{}])
    history: list[Disk] = field(default_factory=list)
    fail_fsync: bool = False
    #: Whether `history` is kept.
    keeps_history: bool = True

    @classmethod
    def after_crash(cls, contents: Contents, *, keeps_history: bool = True) -> ForgetfulFiles:
        files = cls([{path: _Content(data, data) for path, data in contents.items()}])
        files.keeps_history = keeps_history
        return files

    def disk(self) -> Disk:
        """What a crash now could leave."""
        tables = ({path: Unsynced(c.durable, c.changes) for path, c in table.items()} for table in self.tables)
        return Disk(tuple(tables))

    def read(self, path: Path) -> bytes | None:
        content = self.tables[-1].get(path)
        return content.cached if content is not None else None

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self.tables[-1] if path.parent == folder)

    def overwrite(self, path: Path, data: bytes) -> None:
        self._made(path).change(Change(0, data))
        self._happened()

    def append_to(self, path: Path, *, size: int) -> Appender:
        content = self._made(path)
        if len(content.cached) != size:
            content.change(Change(size, None))
        self._happened()
        return _OpenContent(content, self)

    def rename(self, source: Path, target: Path) -> None:
        table = dict(self.tables[-1])
        table[target] = table.pop(source)
        self.tables.append(table)
        self._happened()

    def remove(self, path: Path) -> None:
        if path in self.tables[-1]:
            self.tables.append({name: content for name, content in self.tables[-1].items() if name != path})
            self._happened()

    def fsync_folder(self, path: Path) -> None:
        self.tables = self.tables[-1:]
        self._happened()

    def _made(self, path: Path) -> _Content:
        if path not in self.tables[-1]:
            self.tables.append({**self.tables[-1], path: _Content()})
        return self.tables[-1][path]

    def _happened(self) -> None:
        if self.keeps_history:
            self.history.append(self.disk())


@dataclass
class _OpenContent:
    """An `Appender` over a remembered file."""

    content: _Content
    files: ForgetfulFiles

    def write(self, data: bytes) -> None:
        self.content.change(Change(len(self.content.cached), data))
        self.files._happened()

    def fsync(self) -> None:
        if self.files.fail_fsync:
            raise OSError(5, "Input/output error")
        self.content.sync()
        self.files._happened()

    def close(self) -> None:
        pass
