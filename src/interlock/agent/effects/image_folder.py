"""A new image, made aside as a folder with all its volumes and renamed when it is whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects.image_copying import describe
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain, Volume
from interlock.agent.storage.image_chain import Member
from interlock.verbs import Code


def aside(domain: Domain, image_id: str) -> Path:
    """Where a new image is made."""
    return domain.images / f"_new_{image_id}"


def refuse_existing(domain: Domain, image_id: str) -> None:
    """Raises `StepFailed` (OVERWRITE_IMAGE_ERROR) if the domain has the image."""
    if domain.image(image_id).exists():
        raise StepFailed(
            Code.OVERWRITE_IMAGE_ERROR,
            f"image {image_id} exists in domain {domain.path.name} already; delete it first",
        )


def refuse_children(domain: Domain, image_id: str) -> None:
    """Raises `StepFailed` (IMAGE_HAS_CHILDREN) if other images of the domain are built upon this one."""
    child = next(domain.children_elsewhere(image_id), None)
    if child is not None:
        raise StepFailed(
            Code.IMAGE_HAS_CHILDREN,
            f"volume {child} is built upon image {image_id} of domain {domain.path.name}; remove it first",
        )


def begin(domain: Domain, image_id: str, members: Iterable[Member], **changed: str) -> None:
    """Makes the folder, in it the descriptions of the volumes-to-be with what is `changed` in each.

    They are there from the beginning, so that a template upon which the image will be built is not deleted.
    """
    discard(domain, image_id)
    folder = aside(domain, image_id)
    durable.make_folder(folder)
    for member in members:
        describe(Volume(folder / member.id), member, **changed)


def discard(domain: Domain, image_id: str) -> None:
    """Removes what was made; nothing there is fine."""
    durable.remove_tree(aside(domain, image_id))


def publish(domain: Domain, image_id: str) -> None:
    """Gives the image its name, all at once; one that has it keeps it."""
    folder = aside(domain, image_id)
    if folder.is_dir():
        durable.fsync_folder(folder)  # for the names of the volumes, which programs have made
    durable.ensure_renamed(folder, domain.image(image_id))


def withdraw(domain: Domain, image_id: str) -> None:
    """Puts the published image aside again. Raises `StepFailed` (IMAGE_HAS_CHILDREN) if others need it by now."""
    refuse_children(domain, image_id)
    durable.ensure_renamed(domain.image(image_id), aside(domain, image_id))
