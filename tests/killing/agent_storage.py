"""Storage domains as plain files: made for a case, and compared with what they should be."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from interlock.agent.storage.domain import read_meta, volume_meta, write_meta
from interlock.verbs import BLANK_ID, VolumeFormat, VolumeType

SIZE = 256 << 10
#: What a reader sees is told by one byte for each such block.
BLOCK = 64 << 10
#: Of a folder, where files have their contents.
_FOLDER = b"<folder>"
#: What differs from run to run: when, where and by which task it was written.
_WRITTEN_AT = re.compile(
    rb"^(?:CTIME|REMOTE_PATH)=.*$|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.MULTILINE
)


def id_of(number: int) -> str:
    """An id that is the same in every run."""
    return f"00000000-0000-4000-8000-{number:012x}"


@dataclass(frozen=True)
class Storage:
    """The domains below one root, and what the agent remembers of pools."""

    root: Path
    pools: Path

    @classmethod
    def at(cls, folder: Path) -> Storage:
        """Empty, in a folder that is made."""
        storage = cls(folder / "storage", folder / "pools")
        storage.root.mkdir(parents=True)
        return storage

    def lay(self, files: Storage) -> None:
        """Makes these files a copy of others; descriptions go on naming the root where they were made."""
        for mine, theirs in ((self.root, files.root), (self.pools, files.pools)):
            shutil.rmtree(mine, ignore_errors=True)
            if theirs.exists():
                shutil.copytree(theirs, mine)

    def path(self, domain: str, *names: str) -> Path:
        return self.root.joinpath(domain, *(("images", *names) if names else ()))

    def add_domain(self, domain: str, **meta: str) -> None:
        for folder in ("dom_md", "images"):
            (self.path(domain) / folder).mkdir(parents=True)
        described = {"CLASS": "Data", "DESCRIPTION": "d", "SDUUID": domain, "TYPE": "LOCALFS", "VERSION": "5"}
        write_meta(self.path(domain) / "dom_md" / "metadata", {**described, **meta})

    def add_volume(
        self,
        domain: str,
        image: str,
        volume: str,
        shows: bytes = b"",
        *,
        kind: VolumeFormat = VolumeFormat.COW,
        parent: tuple[str, str] | None = None,
        place: VolumeType = VolumeType.LEAF,
        size: int = SIZE,
        **meta: str,
    ) -> None:
        """A volume that holds, block by block, the bytes of `shows` (0: what its parent shows there)."""
        path = self.path(domain, image, volume)
        path.parent.mkdir(exist_ok=True)
        word = {VolumeFormat.COW: "qcow2", VolumeFormat.RAW: "raw"}[kind]
        backing: list[str] = []
        if parent is not None:
            name = parent[1] if parent[0] == image else f"../{parent[0]}/{parent[1]}"
            below = read_meta(self.path(domain, *parent).with_name(f"{parent[1]}.meta"))["FORMAT"]
            backing = ["-b", name, "-F", {"COW": "qcow2", "RAW": "raw"}[below]]
        _run("qemu-img", "create", "-q", "-f", word, *backing, str(path), str(size))
        writes = [f"write -q -P {byte} {n * BLOCK} {BLOCK}" for n, byte in enumerate(shows) if byte]
        if writes:
            _run("qemu-io", "-f", word, *(part for write in writes for part in ("-c", write)), str(path))
        described = volume_meta(
            domain_id=domain,
            image_id=image,
            parent_id=parent[1] if parent is not None else BLANK_ID,
            kind=kind,
            is_preallocated=False,
            place=place,
            size_bytes=size,
            created_s=1,
            description="",
        )
        write_meta(path.with_name(f"{volume}.meta"), {**described, **meta})

    def shows(self, domain: str, image: str, volume: str) -> bytes:
        """What a reader of the volume sees, by its whole chain: one byte for each block."""
        path = self.path(domain, image, volume)
        target = path.with_name(f"{volume}.shown")
        _run("qemu-img", "convert", "-U", "-f", _word(path), "-O", "raw", str(path), str(target))
        data = target.read_bytes()
        target.unlink()
        blocks = [set(data[start : start + BLOCK]) for start in range(0, len(data), BLOCK)]
        assert all(len(block) == 1 for block in blocks), f"{path} shows what nobody wrote"
        return bytes(block.pop() for block in blocks)

    def meta(self, domain: str, image: str, volume: str, *keys: str) -> tuple[str | None, ...]:
        """Some of what is written beside the volume."""
        found = read_meta(self.path(domain, image, f"{volume}.meta"))
        return tuple(found.get(key) for key in keys)

    def names(self, domain: str) -> list[str]:
        """All that is below the domain's `images`."""
        images = self.path(domain) / "images"
        return sorted(str(path.relative_to(images)) for path in images.rglob("*"))

    def check(self) -> None:
        """Asserts that each qcow2 file is whole."""
        for path in self.root.rglob("*.meta"):
            if _word(path.with_suffix("")) == "qcow2":
                _run("qemu-img", "check", "-q", "-f", "qcow2", str(path.with_suffix("")))

    def differences(self, wanted: Storage) -> list[str]:
        """In what the files are others than `wanted`; the same data in another order of clusters is the same."""
        mine, theirs = self._contents(), wanted._contents()
        different = [f"{name} is there" for name in sorted(mine.keys() - theirs.keys())]
        different += [f"{name} is missing" for name in sorted(theirs.keys() - mine.keys())]
        for name in sorted(mine.keys() & theirs.keys()):
            if mine[name] != theirs[name] and not self._shows_the_same(wanted, name):
                different.append(f"{name} holds something else")
        return different

    def _contents(self) -> dict[str, bytes]:
        found = {f"pool {path.name}": path.read_bytes() for path in self.pools.glob("*")}
        for path in self.root.rglob("*"):
            name, data = str(path.relative_to(self.root)), path.read_bytes() if path.is_file() else _FOLDER
            if ".meta" in path.suffixes or path.name == "metadata":
                data = _WRITTEN_AT.sub(b"", data)
            found[name] = data
        return found

    def _shows_the_same(self, wanted: Storage, name: str) -> bool:
        mine, theirs = self.root / name, wanted.root / name
        if not mine.with_name(f"{mine.name}.meta").exists():
            return False
        if _word(mine) == "qcow2":
            if _header(mine) != _header(theirs):
                return False
            _run("qemu-img", "check", "-q", "-f", "qcow2", str(mine))
        compare = ["qemu-img", "compare", "-q", "-f", _word(mine), "-F", _word(theirs), str(mine), str(theirs)]
        return subprocess.run(compare, check=False).returncode == 0


def _word(path: Path) -> str:
    return {"COW": "qcow2", "RAW": "raw"}[read_meta(path.with_name(f"{path.name}.meta"))["FORMAT"]]


def _header(path: Path) -> tuple[int, str | None, str | None]:
    command = ["qemu-img", "info", "-U", "-f", "qcow2", "--output=json", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found["virtual-size"], found.get("backing-filename"), found.get("backing-filename-format")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode(errors='replace')}{done.stdout.decode()}"
