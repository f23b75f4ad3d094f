"""Calls about storage pools, in the form that domains on file systems need: one host does all the work."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from interlock.verbs.fields import Id
from interlock.verbs.sdm import Subchain
from interlock.verbs.verb import Verb


class PoolVerb(Verb):
    """What names a pool."""

    storagepoolID: Id


class PoolTask(PoolVerb):
    """A change of a pool that goes on as a task."""

    is_async: ClassVar[bool] = True
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True


class StoragePoolSpmStart(PoolTask):
    """Make the host the manager of the pool's storage. Done already if it is."""

    method: ClassVar[str] = "StoragePool.spmStart"
    prevID: int = -1
    prevLver: int = -1
    enableScsiFencing: bool = False
    maxHostID: Annotated[int, Field(ge=1, le=2000)] | None = None
    domVersion: Annotated[int, Field(ge=3, le=5)] | None = None


class StoragePoolSpmStop(PoolVerb):
    """Give the management up; answers true. IS_SPM while tasks were not cleared, NOT_SPM if it is none."""

    method: ClassVar[str] = "StoragePool.spmStop"
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True


class StoragePoolGetSpmStatus(PoolVerb):
    """`{spmId, spmStatus, spmLver}`."""

    method: ClassVar[str] = "StoragePool.getSpmStatus"


class StoragePoolPrepareMerge(PoolTask):
    """Make the base of a subchain as large as its top, so that the top can be merged into it."""

    method: ClassVar[str] = "StoragePool.prepareMerge"
    subchainInfo: Subchain


class StoragePoolFinalizeMerge(PoolTask):
    """Take the merged top out of the chain: its children are built upon the base, and it is ILLEGAL."""

    method: ClassVar[str] = "StoragePool.finalizeMerge"
    subchainInfo: Subchain
