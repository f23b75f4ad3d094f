"""Volume.extendSize: a leaf is made larger by a child, then described so.

Until the new description has its name the volume counts as large as before, and is cut to that again if the task
fails: nobody can have written what is new, since the image is locked. Afterwards somebody may have, and it stays.
"""

from __future__ import annotations

from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects.attending import attend, end_children
from interlock.agent.records import StepFailed
from interlock.agent.storage.description import preallocation
from interlock.agent.storage.domain import Volume, write_meta
from interlock.agent.storage.image_chain import refuse_illegal
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource, image_resource
from interlock.verbs import Code, VolumeExtendSize, VolumeType

Extending = Work[VolumeExtendSize]

_SECTOR_BYTES = 512
_NOT_WRITABLE = {
    VolumeType.SHARED.name: Code.SHARED_VOLUME_NON_WRITABLE,
    VolumeType.INTERNAL.name: Code.INTERNAL_VOLUME_NON_WRITABLE,
}


def _check(work: Extending) -> None:
    domain = work.host.domains.usable(work.verb.storagedomainID)
    volume = _volume(work)
    place = volume.meta().get("VOLTYPE", "")
    if place in _NOT_WRITABLE:
        raise StepFailed(_NOT_WRITABLE[place], f"volume {work.verb.volumeID} is {place}; only a LEAF is extended")
    refuse_illegal(domain.check_chain(volume))
    if _new_size(work) < _size(work):
        raise StepFailed(
            Code.VOLUME_RESIZE_VALUE_ERROR,
            f"volume {work.verb.volumeID} has {_size(work)} bytes, more than {work.verb.newSize}; it never shrinks",
        )


def _prepare(work: Extending) -> None:
    """Writes the description that the larger volume will have, while there is no harm if there is no room for it."""
    volume, size_bytes = _volume(work), _size(work)
    meta = volume.meta()
    if meta.get("CAP") != str(size_bytes):
        write_meta(volume.meta_path, {**meta, "CAP": str(size_bytes)})
    if size_bytes < _new_size(work):
        write_meta(_next(volume), {**meta, "CAP": str(_new_size(work))})
    else:
        durable.remove_file(_next(volume))  # of a task that was given up


def _unprepare(work: Extending) -> None:
    volume = _volume(work)
    durable.remove_file(_next(volume))
    for path in (_next(volume), volume.meta_path):
        durable.remove_aside(path)


async def _extend(work: Extending) -> None:
    if await work.host.blocking(_next(_volume(work)).exists):
        await attend(work, "resize", lambda: _command(work), code=Code.VOLUME_EXTENDING_ERROR)
        await work.host.blocking(_settle, work)


def _command(work: Extending) -> list[str]:
    volume = _volume(work)
    return work.host.qemu_img.resize_command(
        volume.path, volume.format, _new_size(work), preallocate=preallocation(volume)
    )


def _settle(work: Extending) -> None:
    if _size(work) != _new_size(work):
        raise StepFailed(
            Code.VOLUME_EXTENDING_ERROR, f"{_volume(work).path} has {_size(work)} bytes and not {_new_size(work)}"
        )
    durable.fsync_file(_volume(work).path)


async def _shrink(work: Extending) -> None:
    await end_children(work.host, work.task_id)
    await work.host.blocking(_cut, work)


def _cut(work: Extending) -> None:
    volume = _volume(work)
    size_bytes = int(volume.meta()["CAP"])
    if _size(work) > size_bytes:
        work.host.qemu_img.resize(volume.path, volume.format, size_bytes, is_shrinking=True)
        durable.fsync_file(volume.path)


def _describe(work: Extending) -> None:
    volume = _volume(work)
    durable.ensure_renamed(_next(volume), volume.meta_path)


def _new_size(work: Extending) -> int:
    """The size asked for, in whole sectors."""
    return -(-work.verb.newSize // _SECTOR_BYTES) * _SECTOR_BYTES


def _size(work: Extending) -> int:
    """The size that the volume has now, whatever its description says."""
    volume = _volume(work)
    return work.host.qemu_img.info(volume.path, volume.format).virtual_size


def _next(volume: Volume) -> Path:
    """Where the description of the larger volume waits for its name."""
    return volume.meta_path.with_name(volume.meta_path.name + ".next")


def _volume(work: Extending) -> Volume:
    return work.host.domains.find(work.verb.storagedomainID).volume(work.verb.imageID, work.verb.volumeID)


def _resources(verb: VolumeExtendSize) -> tuple[Resource, ...]:
    return (
        domain_resource(verb.storagedomainID, is_exclusive=False),
        image_resource(verb.storagedomainID, verb.imageID, is_exclusive=True),
    )


PROGRAM: Program[VolumeExtendSize] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("prepare", StepKind.REPEATABLE, blocking(_prepare), undo=blocking(_unprepare)),
        Step("extend", StepKind.REPEATABLE, _extend, undo=_shrink),
        Step("describe", StepKind.REPEATABLE, blocking(_describe), is_no_return=True),
    ),
    resources=_resources,
)
