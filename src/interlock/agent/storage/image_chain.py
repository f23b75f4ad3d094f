"""Reading an image: its volumes as one chain, base first, and what the base is built upon in another image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from interlock.agent.records import StepFailed
from interlock.agent.storage.description import preallocation
from interlock.agent.storage.domain import UUID_PATTERN, Domain, Meta, Volume
from interlock.agent.storage.qcow2 import references
from interlock.agent.storage.qemu_img import QemuImg
from interlock.verbs import BLANK_ID, Code, Preallocate, VolumeFormat

LEGAL = "LEGAL"
#: What a volume holds is not to be relied on.
ILLEGAL = "ILLEGAL"

_VOLUME_ID = re.compile(UUID_PATTERN)


@dataclass(frozen=True, slots=True)
class Member:
    """One volume of an image."""

    volume: Volume
    meta: Meta
    format: VolumeFormat
    #: As a guest sees it.
    size_bytes: int
    #: A path relative to the volume's folder and that file's format; None without a parent.
    backing: tuple[str, VolumeFormat] | None

    @property
    def id(self) -> str:
        """The volume's id."""
        return self.volume.path.name

    @property
    def preallocate(self) -> Preallocate:
        """Whether all its room is to be taken at once, as its description says."""
        return preallocation(self.volume)

    @property
    def allocated_bytes(self) -> int:
        """The room that its file takes."""
        return self.volume.path.stat().st_blocks * 512


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose volumes are one chain."""

    #: Base first.
    members: tuple[Member, ...]
    #: Volumes of other images that the base is built upon, nearest first.
    template: tuple[Volume, ...]

    @property
    def chain(self) -> list[Volume]:
        """All its volumes and those of its template."""
        return [*(member.volume for member in self.members), *self.template]

    @property
    def structure(self) -> list[tuple[str, VolumeFormat, tuple[str, VolumeFormat] | None]]:
        """What two copies of an image have in common: ids, formats and parents."""
        return [(member.id, member.format, member.backing) for member in self.members]


def read_image(domain: Domain, image_id: str) -> Image:
    """The image of that id.

    Raises `StepFailed`: IMAGE_DOES_NOT_EXIST_IN_SD; IMAGE_IS_NOT_LEGAL_CHAIN unless its volumes are one chain by
    their descriptions and by their headers alike; IMAGE_NOT_OURS for what refers to anything else.
    """
    folder = domain.image(image_id)
    if not folder.is_dir():
        raise StepFailed(
            Code.IMAGE_DOES_NOT_EXIST_IN_SD,
            f"Image does not exist in domain: image={image_id}, domain={domain.path.name}",
        )
    _refuse_undescribed(folder)
    try:
        metas = {volume_id: domain.volume(image_id, volume_id).meta() for volume_id in described(folder)}
        chain = domain.check_chain(domain.volume(image_id, _leaf(image_id, metas)))
    except StepFailed as failed:
        if failed.failure.code != Code.VOLUME_DOES_NOT_EXIST:
            raise
        raise _not_legal(image_id, failed.failure.error) from failed
    own = [volume for volume in chain if volume.path.parent == folder]
    if own != chain[: len(own)] or len(own) != len(metas):
        raise _not_legal(image_id, "not all of its volumes are in the chain of its leaf")
    parents: list[Volume | None] = [*chain[1:], None]
    members = [_member(volume, metas[volume.path.name], parent) for volume, parent in zip(own, parents, strict=False)]
    return Image(tuple(reversed(members)), tuple(chain[len(own) :]))


def refuse_illegal(volumes: Iterable[Volume]) -> None:
    """Raises `StepFailed` (PREPARE_ILLEGAL_VOLUME) if one of the volumes is not to be relied on."""
    for volume in volumes:
        if volume.meta().get("LEGALITY") != LEGAL:
            raise StepFailed(
                Code.PREPARE_ILLEGAL_VOLUME,
                f"volume {volume.path.name} in {volume.path.parent} is ILLEGAL and no source; fill or remove it",
            )


def refuse_misread(volumes: Iterable[Volume], qemu_img: QemuImg) -> None:
    """Raises `StepFailed` (IMAGE_NOT_OURS) if qemu-img sees another parent in a header than we have checked."""
    for volume in volumes:
        kind = volume.format
        if kind is not VolumeFormat.COW:
            continue
        if qemu_img.info(volume.path, kind).backing_file != references(volume.path).backing_file:
            raise StepFailed(Code.IMAGE_NOT_OURS, f"{volume.path}: its header and qemu-img name different parents")


def read_source(domain: Domain, image_id: str) -> Image:
    """The same as `read_image`, of an image that is to be relied on: none of its volumes is ILLEGAL."""
    image = read_image(domain, image_id)
    refuse_illegal(image.chain)
    return image


def check_template(image: Image, target: Domain) -> None:
    """Raises `StepFailed` unless `target` also has what the image's base is built upon."""
    if not image.template:
        return
    wanted = image.template[0].path
    volume = target.volume(wanted.parent.name, wanted.name)
    if not volume.exists():
        raise StepFailed(
            Code.VOLUME_DOES_NOT_EXIST,
            f"volume {wanted.name} of image {wanted.parent.name}, upon which the image is built, does not exist in "
            f"domain {target.path.name}; copy that image there first",
        )
    refuse_illegal(target.check_chain(volume))
    if volume.format is not image.template[0].format:
        raise StepFailed(Code.INCORRECT_FORMAT, f"{volume.path} is {volume.format.name}, and {wanted} is not")


def described(folder: Path) -> list[str]:
    """The ids of the volumes that an image's folder has descriptions of; none if there is no such folder."""
    names = sorted(path.stem for path in folder.glob("*.meta"))
    return [name for name in names if _VOLUME_ID.fullmatch(name)]


def _refuse_undescribed(folder: Path) -> None:
    """A volume's file without a description is none that could be copied, nor one to be left behind unseen."""
    for path in folder.iterdir():
        if _VOLUME_ID.fullmatch(path.name) and not path.with_name(f"{path.name}.meta").exists():
            raise _not_legal(folder.name, f"{path} has no description")


def _leaf(image_id: str, metas: dict[str, Meta]) -> str:
    if not metas:
        raise _not_legal(image_id, "it has no volumes")
    parents = {meta.get("PUUID") for meta in metas.values()}
    leaves = [volume_id for volume_id in metas if volume_id not in parents]
    if len(leaves) != 1:
        raise _not_legal(image_id, f"it has {len(leaves)} leaves ({', '.join(leaves)}) where one is wanted")
    return leaves[0]


def _member(volume: Volume, meta: Meta, parent: Volume | None) -> Member:
    if meta.get("PUUID") != (parent.path.name if parent is not None else BLANK_ID):
        raise _not_legal(volume.path.parent.name, f"description and header of {volume.path} name different parents")
    kind = volume.format
    size_bytes = references(volume.path).size if kind is VolumeFormat.COW else volume.path.stat().st_size
    if parent is None:
        return Member(volume, meta, kind, size_bytes, backing=None)
    is_own = parent.path.parent == volume.path.parent
    name = parent.path.name if is_own else f"../{parent.path.parent.name}/{parent.path.name}"
    return Member(volume, meta, kind, size_bytes, backing=(name, parent.format))


def _not_legal(image_id: str, fact: str) -> StepFailed:
    return StepFailed(Code.IMAGE_IS_NOT_LEGAL_CHAIN, f"image {image_id}: {fact}; restore it or remove what is amiss")
