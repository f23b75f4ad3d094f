"""Calls about images: the folder of a disk's volumes."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from interlock.verbs.fields import AnyId, Id, numbered, worded
from interlock.verbs.verb import Verb

#: An image has no more volumes than this.
VOLUMES_MAX = 64


class ImageOperation(IntEnum):
    """What becomes of the source of `Image.move`."""

    #: It stays.
    COPY = 1
    #: It is removed once the destination is whole.
    MOVE = 2


class SyncType(StrEnum):
    """Which volumes of an image `Image.syncData` copies."""

    ALL = "ALL"
    #: All but the leaf.
    INTERNAL = "INTERNAL"
    LEAF = "LEAF"


ImageOperationField = Annotated[ImageOperation, BeforeValidator(numbered(ImageOperation))]
SyncTypeField = Annotated[SyncType, BeforeValidator(worded(SyncType))]


class ImageVerb(Verb):
    """What names an image."""

    storagepoolID: AnyId
    storagedomainID: Id
    imageID: Id


class ImageTask(ImageVerb):
    """A change of an image that goes on as a task."""

    is_async: ClassVar[bool] = True
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True


class ImageDelete(ImageTask):
    """Remove an image and all its volumes. Resumed, not undone, after a restart.

    With `postZero` what the volumes hold is overwritten first; `discard` adds nothing on a file system.
    """

    method: ClassVar[str] = "Image.delete"
    postZero: bool = False
    force: bool = False
    discard: bool = False


class _ToOtherDomain(ImageTask):
    dstSdUUID: Id

    @model_validator(mode="after")
    def _is_elsewhere(self) -> Self:
        if self.storagedomainID == self.dstSdUUID:
            raise ValueError("dstSdUUID must be another storage domain than storagedomainID")
        return self


class ImageMove(_ToOtherDomain):
    """Copy an image with all its volumes to another domain of this host, under the same ids.

    With MOVE the source is removed afterwards. `force` replaces an image that has the id in the other domain. What
    is removed is overwritten first if `postZero`; `discard` adds nothing on a file system.
    """

    method: ClassVar[str] = "Image.move"
    operation: ImageOperationField
    postZero: bool = False
    force: bool = False
    discard: bool = False


class ImageCloneStructure(_ToOtherDomain):
    """Make an image of empty volumes in another domain: the same ids, sizes, formats and parents.

    They are ILLEGAL, and no source for anything, until somebody has filled them.
    """

    method: ClassVar[str] = "Image.cloneStructure"


class ImageSyncData(_ToOtherDomain):
    """Copy what the volumes of an image hold into those that `Image.cloneStructure` made, which are LEGAL then.

    Done again, it takes over what the source holds by then. It cannot be reverted.
    """

    method: ClassVar[str] = "Image.syncData"
    syncType: SyncTypeField = SyncType.ALL


class ImageDeleteVolumes(ImageTask):
    """Remove some volumes of an image. With `force` also one upon which others are built."""

    method: ClassVar[str] = "Image.deleteVolumes"
    volumeList: Annotated[list[Id], Field(min_length=1, max_length=VOLUMES_MAX)]
    postZero: bool = False
    force: bool = False
    discard: bool = False


class ImageGetVolumes(ImageVerb):
    """The ids of an image's volumes."""

    method: ClassVar[str] = "Image.getVolumes"


class ImageGetVolumesList(ImageVerb):
    """The same, by the name that VDSM gives it inside."""

    method: ClassVar[str] = "Image.getVolumesList"
