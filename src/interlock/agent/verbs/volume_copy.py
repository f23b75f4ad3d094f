"""Volume.copy: what a volume shows, copied by a child that outlives the agent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from interlock.agent.children import Child, Fate
from interlock.agent.domain import Volume
from interlock.agent.publishing import discard_part, prepare_part, publish, refuse_existing, withdraw
from interlock.agent.qcow2 import references
from interlock.agent.qemu_img import progress_percent, reason
from interlock.agent.records import StepFailed
from interlock.agent.resource_locks import Resource
from interlock.agent.steps import (
    Program,
    Step,
    StepKind,
    Work,
    domain_resource,
    end_child,
    image_resource,
    stopped,
)
from interlock.verbs import Code, VolumeCopy, VolumeFormat

Copying = Work[VolumeCopy]

_POLL_S = 0.1


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
    refuse_existing(_target(work))


async def _copy(work: Copying) -> None:
    """Starts the child, or finds the one that an earlier agent started, and waits for its end."""
    child = work.host.children.find(work.task_id)
    if child is None:
        child = await work.host.blocking(_start, work)
    while True:
        verdict = await work.host.blocking(child.judge)
        percent = progress_percent(await work.host.blocking(child.output))
        if percent is not None:
            work.report(percent)
        match verdict.fate:
            case Fate.ENDED if verdict.exit_status == 0:
                return
            case Fate.ENDED:
                text = await work.host.blocking(child.error_text)
                raise reason(text or f"qemu-img ended with status {verdict.exit_status}", Code.VOLUME_COPY_ERROR)
            case Fate.DIED:
                raise StepFailed(Code.INTERRUPTED, "qemu-img was lost together with its job; start the copy anew")
            case Fate.RUNNING if work.stop.is_set():
                raise stopped()
        with suppress(TimeoutError):
            await asyncio.wait_for(work.stop.wait(), _POLL_S)


def _start(work: Copying) -> Child:
    verb, target = work.verb, _target(work)
    source = _source(work)
    part = prepare_part(target)
    part.touch(mode=0o640, exist_ok=False)
    command = work.host.qemu_img.convert_command(
        (source.path, source.format), (part, verb.volFormat), preallocate=verb.preallocate
    )
    return work.host.children.start(work.task_id, command)


async def _uncopy(work: Copying) -> None:
    """Ends the child, wherever it is, and removes what it has written."""
    child = await work.host.blocking(work.host.children.find, work.task_id)
    if child is not None:
        await end_child(work.host, child)
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
