"""Calls about storage domains."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from interlock.verbs.fields import (
    BLANK_ID,
    AnyId,
    DomainClass,
    DomainClassField,
    DomainType,
    DomainTypeField,
    FolderPath,
    Id,
    Name,
)
from interlock.verbs.verb import Verb


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


class StorageDomainDetach(Verb):
    """Take a storage domain out of use: its files stay, and the host does no more work on it. Answers true.

    Refused while images are in it, unless by `force`.
    """

    method: ClassVar[str] = "StorageDomain.detach"
    is_mutating: ClassVar[bool] = True
    takes_task_id: ClassVar[bool] = True
    storagedomainID: Id
    storagepoolID: AnyId
    masterSdUUID: AnyId = BLANK_ID
    masterVersion: int = 0
    force: bool = False
