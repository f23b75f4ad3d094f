"""The files of a storage domain: where they are, what describes them, and whether they are all ours."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock.agent import durable
from interlock.agent.records import StepFailed
from interlock.agent.storage.qcow2 import NotQcow2, references
from interlock.verbs import BLANK_ID, Code, VolumeFormat, VolumeType

UUID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DOMAIN_ID = re.compile(UUID_PATTERN)
_BACKING = re.compile(rf"(?:\.\./({UUID_PATTERN})/)?({UUID_PATTERN})")
_META_BYTES_MAX = 64 * 1024
#: A chain has no more volumes than this, templates of other images among them.
CHAIN_MAX = 64
#: Domains lie in a root folder or at most this many folders below it.
_DEPTH_MAX = 2
#: The STATUS in the description of a domain on which no more work is done.
DETACHED = "DETACHED"

Meta = Mapping[str, str]


def write_meta(path: Path, meta: Meta) -> None:
    """Writes a description durably. Raises OSError and `FsyncFailed`."""
    lines = [f"{key}={value}" for key, value in meta.items()]
    durable.write_whole(path, ("\n".join([*lines, "EOF"]) + "\n").encode())


def read_meta(path: Path) -> Meta:
    """Reads a description. Raises FileNotFoundError, and `StepFailed` if it is not whole."""
    with path.open("rb") as file:
        text = file.read(_META_BYTES_MAX).decode(errors="replace")
    lines = text.removesuffix("\n").split("\n")  # `splitlines` would also split at U+2028, which a value may have
    if lines[-1] != "EOF":
        raise StepFailed(Code.VOLUME_METADATA_READ_ERROR, f"{path} is not whole; restore it or remove the volume")
    return dict(line.split("=", 1) for line in lines[:-1] if "=" in line)


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume of an image: its file and its description beside it."""

    path: Path

    @property
    def meta_path(self) -> Path:
        """Where its description is."""
        return self.path.with_name(self.path.name + ".meta")

    @property
    def part_path(self) -> Path:
        """Where it is made, before it is whole."""
        return self.path.with_name(self.path.name + ".part")

    def exists(self) -> bool:
        """Whether the volume is there, whole."""
        return self.path.exists() and self.meta_path.exists()

    def meta(self) -> Meta:
        """Its description. Raises `StepFailed` (VOLUME_DOES_NOT_EXIST)."""
        try:
            if not stat.S_ISREG(self.path.lstat().st_mode):
                raise StepFailed(Code.IMAGE_NOT_OURS, f"{self.path} is not a regular file")
            return read_meta(self.meta_path)
        except FileNotFoundError:
            raise StepFailed(
                Code.VOLUME_DOES_NOT_EXIST, f"volume {self.path.name} does not exist in {self.path.parent}"
            ) from None

    @property
    def format(self) -> VolumeFormat:
        """The kind of file, as its description says. Raises `StepFailed`."""
        word = self.meta().get("FORMAT", "")
        if word not in VolumeFormat.__members__:
            raise StepFailed(Code.VOLUME_METADATA_READ_ERROR, f"{self.meta_path} names no known FORMAT")
        return VolumeFormat[word]


@dataclass(frozen=True, slots=True)
class Domain:
    """One storage domain on a file system."""

    path: Path

    @property
    def metadata_path(self) -> Path:
        """What makes the folder a domain."""
        return self.path / "dom_md" / "metadata"

    @property
    def images(self) -> Path:
        """The folder of all images."""
        return self.path / "images"

    def image(self, image_id: str) -> Path:
        """The folder of an image, which need not exist. Raises `StepFailed` if it is something else."""
        folder = self.images / image_id
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise StepFailed(Code.IMAGE_NOT_OURS, f"{folder} is not a folder")
        return folder

    def volume(self, image_id: str, volume_id: str) -> Volume:
        """A volume, which need not exist."""
        return Volume(self.image(image_id) / volume_id)

    def check_chain(self, volume: Volume) -> list[Volume]:
        """The volume and all below it, in this order. Raises `StepFailed` unless all are whole files of this domain."""
        chain: list[Volume] = []
        current, expected = volume, None
        while True:
            kind = current.format
            if expected is not None and kind is not expected:
                raise StepFailed(Code.IMAGE_NOT_OURS, f"{current.path} is not of the format that its child names")
            chain.append(current)
            if kind is VolumeFormat.RAW:
                return chain
            parent, expected = self._parent_in_header(current)
            if parent is None:
                return chain
            if parent in chain or len(chain) >= CHAIN_MAX:
                raise StepFailed(Code.IMAGE_NOT_OURS, f"the chain of {volume.path} has a ring or no end")
            current = parent

    def _parent_in_header(self, volume: Volume) -> tuple[Volume | None, VolumeFormat | None]:
        try:
            found = references(volume.path)
        except NotQcow2 as error:
            raise StepFailed(Code.IMAGE_NOT_OURS, str(error)) from error
        if found.has_data_file:
            raise StepFailed(Code.IMAGE_NOT_OURS, f"{volume.path} keeps its data in another file; that is refused")
        if found.backing_file is None:
            return None, None
        names = _BACKING.fullmatch(found.backing_file)
        formats = {"qcow2": VolumeFormat.COW, "raw": VolumeFormat.RAW}
        if names is None or found.backing_format not in formats:
            raise StepFailed(
                Code.IMAGE_NOT_OURS,
                f"{volume.path} is built upon {found.backing_file[:200]!r} "
                f"(format {(found.backing_format or 'unnamed')[:20]!r}), which is no volume of this domain",
            )
        image_id, volume_id = names.groups()
        return self.volume(image_id or volume.path.parent.name, volume_id), formats[found.backing_format]

    def children_within(self, volume: Volume) -> Iterator[str]:
        """Volumes of the same image that are built upon this one."""
        for path in volume.path.parent.glob("*.meta"):
            if read_meta(path).get("PUUID") == volume.path.name:
                yield path.stem

    def children_elsewhere(self, image_id: str, volume_ids: Collection[str] | None = None) -> Iterator[str]:
        """Volumes of other images that are built upon volumes of this one; upon all of them, unless some are named."""
        mine = volumes_in(self.image(image_id)) if volume_ids is None else volume_ids
        for folder in sorted(self.images.iterdir()):
            is_own = folder.name in (image_id, f"_new_{image_id}")
            if not is_own and not folder.name.startswith("_remove_"):
                yield from (path.stem for path in _metas(folder) if _parent_id(path) in mine)


def volumes_in(folder: Path) -> set[str]:
    """What volumes an image's folder has anything of, be it only a description or only a file; none if it is absent."""
    return {path.name.partition(".")[0] for path in folder.glob("*")}


def _metas(folder: Path) -> list[Path]:
    """The descriptions in an image's folder; none where it was deleted meanwhile, or is no folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".meta")
    except (FileNotFoundError, NotADirectoryError):
        return []


def _parent_id(meta: Path) -> str | None:
    """The parent that a description names; none where it was deleted meanwhile."""
    try:
        return read_meta(meta).get("PUUID")
    except FileNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Domains:
    """The domains below the folders that the agent may use."""

    roots: Sequence[Path]

    def find(self, domain_id: str) -> Domain:
        """The domain of that id. Raises `StepFailed` (STORAGE_DOMAIN_DOES_NOT_EXIST)."""
        for root in self.roots:
            for depth in range(_DEPTH_MAX + 1):
                for path in root.glob("/".join(["*"] * depth + [domain_id])):
                    domain = Domain(path)
                    if not path.is_symlink() and domain.metadata_path.is_file():
                        return domain
        raise StepFailed(
            Code.STORAGE_DOMAIN_DOES_NOT_EXIST,
            f"storage domain {domain_id} is not below {', '.join(map(str, self.roots))}",
        )

    def all(self) -> Iterator[Domain]:
        """All domains below the roots. No link is followed, and nothing is looked for within a domain."""
        return (domain for root in self.roots for domain in _domains_below(root, _DEPTH_MAX))

    def attached(self, domain_id: str) -> Domain:
        """The domain of that id, if it may be read: it was not detached. Raises `StepFailed`."""
        domain = self.find(domain_id)
        if read_meta(domain.metadata_path).get("STATUS") == DETACHED:
            raise StepFailed(
                Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL,
                f"storage domain {domain_id} was detached; use another one",
            )
        return domain

    def usable(self, domain_id: str) -> Domain:
        """The domain of that id, if work may begin on it: not detached, and writable. Raises `StepFailed`."""
        domain = self.attached(domain_id)
        if os.statvfs(domain.path).f_flag & os.ST_RDONLY:
            raise StepFailed(
                Code.READ_ONLY, f"storage domain {domain_id} lies on a file system that is mounted read-only"
            )
        return domain

    def exists(self, domain_id: str) -> bool:
        """Whether there is such a domain."""
        try:
            self.find(domain_id)
        except StepFailed:
            return False
        return True

    def check_folder(self, text: str) -> Path:
        """The folder, if a domain may be made in it. Raises `StepFailed` (FOLDER_NOT_ALLOWED)."""
        path = Path(text)
        for root in self.roots:
            if path == root or (path.is_relative_to(root) and len(path.relative_to(root).parts) <= _DEPTH_MAX):
                if os.path.realpath(path) != text or not path.is_dir():
                    raise StepFailed(Code.FOLDER_NOT_ALLOWED, f"{text} is not an existing folder without links")
                _refuse_within_domain(path, root)
                return path
        raise StepFailed(
            Code.FOLDER_NOT_ALLOWED,
            f"{text} is not one of the agent's folders ({', '.join(map(str, self.roots))}) nor up to "
            f"{_DEPTH_MAX} folders below one",
        )


def _refuse_within_domain(path: Path, root: Path) -> None:
    """Among a domain's images another domain would be taken for one of them, and deleted as such."""
    for folder in (path, *path.parents):
        if folder.is_relative_to(root) and Domain(folder).metadata_path.exists():
            raise StepFailed(
                Code.FOLDER_NOT_ALLOWED, f"{path} lies in storage domain {folder.name}; choose a folder beside it"
            )


def _domains_below(folder: Path, depth: int) -> Iterator[Domain]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:  # it was removed meanwhile, or is not ours to read
        return
    for path in paths:
        if _DOMAIN_ID.fullmatch(path.name) and Domain(path).metadata_path.is_file():
            yield Domain(path)
        elif depth:
            yield from _domains_below(path, depth - 1)


def volume_meta(
    *,
    domain_id: str,
    image_id: str,
    parent_id: str = BLANK_ID,
    kind: VolumeFormat,
    is_preallocated: bool,
    place: VolumeType,
    size_bytes: int,
    created_s: int,
    description: str,
    disk_type: str = "DATA",
) -> Meta:
    """What is written beside a volume."""
    return {
        "DOMAIN": domain_id,
        "IMAGE": image_id,
        "PUUID": parent_id,
        "FORMAT": kind.name,
        "TYPE": "PREALLOCATED" if is_preallocated else "SPARSE",
        "VOLTYPE": place.name,
        "DISKTYPE": disk_type,
        "LEGALITY": "LEGAL",
        "CAP": str(size_bytes),
        "GEN": "0",
        "CTIME": str(created_s),
        "DESCRIPTION": description,
    }
