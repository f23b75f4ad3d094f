"""The business objects: hosts, storage domains, disks, VMs and templates, and what their statuses mean."""

from __future__ import annotations  # disks and VMs name each other

from enum import StrEnum
from typing import Any
from uuid import UUID

from interlock import Endpoint, Entity, Ref


class HostStatus(StrEnum):
    """Whether a host may be given work."""

    #: added, and has not answered yet
    INSTALLING = "INSTALLING"
    #: it answered; it may be given work
    UP = "UP"
    #: it is not to be given work
    DOWN = "DOWN"
    #: it never answered
    INSTALL_FAILED = "INSTALL_FAILED"


class Host(Entity, type="host"):
    """A machine with an agent. `server_name` is the name its certificate must bear; None = plain TCP."""

    address: str
    port: int
    server_name: str | None
    status: HostStatus
    #: what the host said of itself (`Host.getCapabilities`), JSON
    capabilities: dict[str, Any]

    def endpoint(self) -> Endpoint:
        """Where its agent listens."""
        return Endpoint(self.address, self.port, self.server_name)


class StorageDomainStatus(StrEnum):
    """Whether disks may be made on a storage domain."""

    #: its folders are being made
    LOCKED = "LOCKED"
    #: disks may be made on it
    ACTIVE = "ACTIVE"
    #: nobody knows whether its folders were made, or whether it is detached; look at the host
    ILLEGAL = "ILLEGAL"


class StorageDomain(Entity, type="storage_domain"):
    """A folder of a host that holds images; its id is the domain's id on the wire."""

    host: Ref[Host]
    path: str
    pool_id: UUID
    status: StorageDomainStatus


class DiskFormat(StrEnum):
    """What kind of file a disk's volume is."""

    #: a qcow2 file
    COW = "COW"
    #: the bytes of the disk as they are
    RAW = "RAW"


class DiskStatus(StrEnum):
    """Whether a disk may be used."""

    #: its image is whole
    OK = "OK"
    #: a job makes, copies or removes its image
    LOCKED = "LOCKED"
    #: making or removing its image failed, or nobody knows; it can only be removed
    ILLEGAL = "ILLEGAL"


class Disk(Entity, type="disk"):
    """An image of one volume on a storage domain; `size` is what a guest sees, in bytes.

    With a `parent`, a template's disk on the same domain, the volume keeps only what differs from it.
    """

    domain: Ref[StorageDomain]
    image_id: UUID
    volume_id: UUID
    size: int
    format: DiskFormat
    status: DiskStatus
    vm: Ref[Vm] | None = None
    parent: Ref[Disk] | None = None


class VmStatus(StrEnum):
    """What may be done with a VM."""

    #: stopped
    DOWN = "DOWN"
    #: its disks are being made
    IMAGE_LOCKED = "IMAGE_LOCKED"
    #: it is being removed
    REMOVING = "REMOVING"
    #: making or removing it failed half-way; `disks` are those that remain. It can only be removed
    ILLEGAL = "ILLEGAL"


class Vm(Entity, type="vm"):
    """A virtual machine. `disks` are exactly the disks whose `vm` it is, in the order they came."""

    status: VmStatus
    disks: tuple[Ref[Disk], ...] = ()


class TemplateStatus(StrEnum):
    """Whether a template may be used."""

    #: its disks are being copied
    LOCKED = "LOCKED"
    #: its disks are whole
    OK = "OK"
    #: it is being removed
    REMOVING = "REMOVING"
    #: removing it failed half-way; `disks` are those that remain. It can only be removed
    ILLEGAL = "ILLEGAL"


class Template(Entity, type="template"):
    """Copies of a VM's disks. `disks` is empty until all of them are whole."""

    source_vm: str
    status: TemplateStatus
    disks: tuple[Ref[Disk], ...] = ()
