"""A subchain: a volume of an image (its base) and the one built upon it (its top), which are to become one."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.agent.records import StepFailed
from interlock.agent.storage.description import generation
from interlock.agent.storage.domain import Domain, Volume
from interlock.agent.storage.image_chain import LEGAL, refuse_illegal
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Host, domain_resource, image_resource
from interlock.verbs import Code, Subchain, VolumeType

#: The key by which a base says whose data was merged into it, while that is so.
MERGED = "MERGED"
#: The key by which a base that was LEGAL says which task has begun to merge into it, until a merge is over.
MERGING = "MERGING"


def base(host: Host, subchain: Subchain) -> Volume:
    """The volume that stays."""
    return host.domains.find(subchain.sd_id).volume(subchain.img_id, subchain.base_id)


def top(host: Host, subchain: Subchain) -> Volume:
    """The volume that goes, once its data is in the base."""
    return host.domains.find(subchain.sd_id).volume(subchain.img_id, subchain.top_id)


def check(host: Host, subchain: Subchain) -> None:
    """Raises `StepFailed` unless the top is built upon the base, alone, and both are whole and may be changed.

    The base may be ILLEGAL by a merge that failed, which the next one mends; not by anything else, such as being
    an empty clone.
    """
    domain = host.domains.usable(subchain.sd_id)
    lower, upper = base(host, subchain), top(host, subchain)
    for volume in (lower, upper):
        if volume.meta().get("VOLTYPE") == VolumeType.SHARED.name:
            raise StepFailed(
                Code.SHARED_VOLUME_NON_WRITABLE,
                f"volume {volume.path.name} is SHARED: others are built upon it; it cannot be merged",
            )
    refuse_illegal([upper] if MERGING in lower.meta() else [upper, lower])
    chain = domain.check_chain(upper)
    others = [child for child in legal_children(domain, lower) if child != upper]
    if (
        chain[1:2] != [lower]
        or upper.meta().get("PUUID") != subchain.base_id
        or lower.meta().get("VOLTYPE") != VolumeType.INTERNAL.name
        or others
    ):
        raise wrong_chain(subchain, "is not the parent of it alone")


def legal_children(domain: Domain, volume: Volume) -> Iterator[Volume]:
    """The volumes of its image that are built upon this one, but for what is ILLEGAL (a top that was merged)."""
    for volume_id in domain.children_within(volume):
        child = Volume(volume.path.with_name(volume_id))
        if child.meta().get("LEGALITY") == LEGAL:
            yield child


def merged_note(upper: Volume, base_generation: int) -> str:
    """What the base says once it holds what the top holds; untrue as soon as either is at another generation."""
    return f"{upper.path.name} {generation(upper)} {base_generation}"


def wrong_chain(subchain: Subchain, fact: str) -> StepFailed:
    """The failure of a call about volumes that are not as it says."""
    return StepFailed(
        Code.WRONG_CHAIN,
        f"image {subchain.img_id}: base {subchain.base_id} of top {subchain.top_id} {fact}; look at the chain anew",
    )


def resources(subchain: Subchain) -> tuple[Resource, ...]:
    """What is locked while volumes of a chain become one."""
    return (
        domain_resource(subchain.sd_id, is_exclusive=False),
        image_resource(subchain.sd_id, subchain.img_id, is_exclusive=True),
    )
