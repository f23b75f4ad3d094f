"""Image.move: an image with all its volumes, copied to another domain, and then removed from its own if MOVE.

A copy (without `force`) can be reverted as long as the source has all that the destination has. A revert of
anything else is refused: the image that was replaced, or moved, is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects import deleting, image_copying, image_folder
from interlock.agent.effects.attending import end_children
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain
from interlock.agent.storage.image_chain import Image, Member, check_template, read_image, read_source, refuse_misread
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking
from interlock.verbs import Code, ImageMove, ImageOperation

Moving = Work[ImageMove]

#: The progress when all is copied and the source has yet to be overwritten.
_COPIED_PERCENT = 66
_DONE_PERCENT = 99


def _is_move(verb: ImageMove) -> bool:
    return verb.operation is ImageOperation.MOVE


def _is_forced(verb: ImageMove) -> bool:
    return verb.force


def _removes(verb: ImageMove) -> bool:
    return _is_move(verb) or _is_forced(verb)


def _check(work: Moving) -> None:
    verb, domains = work.verb, work.host.domains
    source = domains.usable(verb.storagedomainID) if _is_move(verb) else domains.attached(verb.storagedomainID)
    target = domains.usable(verb.dstSdUUID)
    image = read_source(source, verb.imageID)
    refuse_misread(image.chain, work.host.qemu_img)
    check_template(image, target)
    if _is_move(verb):
        image_folder.refuse_children(source, verb.imageID)
    if not verb.force:
        image_folder.refuse_existing(target, verb.imageID)
    elif target.image(verb.imageID).is_dir():
        image_folder.refuse_children(target, verb.imageID)


def _begin(work: Moving) -> None:
    image_folder.begin(_target(work), work.verb.imageID, _image(work).members, DOMAIN=work.verb.dstSdUUID)


def _discard(work: Moving) -> None:
    image_folder.discard(_target(work), work.verb.imageID)


async def _copy(work: Moving) -> None:
    image = await work.host.blocking(_image, work)
    percent_max = _COPIED_PERCENT if work.verb.postZero else _DONE_PERCENT
    await image_copying.copy_members(
        work, image.members, _aside(work), code=Code.MOVE_IMAGE_ERROR, percent_max=percent_max
    )


async def _uncopy(work: Moving) -> None:
    await end_children(work.host, work.task_id)


async def _verify(work: Moving) -> None:
    image = await work.host.blocking(_image, work)
    await image_copying.verify_members(work.host, image.members, _aside(work))


def _hide_former(work: Moving) -> None:
    _hide(work, _target(work))


def _show_former(work: Moving) -> None:
    durable.ensure_renamed(_hidden(work, _target(work)), _target(work).image(work.verb.imageID))


def _publish(work: Moving) -> None:
    check_template(_image(work), _target(work))
    image_folder.publish(_target(work), work.verb.imageID)


def _withdraw(work: Moving) -> None:
    target, image_id = _target(work), work.verb.imageID
    if not target.image(image_id).is_dir():
        return
    theirs = {member.id for member in _image(work).members}
    more = [member.id for member in read_image(target, image_id).members if member.id not in theirs]
    if more:
        raise StepFailed(
            Code.IMAGE_HAS_CHILDREN,
            f"image {image_id} of domain {work.verb.dstSdUUID} has more than its source by now ({', '.join(more)}); "
            "delete it if it is not wanted",
        )
    image_folder.withdraw(target, image_id)


def _hide_source(work: Moving) -> None:
    _hide(work, _source(work))


def _show_source(work: Moving) -> None:
    durable.ensure_renamed(_hidden(work, _source(work)), _source(work).image(work.verb.imageID))


async def _remove(work: Moving) -> None:
    folders = [_hidden(work, domain) for domain in (_target(work), _source(work))]
    await deleting.remove_hidden(
        work.host,
        folders,
        is_erased=work.verb.postZero,
        report=lambda percent: work.report(_COPIED_PERCENT + percent * (_DONE_PERCENT - _COPIED_PERCENT) // 100),
        code=Code.IMAGE_DELETE_ERROR,
    )


def _hide(work: Moving, domain: Domain) -> None:
    deleting.hide_image(domain, work.verb.imageID, work.task_id)
    deleting.refuse_hidden_parent(domain, work.verb.imageID, work.task_id)


def _hidden(work: Moving, domain: Domain) -> Path:
    return deleting.hidden(domain, work.verb.imageID, work.task_id)


def _source(work: Moving) -> Domain:
    return work.host.domains.find(work.verb.storagedomainID)


def _target(work: Moving) -> Domain:
    return work.host.domains.find(work.verb.dstSdUUID)


def _image(work: Moving) -> Image:
    return read_source(_source(work), work.verb.imageID)


def _aside(work: Moving) -> Callable[[Member], Path]:
    folder = image_folder.aside(_target(work), work.verb.imageID)
    return lambda member: folder / member.id


def _resources(verb: ImageMove) -> tuple[Resource, ...]:
    return image_copying.resources(verb.storagedomainID, verb.dstSdUUID, verb.imageID, is_moved=_is_move(verb))


PROGRAM: Program[ImageMove] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("begin", StepKind.REPEATABLE, blocking(_begin), undo=blocking(_discard)),
        Step("copy", StepKind.REPEATABLE, _copy, undo=_uncopy),
        Step("verify", StepKind.REPEATABLE, _verify),
        Step(
            "hide_former", StepKind.REPEATABLE, blocking(_hide_former), undo=blocking(_show_former), applies=_is_forced
        ),
        Step("publish", StepKind.REPEATABLE, blocking(_publish), undo=blocking(_withdraw)),
        Step("hide_source", StepKind.REPEATABLE, blocking(_hide_source), undo=blocking(_show_source), applies=_is_move),
        Step("remove", StepKind.REPEATABLE, _remove, is_no_return=True, applies=_removes),
    ),
    resources=_resources,
)
