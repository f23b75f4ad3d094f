"""Image.cloneStructure: a folder of empty volumes with the ids, sizes, formats and parents of an image elsewhere.

They are ILLEGAL, since they hold nothing yet and what they show is not so, until `Image.syncData` or
`SDM.copy_data` fills them. Preallocated ones take their room only then.
"""

from __future__ import annotations

from interlock.agent import durable
from interlock.agent.effects import image_copying, image_folder
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain
from interlock.agent.storage.image_chain import ILLEGAL, Image, check_template, read_image, read_source
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking
from interlock.verbs import Code, ImageCloneStructure

Cloning = Work[ImageCloneStructure]


def _check(work: Cloning) -> None:
    work.host.domains.attached(work.verb.storagedomainID)
    target = work.host.domains.usable(work.verb.dstSdUUID)
    check_template(_image(work), target)
    image_folder.refuse_existing(target, work.verb.imageID)


def _make(work: Cloning) -> None:
    members, target, image_id = _image(work).members, _target(work), work.verb.imageID
    image_folder.begin(target, image_id, members, DOMAIN=work.verb.dstSdUUID, LEGALITY=ILLEGAL)
    for member in members:
        path = image_folder.aside(target, image_id) / member.id
        work.host.qemu_img.create(path, member.format, member.size_bytes, backing=member.backing)
        durable.fsync_file(path)
    durable.fsync_folder(image_folder.aside(target, image_id))


def _unmake(work: Cloning) -> None:
    image_folder.discard(_target(work), work.verb.imageID)


def _publish(work: Cloning) -> None:
    check_template(_image(work), _target(work))
    image_folder.publish(_target(work), work.verb.imageID)


def _withdraw(work: Cloning) -> None:
    target, image_id = _target(work), work.verb.imageID
    if not target.image(image_id).is_dir():
        return
    filled = [member.id for member in read_image(target, image_id).members if member.meta.get("LEGALITY") != ILLEGAL]
    if filled:
        raise StepFailed(
            Code.OVERWRITE_IMAGE_ERROR,
            f"image {image_id} of domain {work.verb.dstSdUUID} holds data by now ({', '.join(filled)}); "
            "delete it if it is not wanted",
        )
    image_folder.withdraw(target, image_id)


def _image(work: Cloning) -> Image:
    return read_source(work.host.domains.find(work.verb.storagedomainID), work.verb.imageID)


def _target(work: Cloning) -> Domain:
    return work.host.domains.find(work.verb.dstSdUUID)


def _resources(verb: ImageCloneStructure) -> tuple[Resource, ...]:
    return image_copying.resources(verb.storagedomainID, verb.dstSdUUID, verb.imageID)


PROGRAM: Program[ImageCloneStructure] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("make", StepKind.REPEATABLE, blocking(_make), undo=blocking(_unmake)),
        Step("publish", StepKind.REPEATABLE, blocking(_publish), undo=blocking(_withdraw)),
    ),
    resources=_resources,
)
