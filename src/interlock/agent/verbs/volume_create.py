"""Volume.create: an empty image, or one that keeps only what differs from a parent volume."""

from __future__ import annotations

from interlock.agent import durable
from interlock.agent.effects.publishing import discard_part, prepare_part, publish, refuse_existing, withdraw
from interlock.agent.records import StepFailed
from interlock.agent.storage import lineage
from interlock.agent.storage.description import described_bytes
from interlock.agent.storage.domain import CHAIN_MAX, Domain, Volume
from interlock.agent.storage.image_chain import refuse_illegal
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource, image_resource
from interlock.verbs import Code, VolumeCreate, VolumeType

Creating = Work[VolumeCreate]


def _check(work: Creating) -> None:
    work.host.domains.usable(work.verb.storagedomainID)
    refuse_existing(_volume(work))
    parent = _parent(work)
    if parent is None:
        return
    place = parent.meta().get("VOLTYPE")
    is_own = work.verb.srcImgUUID == work.verb.imageID
    if place != VolumeType.SHARED.name and not (is_own and place == VolumeType.LEAF.name):
        raise StepFailed(
            Code.VOLUME_NON_SHAREABLE,
            f"volume {parent.path.name} is {place}; a parent must be SHARED, or this image's LEAF",
        )
    if described_bytes(parent) > work.verb.size:
        raise StepFailed(Code.VOLUME_CREATION_ERROR, f"size {work.verb.size} is less than its parent's")
    chain = _domain(work).check_chain(parent)
    refuse_illegal(chain)
    if len(chain) >= CHAIN_MAX:
        raise StepFailed(
            Code.VOLUME_CREATION_ERROR,
            f"volume {parent.path.name} ends a chain of {len(chain)} volumes, as long as one may be; merge some",
        )


def _make(work: Creating) -> None:
    volume, parent, verb = _volume(work), _parent(work), work.verb
    part = prepare_part(volume)
    backing = (_relative(work, parent), parent.format) if parent is not None else None
    work.host.qemu_img.create(part, verb.volFormat, verb.size, preallocate=verb.preallocate, backing=backing)
    made = work.host.qemu_img.info(part, verb.volFormat)
    if made.virtual_size < verb.size:
        raise StepFailed(Code.VOLUME_CREATION_ERROR, f"{part} has only {made.virtual_size} bytes")
    if verb.initialSize is not None:
        durable.allocate(part, verb.initialSize)
    # An empty file would be taken for a raw volume of no size: the program that made it does not flush.
    durable.fsync_file(part)
    durable.fsync_folder(part.parent)


def _unmake(work: Creating) -> None:
    discard_part(_volume(work))


def _publish(work: Creating) -> None:
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
    volume = _volume(work)
    if volume.exists():
        durable.fsync_folder(volume.path.parent)  # an agent that was killed just after the renames may not have
        return True
    return False


def _withdraw(work: Creating) -> None:
    lineage.refuse_children(_domain(work), work.verb.imageID, [work.verb.volumeID])
    withdraw(_volume(work))


def _mark_parent(work: Creating) -> None:
    parent = _parent(work)
    if parent is not None:
        lineage.mark_parent(parent)


def _unmark_parent(work: Creating) -> None:
    parent = _parent(work)
    if parent is not None:
        lineage.unmark_parent(parent)


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
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("make", StepKind.REPEATABLE, blocking(_make), undo=blocking(_unmake)),
        Step("mark_parent", StepKind.REPEATABLE, blocking(_mark_parent), undo=blocking(_unmark_parent)),
        Step("publish", StepKind.OBSERVABLE, blocking(_publish), holds=_is_published, undo=blocking(_withdraw)),
    ),
    resources=_resources,
)
