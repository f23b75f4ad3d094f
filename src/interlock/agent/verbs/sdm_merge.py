"""SDM.merge: what the top holds is written into its base. Read through the top, nothing changes at any time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from interlock.agent import durable
from interlock.agent.effects import subchain
from interlock.agent.effects.attending import attend
from interlock.agent.records import StepFailed
from interlock.agent.storage.description import following, generation, refuse_other_generation
from interlock.agent.storage.domain import Volume, write_meta
from interlock.agent.storage.image_chain import ILLEGAL, LEGAL
from interlock.agent.storage.qcow2 import references
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking
from interlock.verbs import Code, SdmMerge

Merging = Work[SdmMerge]

#: How often a commit is begun anew whose program was lost.
_COMMITS_MAX = 3


def _check(work: Merging) -> None:
    names, host = work.verb.subchain_info, work.host
    subchain.check(host, names)
    base, top = _base(work), _top(work)
    refuse_other_generation(base, names.base_generation)
    sizes = [host.qemu_img.info(volume.path, volume.format).virtual_size for volume in (base, top)]
    if sizes[0] < sizes[1]:
        raise StepFailed(
            Code.MERGE_SNAPSHOTS_ERROR,
            f"base {names.base_id} has {sizes[0]} bytes and top {names.top_id} {sizes[1]}; call prepareMerge first",
        )


def _mark(work: Merging) -> None:
    """Read by itself, the base is neither the former nor the new one until the merge is over."""
    base = _base(work)
    if base.meta().get("LEGALITY") == LEGAL:
        write_meta(base.meta_path, {**base.meta(), "LEGALITY": ILLEGAL, subchain.MERGING: work.task_id})
    durable.fsync_folder(base.path.parent)


def _unmark(work: Merging) -> None:
    base = _base(work)
    if base.meta().get(subchain.MERGING) == work.task_id:
        write_meta(base.meta_path, {**_without(base, subchain.MERGING), "LEGALITY": LEGAL})
    durable.fsync_folder(base.path.parent)


async def _commit(work: Merging) -> None:
    """A commit that was lost in its middle is simply begun anew."""
    unstoppable = replace(work, stop=asyncio.Event())
    for number in range(1, _COMMITS_MAX + 1):
        try:
            await attend(unstoppable, f"commit-{number}", lambda: _command(work), code=Code.MERGE_SNAPSHOTS_ERROR)
        except StepFailed as failed:
            if failed.failure.code != Code.INTERRUPTED or number == _COMMITS_MAX:
                raise _half_merged(work, failed) from failed
        else:
            return


def _command(work: Merging) -> list[str]:
    top, base = _top(work), _base(work)
    name = references(top.path).backing_file
    assert name is not None  # as was checked
    return work.host.qemu_img.commit_command(top.path, (name, base.path))


def _half_merged(work: Merging, failed: StepFailed) -> StepFailed:
    names = work.verb.subchain_info
    return StepFailed(
        failed.failure.code,
        f"{failed.failure.error}; base {names.base_id} is ILLEGAL by itself, and read through top {names.top_id} "
        "nothing has changed: see to the cause, then merge again",
    )


def _settle(work: Merging) -> None:
    """The base is LEGAL again only here: one that is has its new generation already."""
    base, top = _base(work), _top(work)
    if base.meta().get("LEGALITY") == LEGAL:
        durable.fsync_folder(base.path.parent)
        return
    work.host.qemu_img.check(base.path, base.format)
    durable.fsync_file(base.path)
    now_at = following(generation(base))
    settled = {"LEGALITY": LEGAL, "GEN": str(now_at), subchain.MERGED: subchain.merged_note(top, now_at)}
    write_meta(base.meta_path, {**_without(base, subchain.MERGING), **settled})


def _without(volume: Volume, key: str) -> dict[str, str]:
    return {name: value for name, value in volume.meta().items() if name != key}


def _base(work: Merging) -> Volume:
    return subchain.base(work.host, work.verb.subchain_info)


def _top(work: Merging) -> Volume:
    return subchain.top(work.host, work.verb.subchain_info)


def _resources(verb: SdmMerge) -> tuple[Resource, ...]:
    return subchain.resources(verb.subchain_info)


PROGRAM: Program[SdmMerge] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("mark", StepKind.REPEATABLE, blocking(_mark), undo=blocking(_unmark)),
        Step("commit", StepKind.REPEATABLE, _commit, is_no_return=True),
        Step("settle", StepKind.REPEATABLE, blocking(_settle)),
    ),
    resources=_resources,
)
