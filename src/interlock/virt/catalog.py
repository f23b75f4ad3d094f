"""The catalog of all virtualization commands and entities: `interlock serve` begins with it."""

from interlock import Catalog
from interlock.virt.commands.disk import AddDisk, CreateImage
from interlock.virt.commands.disk_copy import CopyDisk, CopyImage
from interlock.virt.commands.disk_extension import ExtendDisk
from interlock.virt.commands.disk_move import CloneImageStructure, MoveDisk, SwitchImages, SyncImageData
from interlock.virt.commands.disk_removal import RemoveDisk, RemoveImage
from interlock.virt.commands.host import AddHost
from interlock.virt.commands.storage import AddStorageDomain, DetachStorageDomain
from interlock.virt.commands.template import CreateImageTemplate, CreateTemplate, RemoveTemplate
from interlock.virt.commands.vm import AddVm, RemoveAllVmImages, RemoveVm
from interlock.virt.commands.vm_from_template import AddVmFromTemplate
from interlock.virt.entities import Disk, Host, StorageDomain, Template, Vm

CATALOG = Catalog(
    Host,
    StorageDomain,
    Disk,
    Vm,
    Template,
    AddHost,
    AddStorageDomain,
    DetachStorageDomain,
    AddDisk,
    CreateImage,
    RemoveDisk,
    RemoveImage,
    MoveDisk,
    CloneImageStructure,
    SyncImageData,
    SwitchImages,
    CopyDisk,
    CopyImage,
    ExtendDisk,
    AddVm,
    AddVmFromTemplate,
    RemoveVm,
    RemoveAllVmImages,
    CreateTemplate,
    CreateImageTemplate,
    RemoveTemplate,
)
