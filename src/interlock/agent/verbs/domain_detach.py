"""StorageDomain.detach: the domain's description says that no more work is done on it. Its files stay as they are."""

from __future__ import annotations

from interlock.agent import durable
from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import DETACHED, read_meta, write_meta
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, blocking, domain_resource
from interlock.verbs import Code, StorageDomainDetach

Detaching = Work[StorageDomainDetach]

#: The key by which a domain says which task has detached it.
_DETACHED_BY = "DETACHED_BY"


def _check(work: Detaching) -> None:
    verb = work.verb
    if _is_detached(work):
        return
    domain = work.host.domains.usable(verb.storagedomainID)
    # What begins with '_' is being made or removed: no image.
    images = sorted(path.name for path in domain.images.iterdir() if not path.name.startswith("_"))
    if images and not verb.force:
        raise StepFailed(
            Code.STORAGE_DOMAIN_NOT_EMPTY,
            f"storage domain {verb.storagedomainID} has {len(images)} images, such as {images[0]}; "
            "move or delete them first, or use force",
        )


def _detach(work: Detaching) -> None:
    path = work.host.domains.find(work.verb.storagedomainID).metadata_path
    if not _is_detached(work):
        write_meta(path, {**read_meta(path), "STATUS": DETACHED, _DETACHED_BY: work.task_id})
    durable.fsync_folder(path.parent)


def _is_detached(work: Detaching) -> bool:
    path = work.host.domains.find(work.verb.storagedomainID).metadata_path
    return read_meta(path).get("STATUS") == DETACHED


def _attach_again(work: Detaching) -> None:
    """Takes back only what this very task has done."""
    path = work.host.domains.find(work.verb.storagedomainID).metadata_path
    meta = read_meta(path)
    if meta.get(_DETACHED_BY) == work.task_id:
        write_meta(path, {key: value for key, value in meta.items() if key not in ("STATUS", _DETACHED_BY)})
    durable.fsync_folder(path.parent)


def _resources(verb: StorageDomainDetach) -> tuple[Resource, ...]:
    return (domain_resource(verb.storagedomainID, is_exclusive=True),)


PROGRAM: Program[StorageDomainDetach] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, blocking(_check)),
        Step("detach", StepKind.REPEATABLE, blocking(_detach), undo=blocking(_attach_again)),
    ),
    resources=_resources,
)
