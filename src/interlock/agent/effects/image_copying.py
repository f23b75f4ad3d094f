"""Copying the volumes of an image: one child after the other, base first, each copying what its volume itself holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from interlock.agent import durable
from interlock.agent.effects.attending import attend
from interlock.agent.storage.domain import Volume, write_meta
from interlock.agent.storage.image_chain import Member
from interlock.agent.storage.qemu_img import QemuImg
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Host, Work, domain_resource, image_resource
from interlock.verbs import Code

#: What a volume without data counts for in the progress.
_WEIGHT_BYTES_MIN = 1 << 20


async def copy_members(
    work: Work[Any],  # Any: whatever verb copies an image
    members: Sequence[Member],
    target: Callable[[Member], Path],
    *,
    code: Code,
    percent_max: int = 99,
) -> None:
    """Returns when each volume has its copy at `target`, at `percent_max` of the task's progress.

    May be done again after a crash. Raises `StepFailed`: with `code` when a copy fails, ABORTED when the task is to
    stop.
    """
    weights = await work.host.blocking(lambda: [max(member.allocated_bytes, _WEIGHT_BYTES_MIN) for member in members])
    for member, span in zip(members, _spans(weights, percent_max), strict=True):
        command = partial(_copy_command, work.host.qemu_img, member, target(member))
        await attend(work, member.id, command, code=code, span=span)


async def verify_members(host: Host, members: Sequence[Member], target: Callable[[Member], Path]) -> None:
    """Fails unless each copy is whole; makes it durable, with its name."""
    for member in members:
        await host.blocking(host.qemu_img.check, target(member), member.format)
        await host.blocking(durable.fsync_file, target(member))
    for folder in {target(member).parent for member in members}:
        await host.blocking(durable.fsync_folder, folder)


def resources(source_domain: str, target_domain: str, image_id: str, *, is_moved: bool = False) -> tuple[Resource, ...]:
    """What is locked while an image is copied between domains under its own id."""
    return (
        domain_resource(source_domain, is_exclusive=False),
        domain_resource(target_domain, is_exclusive=False),
        image_resource(source_domain, image_id, is_exclusive=is_moved),
        image_resource(target_domain, image_id, is_exclusive=True),
    )


def describe(volume: Volume, member: Member, **changed: str) -> None:
    """Writes beside `volume` what is written beside `member`, but for what is `changed`."""
    write_meta(volume.meta_path, {**member.meta, **changed})


def _copy_command(qemu_img: QemuImg, member: Member, target: Path) -> list[str]:
    """Makes room for the copy; the command that fills it."""
    durable.remove_file(target)
    durable.make_file(target)
    return qemu_img.convert_command(
        (member.volume.path, member.format),
        (target, member.format),
        preallocate=member.preallocate,
        backing=member.backing,
    )


def _spans(weights: Sequence[int], percent_max: int) -> Iterator[tuple[int, int]]:
    """Each one's share of the progress, in percent from and to."""
    ends = [end * percent_max // (sum(weights) or 1) for end in accumulate(weights, initial=0)]
    return pairwise(ends)
