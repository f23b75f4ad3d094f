"""From a method's name and parameters to a typed verb, or to an error that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from interlock.verbs import domain, host, image, pool, sdm, task, volume
from interlock.verbs.fields import Id, Term, TimeOrderedId
from interlock.verbs.verb import CLUSTER_HEADER, FLOW_HEADER, GENERATION_HEADER, TASK_ID_PARAM, TERM_HEADER, Verb

_KINDS: tuple[type[Verb], ...] = (
    host.HostPing2,
    host.HostGetCapabilities,
    host.HostGetStats,
    host.HostGetAllTasksStatuses,
    host.HostGetAllTasksInfo,
    host.HostGetAllTasks,
    host.HostGetJobs,
    host.HostGetAllVmStats,
    task.TaskGetStatus,
    task.TaskGetInfo,
    task.TaskStop,
    task.TaskClear,
    task.TaskRevert,
    task.TaskForbidOrGet,
    domain.StorageDomainCreate,
    domain.StorageDomainDetach,
    pool.StoragePoolSpmStart,
    pool.StoragePoolSpmStop,
    pool.StoragePoolGetSpmStatus,
    pool.StoragePoolPrepareMerge,
    pool.StoragePoolFinalizeMerge,
    image.ImageDelete,
    image.ImageMove,
    image.ImageCloneStructure,
    image.ImageSyncData,
    image.ImageDeleteVolumes,
    image.ImageGetVolumes,
    image.ImageGetVolumesList,
    volume.VolumeCreate,
    volume.VolumeCopy,
    volume.VolumeDelete,
    volume.VolumeExtendSize,
    volume.VolumeGetInfo,
    sdm.SdmCopyData,
    sdm.SdmMerge,
)
#: Every verb by the wire's name of it.
VERBS: Mapping[str, type[Verb]] = {kind.method: kind for kind in _KINDS}
_REASONS_MAX = 10
_TASK_ID: TypeAdapter[str] = TypeAdapter(TimeOrderedId)
_FLOW: TypeAdapter[str] = TypeAdapter(Id)
_TERM: TypeAdapter[int] = TypeAdapter(Term)


class BadCall(Exception):
    """A call that no host can carry out: the caller's mistake, and nothing was done."""


class UnknownVerb(BadCall):
    """There is no verb of that name."""

    def __init__(self, method: str) -> None:
        super().__init__(f"there is no verb {method[:80]!r}")
        self.method = method


class InvalidParams(BadCall):
    """The parameters are not those of the verb; `reasons` names each that is wrong."""

    def __init__(self, method: str, reasons: tuple[str, ...]) -> None:
        super().__init__(f"{method}: {'; '.join(reasons)}")
        self.method = method
        self.reasons = reasons


def parse(method: str, params: Mapping[str, object]) -> Verb:
    """The typed call. Raises `UnknownVerb` or `InvalidParams`; never anything else, whatever was sent."""
    kind = VERBS.get(method)
    if kind is None:
        raise UnknownVerb(method)
    try:
        return kind.model_validate(dict(params))
    except ValidationError as error:
        raise InvalidParams(method, _reasons(error)) from None


def parse_task_id(value: object) -> str:
    """The id under which a caller wants its call to be known. Raises `InvalidParams`."""
    try:
        return _TASK_ID.validate_python(value, strict=True)
    except ValidationError:
        reason = f"{TASK_ID_PARAM}: must be a UUID of version 7 (time-ordered) in canonical form"
        raise InvalidParams("a call with an id", (reason,)) from None


def parse_sender(flow: str, term: str) -> tuple[str, int]:
    """The flow and term that a call's headers name. Raises `InvalidParams`."""
    return _numbered("a call of a flow", (FLOW_HEADER, flow), (TERM_HEADER, term))


def parse_cluster(cluster: str, generation: str) -> tuple[str, int]:
    """The cluster and generation that a call's headers name. Raises `InvalidParams`."""
    return _numbered("a call of a cluster", (CLUSTER_HEADER, cluster), (GENERATION_HEADER, generation))


def _numbered(what: str, id: tuple[str, str], number: tuple[str, str]) -> tuple[str, int]:
    digits = number[1]
    try:
        value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else -1
        return _FLOW.validate_python(id[1]), _TERM.validate_python(value)
    except ValidationError:
        reason = f"{id[0]} must be a UUID in canonical form and {number[0]} a number from 0"
        raise InvalidParams(what, (reason,)) from None


def _reasons(error: ValidationError) -> tuple[str, ...]:
    """What was wrong, by parameter; values are left out, since they may be huge or secret."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return tuple(
        f"{'.'.join(str(part)[:80] for part in one['loc']) or 'parameters'}: {one['msg']}"
        for one in found[:_REASONS_MAX]
    )
