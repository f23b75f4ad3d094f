"""Image.delete: the image's folder is renamed out of the way, then removed."""

from __future__ import annotations

from pathlib import Path

from interlock.agent import durable
from interlock.agent.records import StepFailed
from interlock.agent.resource_locks import Resource
from interlock.agent.steps import Program, Step, StepKind, Work, domain_resource, image_resource
from interlock.verbs import Code, ImageDelete

Deleting = Work[ImageDelete]


async def _check(work: Deleting) -> None:
    await work.host.blocking(_check_files, work)


def _check_files(work: Deleting) -> None:
    verb = work.verb
    domain = work.host.domains.usable(verb.storagedomainID)
    if not _image(work).is_dir():
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


async def _hide(work: Deleting) -> None:
    await work.host.blocking(_rename_away, work)


def _rename_away(work: Deleting) -> None:
    durable.remove_tree(_hidden(work))  # of an image of the same id that was deleted before
    durable.rename(_image(work), _hidden(work))


def _is_hidden(work: Deleting) -> bool:
    return not _image(work).exists()


async def _show_again(work: Deleting) -> None:
    await work.host.blocking(_rename_back, work)


def _rename_back(work: Deleting) -> None:
    if _hidden(work).exists() and not _image(work).exists():
        durable.rename(_hidden(work), _image(work))


async def _remove(work: Deleting) -> None:
    await work.host.blocking(lambda: durable.remove_tree(_hidden(work)))


def _image(work: Deleting) -> Path:
    return work.host.domains.find(work.verb.storagedomainID).image(work.verb.imageID)


def _hidden(work: Deleting) -> Path:
    image = _image(work)
    return image.with_name(f"_remove_{image.name}")


def _resources(verb: ImageDelete) -> tuple[Resource, ...]:
    return (
        domain_resource(verb.storagedomainID, is_exclusive=False),
        image_resource(verb.storagedomainID, verb.imageID, is_exclusive=True),
    )


PROGRAM: Program[ImageDelete] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, _check),
        Step("hide", StepKind.OBSERVABLE, _hide, holds=_is_hidden, undo=_show_again),
        Step("remove", StepKind.REPEATABLE, _remove, is_no_return=True),
    ),
    resources=_resources,
)
