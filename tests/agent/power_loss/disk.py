"""A real folder of which is remembered what was fsynced, and so what a loss of power could leave of it."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

#: what is in a folder, by path; folders have None
Tree = Mapping[str, bytes | None]


@dataclass(frozen=True)
class Moment:
    """What a loss of power could leave, and what callers had been told by then."""

    told: str
    view: str
    tree: Tree


@dataclass
class ForgetfulDisk:
    """Notes every fsync in `root`. A crash keeps what was fsynced; of names and contents that were not, a file system
    may have written either and not the other."""

    root: Path
    told: str = "nothing"
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: descriptors that keep the numbers of files from being used again
    _kept: dict[int, int] = field(default_factory=dict)
    _names: dict[int, dict[str, int]] = field(default_factory=dict)
    _contents: dict[int, bytes] = field(default_factory=dict)
    _seen: set[tuple[str, int]] = field(default_factory=set)
    moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder, _, files in os.walk(self.root):
            self._note_path(Path(folder))
            for name in files:
                self._note_path(Path(folder, name))

    def fsync(self, descriptor: int) -> None:
        """In place of `os.fsync`."""
        with self._lock:
            self._look()
            self._note(descriptor)
            self._look()

    def tell(self, words: str) -> None:
        """From now on callers have been told so."""
        with self._lock:
            self.told = words
            self._look()

    def flushed(self, path: Path) -> None:
        """A program has made a file's contents durable."""
        with self._lock:
            self._note_path(path)
            self._look()

    def close(self) -> None:
        for descriptor in self._kept.values():
            os.close(descriptor)
        self._kept.clear()

    # what is durable ---------------------------------------------------------------------------------

    def _note_path(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._note(descriptor)
        finally:
            os.close(descriptor)

    def _note(self, descriptor: int) -> None:
        number = self._keep(f"/proc/self/fd/{descriptor}")
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            path, self._names[number] = os.readlink(f"/proc/self/fd/{descriptor}"), {}
            for name in os.listdir(descriptor):
                with suppress(FileNotFoundError):  # gone meanwhile: another thread, or a child, is at work beside
                    self._names[number][name] = self._keep(f"{path}/{name}", os.O_NOFOLLOW)
        else:
            self._contents[number] = self._read(number)

    def _keep(self, path: str, flags: int = 0) -> int:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
        number = os.fstat(descriptor).st_ino
        if number in self._kept:
            os.close(descriptor)
        else:
            self._kept[number] = descriptor
        return number

    def _read(self, number: int) -> bytes:
        return Path(f"/proc/self/fd/{self._kept[number]}").read_bytes()

    def _is_folder(self, number: int) -> bool:
        return stat.S_ISDIR(os.fstat(self._kept[number]).st_mode)

    # what a crash could leave ------------------------------------------------------------------------

    def _look(self) -> None:
        root = self._keep(str(self.root))
        for view, items in (
            ("fsynced", self._durable(root, "", is_live=False)),
            ("names", self._live()),
            ("contents", self._durable(root, "", is_live=True)),
        ):
            tree = dict(items)
            key = (self.told, hash(tuple(sorted(tree.items(), key=lambda item: item[0]))))
            if key not in self._seen:
                self._seen.add(key)
                self.moments.append(Moment(self.told, view, tree))

    def _durable(self, folder: int, path: str, *, is_live: bool) -> Iterator[tuple[str, bytes | None]]:
        """Names as they were fsynced; contents too, or as they are."""
        for name, number in self._names.get(folder, {}).items():
            if self._is_folder(number):
                yield f"{path}{name}", None
                yield from self._durable(number, f"{path}{name}/", is_live=is_live)
            else:
                yield f"{path}{name}", self._read(number) if is_live else self._contents.get(number, b"")

    def _live(self) -> Iterator[tuple[str, bytes | None]]:
        """Names as they are, contents as they were fsynced."""
        for folder, folders, files in os.walk(self.root):
            for name in folders:
                yield str(Path(folder, name).relative_to(self.root)), None
            for name in files:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    yield str(path.relative_to(self.root)), self._contents.get(path.lstat().st_ino, b"")


def put(tree: Tree, root: Path) -> None:
    """Writes what was left; the folders come before what is in them."""
    root.mkdir()
    for name, data in tree.items():
        if data is None:
            (root / name).mkdir(mode=0o750)
        else:
            (root / name).write_bytes(data)
