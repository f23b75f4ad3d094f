"""Files that forget, when the process "dies", whatever was not fsynced: contents and folder entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from interlock.agent.files import Appender


@dataclass
class _Content:
    """One file, whatever its names: what programs see, and what the disk has."""

    cached: bytes = b""
    durable: bytes = b""


@dataclass(frozen=True)
class Disk:
    """What could be found after a crash at one moment: file contents by path."""

    #: Only what was fsynced.
    least: dict[Path, bytes]
    #: All that was written, as if the cache had been flushed just in time.
    most: dict[Path, bytes]
    #: Names and old contents as fsynced; half of what was added since.
    torn: dict[Path, bytes]


@dataclass
class ForgetfulFiles:
    """`Files` in memory. `history` has what a crash after each operation would have left."""

    cached: dict[Path, _Content] = field(default_factory=dict)
    durable: dict[Path, _Content] = field(default_factory=dict)
    history: list[Disk] = field(default_factory=list)
    fail_fsync: bool = False

    @classmethod
    def after_crash(cls, contents: dict[Path, bytes]) -> ForgetfulFiles:
        files = {path: _Content(data, data) for path, data in contents.items()}
        return cls(dict(files), dict(files))

    def read(self, path: Path) -> bytes | None:
        content = self.cached.get(path)
        return content.cached if content is not None else None

    def append_to(self, path: Path, *, size: int) -> Appender:
        content = self.cached.setdefault(path, _Content())
        content.cached = content.cached[:size]
        self._happened()
        return _OpenContent(content, self)

    def rename(self, source: Path, target: Path) -> None:
        self.cached[target] = self.cached.pop(source)
        self._happened()

    def remove(self, path: Path) -> None:
        if self.cached.pop(path, None) is not None:
            self._happened()

    def fsync_folder(self, path: Path) -> None:
        inside = {name: content for name, content in self.cached.items() if name.parent == path}
        outside = {name: content for name, content in self.durable.items() if name.parent != path}
        self.durable = {**outside, **inside}
        self._happened()

    def _happened(self) -> None:
        self.history.append(
            Disk(
                {path: content.durable for path, content in self.durable.items()},
                {path: content.cached for path, content in self.cached.items()},
                {path: _half_of_the_new(content) for path, content in self.durable.items()},
            )
        )


def _half_of_the_new(content: _Content) -> bytes:
    if not content.cached.startswith(content.durable):
        return content.durable
    added = len(content.cached) - len(content.durable)
    return content.cached[: len(content.durable) + added // 2]


@dataclass
class _OpenContent:
    """An `Appender` over a remembered file."""

    content: _Content
    files: ForgetfulFiles

    def write(self, data: bytes) -> None:
        self.content.cached += data
        self.files._happened()

    def fsync(self) -> None:
        if self.files.fail_fsync:
            raise OSError(5, "Input/output error")
        self.content.durable = self.content.cached
        self.files._happened()

    def close(self) -> None:
        pass


Views: tuple[Callable[[Disk], dict[Path, bytes]], ...] = (
    lambda disk: disk.least,
    lambda disk: disk.most,
    lambda disk: disk.torn,
)
