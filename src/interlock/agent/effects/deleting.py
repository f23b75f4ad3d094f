"""How images and volumes go: out of the way by a rename, overwritten if that is asked for, then removed.

What is out of the way lies in a folder named after its image and the task that put it there. So a task brings back
only what it has itself put away, and what a task that was given up has left behind is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from interlock.agent import durable
from interlock.agent.effects.erasing import erase
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domain, volumes_in
from interlock.agent.tasks.steps import Host
from interlock.verbs import Code


def hidden(domain: Domain, image_id: str, task_id: str) -> Path:
    """Where a task puts what it removes of an image."""
    return domain.images / f"_remove_{image_id}.{task_id}"


def all_hidden(domain: Domain, image_id: str) -> list[Path]:
    """The folders in which something of the image lies out of the way, whoever put it there."""
    found = [path for name in (f"_remove_{image_id}", f"_remove_{image_id}.*") for path in domain.images.glob(name)]
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def hide_image(domain: Domain, image_id: str, task_id: str) -> None:
    """Renames an image, if it is there, out of the way."""
    durable.ensure_renamed(domain.image(image_id), hidden(domain, image_id, task_id))


def refuse_hidden_parent(domain: Domain, image_id: str, task_id: str) -> None:
    """Raises `StepFailed` (IMAGE_HAS_CHILDREN) if other images are built upon the one that was put out of the way.

    An image may have been copied into the domain since that was looked at first. Whoever copies one describes its
    volumes before he looks for the last time whether its template is there: of him and us one sees the other.
    """
    volume_ids = volumes_in(hidden(domain, image_id, task_id))
    child = next(domain.children_elsewhere(image_id, volume_ids), None)
    if child is not None:
        raise StepFailed(
            Code.IMAGE_HAS_CHILDREN,
            f"volume {child} has been built upon image {image_id} of domain {domain.path.name}; remove it first",
        )


async def remove_hidden(
    host: Host, folders: Sequence[Path], *, is_erased: bool, report: Callable[[int], None], code: Code
) -> None:
    """Removes what lies out of the way, overwritten first if `is_erased`; absent folders are fine.

    May be done again after a crash in its middle. Raises `StepFailed` with `code` if something cannot be removed.
    """
    try:
        if is_erased:
            await erase(host, folders, report)
        for folder in folders:
            await host.blocking(durable.remove_tree, folder)
    except OSError as error:
        where = ", ".join(map(str, folders))
        raise StepFailed(
            code, f"{where} cannot be removed: {error}; see to that, then remove it, or delete the image again"
        ) from error


def remove_empty(folder: Path) -> None:
    """Removes an image's folder if nothing is left in it; an absent one is fine."""
    if folder.is_dir() and not any(folder.iterdir()):
        durable.remove_folder(folder)
