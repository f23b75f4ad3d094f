"""Calls about volumes: one file of an image."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import StringConstraints, model_validator

from interlock.verbs.fields import (
    BLANK_ID,
    AnyId,
    Description,
    Id,
    Preallocate,
    PreallocateField,
    SizeBytes,
    VolumeFormat,
    VolumeFormatField,
    VolumeType,
    VolumeTypeField,
)
from interlock.verbs.image import ImageVerb

DiskType = Annotated[str, StringConstraints(pattern=r"^[A-Z]{4}$")]


class VolumeVerb(ImageVerb):
    """What names a volume."""

    volumeID: Id


class VolumeTask(VolumeVerb):
    """A change of a volume that goes on as a task."""

    is_async: ClassVar[bool] = True
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True


class VolumeCreate(VolumeTask):
    """Make an empty volume of `size` bytes, or one upon a parent volume (`srcImgUUID`, `srcVolUUID`).

    The first `initialSize` bytes of a sparse volume's file take their room on the disk at once.
    """

    method: ClassVar[str] = "Volume.create"
    size: SizeBytes
    volFormat: VolumeFormatField
    preallocate: PreallocateField = Preallocate.SPARSE
    diskType: DiskType = "DATA"
    desc: Description = ""
    srcImgUUID: AnyId = BLANK_ID
    srcVolUUID: AnyId = BLANK_ID
    initialSize: SizeBytes | None = None

    @property
    def has_parent(self) -> bool:
        """Whether the new volume keeps only what differs from another one."""
        return self.srcVolUUID != BLANK_ID

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.volFormat is VolumeFormat.COW and self.preallocate is Preallocate.PREALLOCATED:
            raise ValueError("a COW volume must be SPARSE")
        if self.has_parent and self.volFormat is not VolumeFormat.COW:
            raise ValueError("a volume with a parent must be COW")
        if (self.srcImgUUID == BLANK_ID) != (self.srcVolUUID == BLANK_ID):
            raise ValueError("srcImgUUID and srcVolUUID must be given together")
        if self.srcVolUUID == self.volumeID:
            raise ValueError("a volume must not be its own parent")
        if self.initialSize is not None and self.initialSize > self.size:
            raise ValueError("initialSize must not be more than size")
        return self


class VolumeCopy(VolumeTask):
    """Copy what a volume shows (its whole chain) into a new volume without a parent.

    `force` replaces a volume that has the id already, once the copy is whole. `postZero` and `discard` add nothing
    on a file system.
    """

    method: ClassVar[str] = "Volume.copy"
    dstSdUUID: Id
    dstImgUUID: Id
    dstVolUUID: Id
    desc: Description = ""
    volType: VolumeTypeField = VolumeType.LEAF
    volFormat: VolumeFormatField = VolumeFormat.COW
    preallocate: PreallocateField = Preallocate.SPARSE
    postZero: bool = False
    force: bool = False
    discard: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.volFormat is VolumeFormat.COW and self.preallocate is Preallocate.PREALLOCATED:
            raise ValueError("a COW volume must be SPARSE")
        if self.volType is VolumeType.INTERNAL:
            raise ValueError("a copy is LEAF or SHARED, not INTERNAL")
        if (self.storagedomainID, self.imageID) == (self.dstSdUUID, self.dstImgUUID):
            raise ValueError("a volume must not be copied into its own image")
        return self


class VolumeDelete(VolumeTask):
    """Remove one volume. With `force` also one upon which others are built."""

    method: ClassVar[str] = "Volume.delete"
    postZero: bool = False
    force: bool = False
    discard: bool = False


class VolumeExtendSize(VolumeTask):
    """Make a leaf `newSize` bytes large, seen from a guest. It never shrinks."""

    method: ClassVar[str] = "Volume.extendSize"
    newSize: SizeBytes


class VolumeGetInfo(VolumeVerb):
    """What the host knows of a volume: format, sizes, parent, legality."""

    method: ClassVar[str] = "Volume.getInfo"
