"""Image.syncData: the volumes that `Image.cloneStructure` made, filled with what those of the source hold.

Each new file is made beside the one that it replaces; all of these are kept until the last new one is in its place.
Doing it again takes over what the source holds by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects import image_copying
from interlock.agent.effects.attending import end_children
from interlock.agent.effects.image_copying import describe
from interlock.agent.effects.publishing import withdraw
from interlock.agent.records import StepFailed
from interlock.agent.storage import replacing
from interlock.agent.storage.domain import Domain, Volume
from interlock.agent.storage.image_chain import LEGAL, Member, read_image, read_source, refuse_misread
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking
from interlock.verbs import Code, ImageSyncData, SyncType

Syncing = Work[ImageSyncData]


def _check(work: Syncing) -> None:
    verb, domains = work.verb, work.host.domains
    source = read_source(domains.attached(verb.storagedomainID), verb.imageID)
    target = read_image(domains.usable(verb.dstSdUUID), verb.imageID)
    refuse_misread(source.chain, work.host.qemu_img)
    if source.structure != target.structure:
        raise StepFailed(
            Code.IMAGE_IS_NOT_LEGAL_CHAIN,
            f"image {verb.imageID} is not the same chain of volumes in {verb.storagedomainID} and {verb.dstSdUUID}; "
            "delete it in the latter and clone its structure anew",
        )


async def _copy(work: Syncing) -> None:
    members = await work.host.blocking(_members, work)
    await image_copying.copy_members(work, members, lambda member: _part(work, member), code=Code.VOLUME_COPY_ERROR)


async def _uncopy(work: Syncing) -> None:
    await end_children(work.host, work.task_id)
    for member in await work.host.blocking(_members, work):
        await work.host.blocking(durable.remove_file, _part(work, member))


async def _verify(work: Syncing) -> None:
    members = await work.host.blocking(_members, work)
    await image_copying.verify_members(work.host, members, lambda member: _part(work, member))


def _set_aside(work: Syncing) -> None:
    for member in _members(work):
        replacing.set_aside(_volume(work, member), work.task_id)


def _put_back(work: Syncing) -> None:
    for member in _members(work):
        replacing.put_back(_volume(work, member), work.task_id)


def _publish(work: Syncing) -> None:
    for member in _members(work):
        volume = _volume(work, member)
        durable.ensure_renamed(volume.part_path, volume.path)
        describe(volume, member, DOMAIN=work.verb.dstSdUUID, LEGALITY=LEGAL)


def _withdraw(work: Syncing) -> None:
    for member in _members(work):
        withdraw(_volume(work, member))


def _forget_former(work: Syncing) -> None:
    for member in _members(work):
        replacing.forget_former(_volume(work, member), work.task_id)


def _members(work: Syncing) -> Sequence[Member]:
    """The source's volumes that are to be copied, base first."""
    members = read_source(work.host.domains.find(work.verb.storagedomainID), work.verb.imageID).members
    chosen = {SyncType.ALL: members, SyncType.INTERNAL: members[:-1], SyncType.LEAF: members[-1:]}
    return chosen[work.verb.syncType]


def _target(work: Syncing) -> Domain:
    return work.host.domains.find(work.verb.dstSdUUID)


def _volume(work: Syncing, member: Member) -> Volume:
    return _target(work).volume(work.verb.imageID, member.id)


def _part(work: Syncing, member: Member) -> Path:
    return _volume(work, member).part_path


def _resources(verb: ImageSyncData) -> tuple[Resource, ...]:
    return image_copying.resources(verb.storagedomainID, verb.dstSdUUID, verb.imageID)


PROGRAM: Program[ImageSyncData] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("copy", StepKind.REPEATABLE, _copy, undo=_uncopy),
        Step("verify", StepKind.REPEATABLE, _verify),
        Step("set_aside", StepKind.REPEATABLE, blocking(_set_aside), undo=blocking(_put_back)),
        Step("publish", StepKind.REPEATABLE, blocking(_publish), undo=blocking(_withdraw)),
        Step("forget_former", StepKind.REPEATABLE, blocking(_forget_former), is_no_return=True),
    ),
    resources=_resources,
)
