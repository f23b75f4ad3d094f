"""Calls that make, copy, describe and remove storage domains, images and volumes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from interlock.verbs.fields import (
    BLANK_ID,
    AnyId,
    Description,
    DomainClass,
    DomainClassField,
    DomainType,
    DomainTypeField,
    FolderPath,
    Id,
    Name,
    Preallocate,
    PreallocateField,
    SizeBytes,
    VolumeFormat,
    VolumeFormatField,
    VolumeType,
    VolumeTypeField,
)
from interlock.verbs.verb import Verb

DiskType = Annotated[str, StringConstraints(pattern=r"^[A-Z]{4}$")]


class StorageDomainCreate(Verb):
    """Make a storage domain's folders under the folder `typeArgs`. Answers true when they are durable."""

    method: ClassVar[str] = "StorageDomain.create"
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True
    storagedomainID: Id
    domainType: DomainTypeField = DomainType.LOCALFS
    domainName: Name
    typeArgs: FolderPath
    domainClass: DomainClassField = DomainClass.DATA
    version: Annotated[int, Field(ge=3, le=5)] = 5


class ImageDelete(Verb):
    """Remove an image and all its volumes. Resumed, not undone, after a restart.

    On a file system `postZero` and `discard` add nothing to the removal, as with VDSM.
    """

    method: ClassVar[str] = "Image.delete"
    is_async: ClassVar[bool] = True
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True
    storagepoolID: AnyId
    storagedomainID: Id
    imageID: Id
    postZero: bool = False
    force: bool = False
    discard: bool = False


class VolumeCreate(Verb):
    """Make an empty volume of `size` bytes, or one upon a parent volume (`srcImgUUID`, `srcVolUUID`)."""

    method: ClassVar[str] = "Volume.create"
    is_async: ClassVar[bool] = True
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True
    storagepoolID: AnyId
    storagedomainID: Id
    imageID: Id
    volumeID: Id
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
        return self


class VolumeCopy(Verb):
    """Copy what a volume shows (its whole chain) into a new volume without a parent."""

    method: ClassVar[str] = "Volume.copy"
    is_async: ClassVar[bool] = True
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True
    storagepoolID: AnyId
    storagedomainID: Id
    imageID: Id
    volumeID: Id
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


class VolumeGetInfo(Verb):
    """What the host knows of a volume: format, sizes, parent, legality."""

    method: ClassVar[str] = "Volume.getInfo"
    storagepoolID: AnyId
    storagedomainID: Id
    imageID: Id
    volumeID: Id
