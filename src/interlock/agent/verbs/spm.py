"""StoragePool.spmStart, spmStop and getSpmStatus: whether this host manages a pool's storage, and for which time.

Reduced to what domains on file systems need: one host has them, nobody competes for the role, and no other verb
demands it. What callers get is VDSM's answers, and a count of the starts that survives the agent.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interlock.agent import durable
from interlock.agent.records import StepFailed
from interlock.agent.tasks.resource_locks import Resource
from interlock.agent.tasks.steps import Host, Program, RecoveryPolicy, Step, StepKind, Work, blocking
from interlock.verbs import Code, StoragePoolGetSpmStatus, StoragePoolSpmStart, StoragePoolSpmStop

Starting = Work[StoragePoolSpmStart]
Stopping = Work[StoragePoolSpmStop]

#: The one host that has the pool's storage.
_HOST_ID = 1
_NEVER = -1


@dataclass(frozen=True, slots=True)
class _Role:
    """What is remembered of a pool."""

    is_manager: bool = False
    #: How often the role was taken.
    starts: int = 0


def spm_status(host: Host, verb: StoragePoolGetSpmStatus) -> dict[str, Any]:  # Any: JSON values
    """The answer to `StoragePool.getSpmStatus`. Raises `StepFailed`."""
    role = _read(host, verb.storagepoolID)
    return {
        "spmId": _HOST_ID if role.is_manager else _NEVER,
        "spmStatus": "SPM" if role.is_manager else "Free",
        "spmLver": role.starts or _NEVER,
    }


def _start(work: Starting) -> None:
    role = _read(work.host, work.verb.storagepoolID)
    starts = role.starts if role.is_manager else role.starts + 1
    _write(work.host, work.verb.storagepoolID, _Role(is_manager=True, starts=starts))


async def _check_stop(work: Stopping) -> None:
    pool_id = work.verb.storagepoolID
    if not (await work.host.blocking(_read, work.host, pool_id)).is_manager:
        raise StepFailed(Code.NOT_SPM, f"the host does not manage pool {pool_id}; nothing is to be stopped")
    uncleared = work.host.uncleared_of_pool(pool_id)
    if uncleared:
        raise StepFailed(
            Code.IS_SPM,
            f"pool {pool_id} has {len(uncleared)} tasks that were not cleared, such as {uncleared[0]}; "
            "the host goes on managing it: clear them first",
        )


def _stop(work: Stopping) -> None:
    role = _read(work.host, work.verb.storagepoolID)
    _write(work.host, work.verb.storagepoolID, _Role(is_manager=False, starts=role.starts))


def _read(host: Host, pool_id: str) -> _Role:
    path = _path(host, pool_id)
    try:
        return _Role(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return _Role()
    except (ValueError, TypeError) as error:
        raise StepFailed(Code.GENERAL, f"{path} is damaged; remove it, and the starts are counted anew") from error


def _write(host: Host, pool_id: str, role: _Role) -> None:
    path = _path(host, pool_id)
    durable.make_folder(path.parent, mode=0o700)
    durable.write_whole(path, json.dumps(asdict(role)).encode())


def _path(host: Host, pool_id: str) -> Path:
    return host.state_dir / "pools" / pool_id


def _resources(verb: StoragePoolSpmStart | StoragePoolSpmStop) -> tuple[Resource, ...]:
    return (Resource(f"pool {verb.storagepoolID}", is_exclusive=True),)


START: Program[StoragePoolSpmStart] = Program(
    steps=(Step("start", StepKind.REPEATABLE, blocking(_start)),),
    resources=_resources,
    recovery=RecoveryPolicy.NONE,
)
STOP: Program[StoragePoolSpmStop] = Program(
    steps=(
        Step("check", StepKind.REPEATABLE, _check_stop),
        Step("stop", StepKind.REPEATABLE, blocking(_stop)),
    ),
    resources=_resources,
)
