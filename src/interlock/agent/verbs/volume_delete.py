"""Volume.delete and Image.deleteVolumes: volumes are renamed out of the way, overwritten if asked for, and removed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects import deleting
from interlock.agent.storage import lineage
from interlock.agent.storage.domain import Domain, Volume
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource, image_resource
from interlock.verbs import Code, ImageDeleteVolumes, VolumeDelete

Deleting = Work[VolumeDelete | ImageDeleteVolumes]


def _check(work: Deleting) -> None:
    verb = work.verb
    domain = work.host.domains.usable(verb.storagedomainID)
    for volume in _volumes(work):
        if not (verb.force and _is_there_in_part(volume)):
            volume.meta()
    if not verb.force:
        lineage.refuse_children(domain, verb.imageID, _volume_ids(work))


def _is_there_in_part(volume: Volume) -> bool:
    """Whether anything of the volume is there, which only force removes."""
    return os.path.lexists(volume.path) or os.path.lexists(volume.meta_path)


def _hide(work: Deleting) -> None:
    """Leaf first, and of each volume the description first: what still shows is a whole chain at any time."""
    image, hidden = _image(work), _hidden(work)
    durable.make_folder(hidden)
    for volume_id in _leaf_first(image, _volume_ids(work)):
        _rename_all(reversed(_pieces(image, volume_id)), hidden)
    durable.fsync_folder(hidden)  # an agent that was killed just after a rename may not have come to it
    durable.fsync_folder(image)
    if not work.verb.force:  # an image that is built upon a volume may have come into the domain since the check
        lineage.refuse_children(_domain(work), work.verb.imageID, _volume_ids(work))


def _show_again(work: Deleting) -> None:
    image, hidden = _image(work), _hidden(work)
    if not hidden.is_dir():
        return
    for volume_id in reversed(_leaf_first(hidden, _volume_ids(work))):
        _rename_all(_pieces(hidden, volume_id), image)
    durable.fsync_folder(image)
    durable.remove_folder(hidden)


def _leaf_first(folder: Path, volume_ids: Sequence[str]) -> list[str]:
    """The volumes in an order in which each comes before its parent; first those without a whole description."""
    known = lineage.base_first(lineage.parents_in(folder))
    return [
        *(each for each in volume_ids if each not in known),
        *(each for each in reversed(known) if each in volume_ids),
    ]


def _pieces(folder: Path, volume_id: str) -> list[Path]:
    """A volume's file and whatever is named after it, its description last."""
    pieces = [path for path in folder.iterdir() if path.name == volume_id or path.name.startswith(f"{volume_id}.")]
    return sorted(pieces, key=lambda path: (path.suffix == ".meta", path.name))


def _rename_all(pieces: Iterable[Path], folder: Path) -> None:
    for piece in pieces:
        durable.rename(piece, folder / piece.name)


def _release_parents(work: Deleting) -> None:
    for parent in _parents(work):
        lineage.unmark_parent(parent)


def _claim_parents(work: Deleting) -> None:
    for parent in _parents(work):
        lineage.mark_parent(parent)


def _parents(work: Deleting) -> list[Volume]:
    """What the volumes that were put away were built upon, as far as it is in the same image and stays."""
    found = set(lineage.parents_in(_hidden(work)).values()) & set(lineage.parents_in(_image(work)))
    return [_domain(work).volume(work.verb.imageID, parent_id) for parent_id in sorted(filter(None, found))]


async def _remove(work: Deleting) -> None:
    await work.host.blocking(lambda: deleting.remove_empty(_image(work)))
    await deleting.remove_hidden(
        work.host,
        [_hidden(work)],
        is_erased=work.verb.postZero,
        report=work.report,
        code=Code.CANNOT_DELETE_VOLUME,
    )


def _volume_ids(work: Deleting) -> list[str]:
    return [work.verb.volumeID] if isinstance(work.verb, VolumeDelete) else work.verb.volumeList


def _volumes(work: Deleting) -> list[Volume]:
    return [_domain(work).volume(work.verb.imageID, volume_id) for volume_id in _volume_ids(work)]


def _domain(work: Deleting) -> Domain:
    return work.host.domains.find(work.verb.storagedomainID)


def _image(work: Deleting) -> Path:
    return _domain(work).image(work.verb.imageID)


def _hidden(work: Deleting) -> Path:
    return deleting.hidden(_domain(work), work.verb.imageID, work.task_id)


def _resources(verb: VolumeDelete | ImageDeleteVolumes) -> tuple[Resource, ...]:
    return (
        domain_resource(verb.storagedomainID, is_exclusive=False),
        image_resource(verb.storagedomainID, verb.imageID, is_exclusive=True),
    )


PROGRAM: Program[VolumeDelete | ImageDeleteVolumes] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("hide", StepKind.REPEATABLE, blocking(_hide), undo=blocking(_show_again)),
        Step("release_parents", StepKind.REPEATABLE, blocking(_release_parents), undo=blocking(_claim_parents)),
        Step("remove", StepKind.REPEATABLE, _remove, is_no_return=True),
    ),
    resources=_resources,
)
