"""StoragePool.finalizeMerge: the merged top leaves the chain, ILLEGAL from then on, and its caller's to delete."""

from __future__ import annotations

from interlock.agent import durable
from interlock.agent.effects import subchain
from interlock.agent.records import StepFailed
from interlock.agent.storage.description import described_bytes, generation
from interlock.agent.storage.domain import Volume, write_meta
from interlock.agent.storage.image_chain import ILLEGAL, LEGAL, refuse_illegal
from interlock.agent.storage.qcow2 import references
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking
from interlock.verbs import Code, StoragePoolFinalizeMerge, VolumeType

Finalizing = Work[StoragePoolFinalizeMerge]


def _check(work: Finalizing) -> None:
    names = work.verb.subchainInfo
    subchain.check(work.host, names)
    base, top = _base(work), _top(work)
    refuse_illegal([base])
    is_merged = base.meta().get(subchain.MERGED) == subchain.merged_note(top, generation(base))
    if not is_merged or described_bytes(base) < described_bytes(top):  # extending the top leaves its generation
        raise StepFailed(
            Code.MERGE_SNAPSHOTS_ERROR,
            f"base {names.base_id} does not hold what top {names.top_id} holds now; merge them first",
        )
    domain = work.host.domains.find(names.sd_id)
    children = list(subchain.legal_children(domain, top))
    if len(children) != (0 if _is_leaf(top) else 1):
        raise subchain.wrong_chain(names, f"has {len(children)} volumes above, which does not fit")
    for child in children:
        if domain.check_chain(child)[1:2] != [top]:
            raise subchain.wrong_chain(names, f"is not below {child.path.name}, as its description says")


def _rebase(work: Finalizing) -> None:
    if not _is_leaf(_top(work)):
        _build_upon(work, _child(work), former=_top(work), parent=_base(work))


def _rebase_back(work: Finalizing) -> None:
    _refuse_final(work)
    if not _is_leaf(_top(work)):
        _build_upon(work, _child(work), former=_base(work), parent=_top(work))


def _build_upon(work: Finalizing, child: Volume, *, former: Volume, parent: Volume) -> None:
    """Names another parent in header and description, which shows the same; done already is fine."""
    name = references(child.path).backing_file
    if name is not None and name.endswith(former.path.name):
        work.host.qemu_img.rebase(child.path, (name.removesuffix(former.path.name) + parent.path.name, parent.format))
    durable.fsync_file(child.path)
    if child.meta().get("PUUID") != parent.path.name:
        write_meta(child.meta_path, {**child.meta(), "PUUID": parent.path.name})
    durable.fsync_folder(child.path.parent)


def _retire(work: Finalizing) -> None:
    """The base's description comes last: once it speaks of no merge any more, there is no way back."""
    top, base = _top(work), _base(work)
    write_meta(top.meta_path, {**top.meta(), "LEGALITY": ILLEGAL})
    meta = {key: value for key, value in base.meta().items() if key != subchain.MERGED}
    place = VolumeType.LEAF if _is_leaf(top) else VolumeType.INTERNAL
    write_meta(base.meta_path, {**meta, "VOLTYPE": place.name})


def _unretire(work: Finalizing) -> None:
    _refuse_final(work)
    top = _top(work)
    if top.meta().get("LEGALITY") != LEGAL:
        write_meta(top.meta_path, {**top.meta(), "LEGALITY": LEGAL})
    durable.fsync_folder(top.path.parent)


def _refuse_final(work: Finalizing) -> None:
    """The base may have been written since, so that the top does not fit upon it any more."""
    if subchain.MERGED not in _base(work).meta():
        names = work.verb.subchainInfo
        raise StepFailed(
            Code.MERGE_SNAPSHOTS_ERROR,
            f"top {names.top_id} stays out of the chain: base {names.base_id} has taken its place for good",
        )


def _is_leaf(volume: Volume) -> bool:
    return volume.meta().get("VOLTYPE") == VolumeType.LEAF.name


def _child(work: Finalizing) -> Volume:
    """The volume above the top, which may be built upon the base by now."""
    names, top, base = work.verb.subchainInfo, _top(work), _base(work)
    domain = work.host.domains.find(names.sd_id)
    found = [each for parent in (top, base) for each in subchain.legal_children(domain, parent) if each != top]
    if len(found) != 1:
        raise subchain.wrong_chain(names, f"has {len(found)} volumes above")
    return found[0]


def _base(work: Finalizing) -> Volume:
    return subchain.base(work.host, work.verb.subchainInfo)


def _top(work: Finalizing) -> Volume:
    return subchain.top(work.host, work.verb.subchainInfo)


def _resources(verb: StoragePoolFinalizeMerge) -> tuple[Resource, ...]:
    return subchain.resources(verb.subchainInfo)


PROGRAM: Program[StoragePoolFinalizeMerge] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("rebase", StepKind.REPEATABLE, blocking(_rebase), undo=blocking(_rebase_back)),
        Step("retire", StepKind.REPEATABLE, blocking(_retire), undo=blocking(_unretire)),
    ),
    resources=_resources,
)
