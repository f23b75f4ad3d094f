"""Image.delete: the image's folder is renamed out of the way, overwritten if that is asked for, and removed."""

from __future__ import annotations

from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects import deleting
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource, image_resource
from interlock.verbs import Code, ImageDelete

Deleting = Work[ImageDelete]


def _check(work: Deleting) -> None:
    verb = work.verb
    domain = work.host.domains.usable(verb.storagedomainID)
    # An image that an earlier deletion could not remove whole is removed by the next one.
    if not _image(work).is_dir() and not deleting.all_hidden(domain, verb.imageID):
        raise StepFailed(
            Code.IMAGE_DOES_NOT_EXIST_IN_SD,
            f"Image does not exist in domain: image={verb.imageID}, domain={verb.storagedomainID}",
        )
    child = None if verb.force else next(domain.children_elsewhere(verb.imageID), None)
    if child is not None:
        raise StepFailed(
            Code.IMAGE_HAS_CHILDREN,
            f"volume {child} is built upon image {verb.imageID}; remove it first, or use force",
        )


def _hide(work: Deleting) -> None:
    deleting.hide_image(_domain(work), work.verb.imageID, work.task_id)
    if not work.verb.force:
        deleting.refuse_hidden_parent(_domain(work), work.verb.imageID, work.task_id)


def _show_again(work: Deleting) -> None:
    durable.ensure_renamed(_hidden(work), _image(work))


async def _remove(work: Deleting) -> None:
    await deleting.remove_hidden(
        work.host,
        await work.host.blocking(deleting.all_hidden, _domain(work), work.verb.imageID),
        is_erased=work.verb.postZero,
        report=work.report,
        code=Code.IMAGE_DELETE_ERROR,
    )


def _domain(work: Deleting) -> Domain:
    return work.host.domains.find(work.verb.storagedomainID)


def _image(work: Deleting) -> Path:
    return _domain(work).image(work.verb.imageID)


def _hidden(work: Deleting) -> Path:
    return deleting.hidden(_domain(work), work.verb.imageID, work.task_id)


def _resources(verb: ImageDelete) -> tuple[Resource, ...]:
    return (
        domain_resource(verb.storagedomainID, is_exclusive=False),
        image_resource(verb.storagedomainID, verb.imageID, is_exclusive=True),
    )


PROGRAM: Program[ImageDelete] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("hide", StepKind.REPEATABLE, blocking(_hide), undo=blocking(_show_again)),
        Step("remove", StepKind.REPEATABLE, _remove, is_no_return=True),
    ),
    resources=_resources,
)
