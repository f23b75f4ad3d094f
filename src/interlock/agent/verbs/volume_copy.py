"""Volume.copy: what a volume shows, copied by a child that outlives the agent.

`postZero` and `discard` add nothing: the copy is a new file, also where `force` has it replace another one. A copy
that has replaced a volume cannot be reverted.
"""

from __future__ import annotations

from interlock.agent import durable
from interlock.agent.effects.attending import attend, end_children
from interlock.agent.effects.publishing import discard_part, prepare_part, publish, refuse_existing, withdraw
from interlock.agent.records import StepFailed
from interlock.agent.storage import lineage, replacing
from interlock.agent.storage.domain import Domain, Volume
from interlock.agent.storage.image_chain import described, refuse_illegal, refuse_misread
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource, image_resource
from interlock.verbs import Code, VolumeCopy

Copying = Work[VolumeCopy]


def _is_forced(verb: VolumeCopy) -> bool:
    return verb.force


def _check(work: Copying) -> None:
    verb, domains = work.verb, work.host.domains
    source = domains.attached(verb.storagedomainID)
    chain = source.check_chain(source.volume(verb.imageID, verb.volumeID))
    refuse_illegal(chain)
    refuse_misread(chain, work.host.qemu_img)
    domains.usable(verb.dstSdUUID)
    _refuse_other_volumes(work)
    if verb.force:
        _refuse_irreplaceable(work)
    else:
        refuse_existing(_target(work))


def _refuse_other_volumes(work: Copying) -> None:
    """A volume without a parent beside others would be a second chain in their image."""
    verb, target = work.verb, _target(work)
    others = [name for name in described(target.path.parent) if name != verb.dstVolUUID]
    if others:
        raise StepFailed(
            Code.IMAGE_IS_NOT_LEGAL_CHAIN,
            f"image {verb.dstImgUUID} of domain {verb.dstSdUUID} has other volumes ({', '.join(others)}); "
            "choose another image id",
        )


def _refuse_irreplaceable(work: Copying) -> None:
    target = _target(work)
    if target.path.is_symlink() or (target.path.exists() and not target.path.is_file()):
        raise StepFailed(Code.IMAGE_NOT_OURS, f"{target.path} is not a regular file")
    _refuse_children(work)


def _refuse_children(work: Copying) -> None:
    lineage.refuse_children(_target_domain(work), work.verb.dstImgUUID, [work.verb.dstVolUUID])


async def _copy(work: Copying) -> None:
    await attend(work, "copy", lambda: _command(work), code=Code.VOLUME_COPY_ERROR)


def _command(work: Copying) -> list[str]:
    """Makes room for the copy; the command that fills it."""
    source, part = _source(work), prepare_part(_target(work))
    durable.make_file(part)
    return work.host.qemu_img.convert_command(
        (source.path, source.format), (part, work.verb.volFormat), preallocate=work.verb.preallocate
    )


async def _uncopy(work: Copying) -> None:
    """Ends the child, wherever it is, and removes what it has written."""
    await end_children(work.host, work.task_id)
    await work.host.blocking(lambda: discard_part(_target(work)))


def _verify(work: Copying) -> None:
    work.host.qemu_img.check(_target(work).part_path, work.verb.volFormat)


def _set_aside(work: Copying) -> None:
    replacing.set_aside(_target(work), work.task_id)
    _refuse_children(work)  # an image that is built upon the volume may have come into the domain during the copy


def _put_back(work: Copying) -> None:
    replacing.put_back(_target(work), work.task_id)


def _publish(work: Copying) -> None:
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


def _withdraw(work: Copying) -> None:
    _refuse_children(work)
    withdraw(_target(work))


def _forget_former(work: Copying) -> None:
    replacing.forget_former(_target(work), work.task_id)


def _source(work: Copying) -> Volume:
    return work.host.domains.find(work.verb.storagedomainID).volume(work.verb.imageID, work.verb.volumeID)


def _target_domain(work: Copying) -> Domain:
    return work.host.domains.find(work.verb.dstSdUUID)


def _target(work: Copying) -> Volume:
    return _target_domain(work).volume(work.verb.dstImgUUID, work.verb.dstVolUUID)


def _resources(verb: VolumeCopy) -> tuple[Resource, ...]:
    return (
        domain_resource(verb.storagedomainID, is_exclusive=False),
        domain_resource(verb.dstSdUUID, is_exclusive=False),
        image_resource(verb.storagedomainID, verb.imageID, is_exclusive=False),
        image_resource(verb.dstSdUUID, verb.dstImgUUID, is_exclusive=True),
    )


PROGRAM: Program[VolumeCopy] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("copy", StepKind.REPEATABLE, _copy, undo=_uncopy),
        Step("verify", StepKind.REPEATABLE, blocking(_verify)),
        Step("set_aside", StepKind.REPEATABLE, blocking(_set_aside), undo=blocking(_put_back), applies=_is_forced),
        Step("publish", StepKind.REPEATABLE, blocking(_publish), undo=blocking(_withdraw)),
        Step("forget_former", StepKind.REPEATABLE, blocking(_forget_former), is_no_return=True, applies=_is_forced),
    ),
    resources=_resources,
)
