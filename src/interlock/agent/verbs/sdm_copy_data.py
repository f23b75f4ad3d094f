"""SDM.copy_data: what a volume holds is copied into a volume that exists, which becomes the copy once that is whole.

Where the destination has a parent, only what the source holds above its own parent is copied: the two parents must
show the same. Where it has none, all that the source shows is copied. The destination keeps its size and its parent.
"""

from __future__ import annotations

from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects.attending import attend, end_children
from interlock.agent.effects.publishing import discard_part, prepare_part
from interlock.agent.effects.subchain import MERGING
from interlock.agent.records import StepFailed
from interlock.agent.storage.description import following, generation, preallocation, refuse_other_generation
from interlock.agent.storage.domain import Volume, write_meta
from interlock.agent.storage.image_chain import LEGAL, refuse_illegal
from interlock.agent.storage.qcow2 import references
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource, image_resource
from interlock.verbs import Code, SdmCopyData, VolumeEndpoint, VolumeFormat, VolumeType

Copying = Work[SdmCopyData]


def _check(work: Copying) -> None:
    verb, domains = work.verb, work.host.domains
    source, target = _source(work), _target(work)
    chain = domains.attached(verb.source.sd_id).check_chain(source)
    parents = domains.usable(verb.destination.sd_id).check_chain(target)[1:]
    refuse_illegal([source] if parents else chain)
    if target in chain:
        raise StepFailed(
            Code.WRONG_CHAIN,
            f"source {verb.source.vol_id} is built upon destination {verb.destination.vol_id}; merge them instead",
        )
    if target.meta().get("VOLTYPE") == VolumeType.SHARED.name:
        raise StepFailed(
            Code.SHARED_VOLUME_NON_WRITABLE,
            f"volume {verb.destination.vol_id} is SHARED: others are built upon it; choose another destination",
        )
    refuse_other_generation(source, verb.source.generation)
    refuse_other_generation(target, verb.destination.generation)
    sizes = [_size_bytes(work, volume) for volume in (source, target)]
    if sizes[0] > sizes[1]:
        raise StepFailed(
            Code.VOLUME_COPY_ERROR,
            f"source {verb.source.vol_id} has {sizes[0]} bytes, destination {verb.destination.vol_id} only {sizes[1]}",
        )


async def _copy(work: Copying) -> None:
    await attend(work, "copy", lambda: _command(work), code=Code.VOLUME_COPY_ERROR)


def _command(work: Copying) -> list[str]:
    """Makes room for the copy; the command that fills it."""
    source, target = _source(work), _target(work)
    part = prepare_part(target)
    durable.make_file(part)
    return work.host.qemu_img.convert_command(
        (source.path, source.format),
        (part, target.format),
        preallocate=preallocation(target),
        backing=_backing(work, target),
    )


def _backing(work: Copying, target: Volume) -> tuple[str, VolumeFormat] | None:
    """The destination's parent as its header names it, and that file's format."""
    parents = work.host.domains.find(work.verb.destination.sd_id).check_chain(target)[1:]
    name = references(target.path).backing_file if parents else None
    return (name, parents[0].format) if name is not None else None


async def _uncopy(work: Copying) -> None:
    """Ends the child, wherever it is, and removes what it has written."""
    await end_children(work.host, work.task_id)
    await work.host.blocking(lambda: discard_part(_target(work), is_folder_kept=True))


def _verify(work: Copying) -> None:
    target, qemu_img = _target(work), work.host.qemu_img
    kind, wanted = target.format, _size_bytes(work, target)
    qemu_img.check(target.part_path, kind)
    if qemu_img.info(target.part_path, kind).virtual_size < wanted:
        qemu_img.resize(target.part_path, kind, wanted, preallocate=preallocation(target), code=Code.VOLUME_COPY_ERROR)
    durable.fsync_file(target.part_path)
    durable.fsync_folder(target.part_path.parent)


def _describe(work: Copying) -> None:
    """Writes the new description aside, so that a full disk is found out while there is a way back."""
    target = _target(work)
    changed = {"LEGALITY": LEGAL, "GEN": str(following(generation(target)))}
    kept = {key: value for key, value in target.meta().items() if key != MERGING}
    write_meta(_described(target), {**kept, **changed})


def _discard_description(work: Copying) -> None:
    aside = _described(_target(work))
    durable.remove_file(aside)
    durable.remove_aside(aside)


def _replace(work: Copying) -> None:
    target = _target(work)
    durable.ensure_renamed(target.part_path, target.path)
    durable.ensure_renamed(_described(target), target.meta_path)


def _described(target: Volume) -> Path:
    return target.meta_path.with_name(target.meta_path.name + ".part")


def _size_bytes(work: Copying, volume: Volume) -> int:
    shown = work.host.qemu_img.info(volume.path, volume.format)
    if volume.format is VolumeFormat.COW and shown.backing_file != references(volume.path).backing_file:
        raise StepFailed(Code.IMAGE_NOT_OURS, f"{volume.path}: its header and qemu-img name different parents")
    return shown.virtual_size


def _source(work: Copying) -> Volume:
    return _volume(work, work.verb.source)


def _target(work: Copying) -> Volume:
    return _volume(work, work.verb.destination)


def _volume(work: Copying, endpoint: VolumeEndpoint) -> Volume:
    return work.host.domains.find(endpoint.sd_id).volume(endpoint.img_id, endpoint.vol_id)


def _resources(verb: SdmCopyData) -> tuple[Resource, ...]:
    source, target = verb.source, verb.destination
    return (
        domain_resource(source.sd_id, is_exclusive=False),
        domain_resource(target.sd_id, is_exclusive=False),
        image_resource(source.sd_id, source.img_id, is_exclusive=False),
        image_resource(target.sd_id, target.img_id, is_exclusive=True),
    )


PROGRAM: Program[SdmCopyData] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("copy", StepKind.REPEATABLE, _copy, undo=_uncopy),
        Step("verify", StepKind.REPEATABLE, blocking(_verify)),
        Step("describe", StepKind.REPEATABLE, blocking(_describe), undo=blocking(_discard_description)),
        Step("replace", StepKind.REPEATABLE, blocking(_replace), is_no_return=True),
    ),
    resources=_resources,
)
