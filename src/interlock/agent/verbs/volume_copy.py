"""Volume.copy: what a volume shows, copied by a child that outlives the agent."""

from __future__ import annotations

from interlock.agent.attending import attend, end_children
from interlock.agent.domain import Volume
from interlock.agent.publishing import discard_part, prepare_part, publish, refuse_existing, withdraw
from interlock.agent.qcow2 import references
from interlock.agent.records import StepFailed
from interlock.agent.resource_locks import Resource
from interlock.agent.steps import Program, Step, StepKind, Work, domain_resource, image_resource
from interlock.verbs import Code, VolumeCopy, VolumeFormat

Copying = Work[VolumeCopy]


async def _check(work: Copying) -> None:
    await work.host.blocking(_check_files, work)


def _check_files(work: Copying) -> None:
    verb = work.verb
    domain = work.host.domains.find(verb.storagedomainID)
    source = domain.volume(verb.imageID, verb.volumeID)
    domain.check_chain(source)
    shown = work.host.qemu_img.info(source.path, source.format)
    if source.format is VolumeFormat.COW and shown.backing_file != references(source.path).backing_file:
        raise StepFailed(Code.IMAGE_NOT_OURS, f"{source.path}: its header and qemu-img name different parents")
    work.host.domains.usable(verb.dstSdUUID)
    refuse_existing(_target(work))


async def _copy(work: Copying) -> None:
    await attend(work, "copy", lambda: _command(work), code=Code.VOLUME_COPY_ERROR)


def _command(work: Copying) -> list[str]:
    """Makes room for the copy; the command that fills it."""
    source, part = _source(work), prepare_part(_target(work))
    part.touch(mode=0o640, exist_ok=False)
    return work.host.qemu_img.convert_command(
        (source.path, source.format), (part, work.verb.volFormat), preallocate=work.verb.preallocate
    )


async def _uncopy(work: Copying) -> None:
    """Ends the child, wherever it is, and removes what it has written."""
    await end_children(work.host, work.task_id)
    await work.host.blocking(lambda: discard_part(_target(work)))


async def _verify(work: Copying) -> None:
    part = _target(work).part_path
    await work.host.blocking(work.host.qemu_img.check, part, work.verb.volFormat)


async def _publish(work: Copying) -> None:
    await work.host.blocking(_publish_volume, work)


def _publish_volume(work: Copying) -> None:
    verb = work.verb
    publish(
        _target(work),
        work.host.qemu_img,
        domain_id=verb.dstSdUUID,
        kind=verb.volFormat,
        preallocate=verb.preallocate,
        place=verb.volType,
        description=verb.desc,
        disk_type=_source(work).meta().get("DISKTYPE", "DATA"),
    )


def _is_published(work: Copying) -> bool:
    return _target(work).exists()


async def _withdraw(work: Copying) -> None:
    await work.host.blocking(lambda: withdraw(_target(work)))


def _source(work: Copying) -> Volume:
    return work.host.domains.find(work.verb.storagedomainID).volume(work.verb.imageID, work.verb.volumeID)


def _target(work: Copying) -> Volume:
    return work.host.domains.find(work.verb.dstSdUUID).volume(work.verb.dstImgUUID, work.verb.dstVolUUID)


def _resources(verb: VolumeCopy) -> tuple[Resource, ...]:
    return (
        domain_resource(verb.storagedomainID, is_exclusive=False),
        domain_resource(verb.dstSdUUID, is_exclusive=False),
        image_resource(verb.storagedomainID, verb.imageID, is_exclusive=False),
        image_resource(verb.dstSdUUID, verb.dstImgUUID, is_exclusive=True),
    )


PROGRAM: Program[VolumeCopy] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, _check),
        Step("copy", StepKind.REPEATABLE, _copy, undo=_uncopy),
        Step("verify", StepKind.REPEATABLE, _verify),
        Step("publish", StepKind.OBSERVABLE, _publish, holds=_is_published, undo=_withdraw),
    ),
    resources=_resources,
)
