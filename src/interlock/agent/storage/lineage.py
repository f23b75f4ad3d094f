"""Which volumes of an image are built upon which, as their descriptions say; and who is built upon them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from interlock.agent import durable
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain, Volume, read_meta, write_meta
from interlock.verbs import Code, VolumeType

#: The parent of each volume, by id; None where the description is not whole.
Parents = Mapping[str, str | None]


def parents_in(folder: Path) -> Parents:
    """What the volumes that are described in a folder are built upon; an absent folder has none."""
    found: dict[str, str | None] = {}
    for path in folder.glob("*.meta"):
        try:
            found[path.stem] = read_meta(path).get("PUUID")
        except StepFailed:
            found[path.stem] = None
        except FileNotFoundError:
            continue  # removed meanwhile
    return found


def base_first(parents: Parents) -> list[str]:
    """The volumes in an order in which none comes before its parent; those that are a ring come last."""
    rest, ordered = set(parents), list[str]()
    while rest:
        ready = {volume_id for volume_id in rest if parents[volume_id] not in rest} or set(rest)
        ordered += sorted(ready)
        rest -= ready
    return ordered


def refuse_children(domain: Domain, image_id: str, volume_ids: Collection[str]) -> None:
    """Raises `StepFailed` if a volume that is not among these is, or may be, built upon one of them."""
    for child, parent in sorted(parents_in(domain.image(image_id)).items()):
        if child in volume_ids:
            continue
        if parent is None:
            raise StepFailed(
                Code.VOLUME_METADATA_READ_ERROR,
                f"the description of volume {child} of image {image_id} is not whole, so that it is not known what it "
                "is built upon; restore it, or remove that volume first, by force",
            )
        if parent in volume_ids:
            raise StepFailed(
                Code.IMAGE_HAS_CHILDREN,
                f"volume {child} is built upon volume {parent} of image {image_id}; remove it first",
            )
    elsewhere = next(domain.children_elsewhere(image_id, volume_ids), None)
    if elsewhere is not None:
        raise StepFailed(
            Code.CANNOT_DELETE_VOLUME,
            f"volume {elsewhere} of another image is built upon a volume of image {image_id}; remove it first",
        )


def mark_parent(volume: Volume) -> None:
    """Says in a leaf's description that something is built upon it. A shared volume stays so."""
    _change_place(volume, VolumeType.LEAF, VolumeType.INTERNAL)


def unmark_parent(volume: Volume) -> None:
    """Says that a volume is a leaf again, unless something is still built upon it; an absent one is fine."""
    durable.remove_aside(volume.meta_path)
    if volume.path.name not in parents_in(volume.path.parent).values():
        _change_place(volume, VolumeType.INTERNAL, VolumeType.LEAF)


def _change_place(volume: Volume, former: VolumeType, new: VolumeType) -> None:
    if volume.meta_path.exists():
        meta = read_meta(volume.meta_path)
        if meta.get("VOLTYPE") == former.name:
            write_meta(volume.meta_path, {**meta, "VOLTYPE": new.name})
