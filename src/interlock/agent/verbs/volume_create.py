"""Volume.create: an empty image, or one that keeps only what differs from a parent volume."""

from __future__ import annotations

from interlock.agent.domain import Domain, Volume, read_meta, write_meta
from interlock.agent.publishing import discard_part, prepare_part, publish, refuse_existing, withdraw
from interlock.agent.records import StepFailed
from interlock.agent.resource_locks import Resource
from interlock.agent.steps import Program, Step, StepKind, Work, domain_resource, image_resource
from interlock.verbs import Code, VolumeCreate, VolumeType

Creating = Work[VolumeCreate]


async def _check(work: Creating) -> None:
    await work.host.blocking(_check_files, work)


def _check_files(work: Creating) -> None:
    work.host.domains.usable(work.verb.storagedomainID)
    refuse_existing(_volume(work))
    parent = _parent(work)
    if parent is None:
        return
    meta = parent.meta()
    place = meta.get("VOLTYPE")
    is_own = work.verb.srcImgUUID == work.verb.imageID
    if place != VolumeType.SHARED.name and not (is_own and place == VolumeType.LEAF.name):
        raise StepFailed(
            Code.VOLUME_NON_SHAREABLE,
            f"volume {parent.path.name} is {place}; a parent must be SHARED, or this image's LEAF",
        )
    if int(meta.get("CAP", "0")) > work.verb.size:
        raise StepFailed(Code.VOLUME_CREATION_ERROR, f"size {work.verb.size} is less than its parent's")
    _domain(work).check_chain(parent)


async def _make(work: Creating) -> None:
    await work.host.blocking(_make_part, work)


def _make_part(work: Creating) -> None:
    volume, parent, verb = _volume(work), _parent(work), work.verb
    part = prepare_part(volume)
    backing = (_relative(work, parent), parent.format) if parent is not None else None
    work.host.qemu_img.create(part, verb.volFormat, verb.size, preallocate=verb.preallocate, backing=backing)
    made = work.host.qemu_img.info(part, verb.volFormat)
    if made.virtual_size < verb.size:
        raise StepFailed(Code.VOLUME_CREATION_ERROR, f"{part} has only {made.virtual_size} bytes")


async def _unmake(work: Creating) -> None:
    await work.host.blocking(lambda: discard_part(_volume(work)))


async def _publish(work: Creating) -> None:
    await work.host.blocking(_publish_volume, work)


def _publish_volume(work: Creating) -> None:
    verb = work.verb
    publish(
        _volume(work),
        work.host.qemu_img,
        domain_id=verb.storagedomainID,
        kind=verb.volFormat,
        preallocate=verb.preallocate,
        place=VolumeType.LEAF,
        description=verb.desc,
        parent_id=verb.srcVolUUID,
        disk_type=verb.diskType,
    )


def _is_published(work: Creating) -> bool:
    return _volume(work).exists()


async def _withdraw(work: Creating) -> None:
    await work.host.blocking(lambda: withdraw(_volume(work)))


async def _mark_parent(work: Creating) -> None:
    await work.host.blocking(_set_parent_place, work, VolumeType.LEAF, VolumeType.INTERNAL)


async def _unmark_parent(work: Creating) -> None:
    await work.host.blocking(_set_parent_place, work, VolumeType.INTERNAL, VolumeType.LEAF)


def _set_parent_place(work: Creating, former: VolumeType, new: VolumeType) -> None:
    """Says in the parent's description whether it has a child in its image. A shared one stays so."""
    parent = _parent(work)
    if parent is None or not parent.meta_path.exists():
        return
    meta = read_meta(parent.meta_path)
    if meta.get("VOLTYPE") == former.name:
        write_meta(parent.meta_path, {**meta, "VOLTYPE": new.name})


def _domain(work: Creating) -> Domain:
    return work.host.domains.find(work.verb.storagedomainID)


def _volume(work: Creating) -> Volume:
    return _domain(work).volume(work.verb.imageID, work.verb.volumeID)


def _parent(work: Creating) -> Volume | None:
    if not work.verb.has_parent:
        return None
    return _domain(work).volume(work.verb.srcImgUUID, work.verb.srcVolUUID)


def _relative(work: Creating, parent: Volume) -> str:
    if work.verb.srcImgUUID == work.verb.imageID:
        return parent.path.name
    return f"../{parent.path.parent.name}/{parent.path.name}"


def _resources(verb: VolumeCreate) -> tuple[Resource, ...]:
    domain_id = verb.storagedomainID
    locks = [
        domain_resource(domain_id, is_exclusive=False),
        image_resource(domain_id, verb.imageID, is_exclusive=True),
    ]
    if verb.has_parent:
        locks.append(image_resource(domain_id, verb.srcImgUUID, is_exclusive=False))
    return tuple(locks)


PROGRAM: Program[VolumeCreate] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, _check),
        Step("make", StepKind.REPEATABLE, _make, undo=_unmake),
        Step("mark_parent", StepKind.REPEATABLE, _mark_parent, undo=_unmark_parent),
        Step("publish", StepKind.OBSERVABLE, _publish, holds=_is_published, undo=_withdraw),
    ),
    resources=_resources,
)
