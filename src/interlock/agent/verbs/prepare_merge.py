"""StoragePool.prepareMerge: the base becomes as large as the top, so that the top's data fits into it."""

from __future__ import annotations

from interlock.agent import durable
from interlock.agent.effects import subchain
from interlock.agent.records import StepFailed
from interlock.agent.storage.description import described_bytes, preallocation, refuse_other_generation
from interlock.agent.storage.domain import Volume, write_meta
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking
from interlock.verbs import Code, StoragePoolPrepareMerge

Preparing = Work[StoragePoolPrepareMerge]


def _check(work: Preparing) -> None:
    subchain.check(work.host, work.verb.subchainInfo)
    base = _base(work)
    refuse_other_generation(base, work.verb.subchainInfo.base_generation)
    size, described = _size_bytes(work, base), described_bytes(base)
    if size != described:  # or undoing, which goes by the description, could cut off what a guest has written
        raise StepFailed(
            Code.VOLUME_METADATA_READ_ERROR,
            f"{base.meta_path} says {described} bytes, and the volume has {size}; correct its CAP",
        )


def _resize(work: Preparing) -> None:
    base, wanted = _base(work), _wanted_bytes(work)
    if _size_bytes(work, base) < wanted:
        work.host.qemu_img.resize(base.path, base.format, wanted, preallocate=preallocation(base))
    durable.fsync_file(base.path)


def _shrink(work: Preparing) -> None:
    # Nobody can have written beyond the former size: the base is read only through its top.
    base = _base(work)
    described = described_bytes(base)
    if _size_bytes(work, base) > described:
        work.host.qemu_img.resize(base.path, base.format, described, is_shrinking=True)
    durable.fsync_file(base.path)


def _describe(work: Preparing) -> None:
    base, wanted = _base(work), _wanted_bytes(work)
    if described_bytes(base) < wanted:
        write_meta(base.meta_path, {**base.meta(), "CAP": str(wanted)})
    durable.fsync_folder(base.path.parent)


def _refuse_described(work: Preparing) -> None:
    if described_bytes(_base(work)) >= _wanted_bytes(work):
        raise StepFailed(
            Code.MERGE_SNAPSHOTS_ERROR,
            f"base {work.verb.subchainInfo.base_id} keeps its size, which does no harm: its former size is not known",
        )


def _base(work: Preparing) -> Volume:
    return subchain.base(work.host, work.verb.subchainInfo)


def _wanted_bytes(work: Preparing) -> int:
    return _size_bytes(work, subchain.top(work.host, work.verb.subchainInfo))


def _size_bytes(work: Preparing, volume: Volume) -> int:
    return work.host.qemu_img.info(volume.path, volume.format).virtual_size


def _resources(verb: StoragePoolPrepareMerge) -> tuple[Resource, ...]:
    return subchain.resources(verb.subchainInfo)


PROGRAM: Program[StoragePoolPrepareMerge] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("resize", StepKind.REPEATABLE, blocking(_resize), undo=blocking(_shrink)),
        Step("describe", StepKind.REPEATABLE, blocking(_describe), undo=blocking(_refuse_described)),
    ),
    resources=_resources,
)
