"""The catalog of all virtualization commands and entities: `interlock serve` begins with it."""

from interlock import Catalog
from interlock.virt.commands.disk import AddDisk, CreateImage, RemoveImage
from interlock.virt.commands.host import AddHost
from interlock.virt.commands.storage import AddStorageDomain
from interlock.virt.commands.template import CreateImageTemplate, CreateTemplate
from interlock.virt.commands.vm import AddVm, RemoveAllVmImages, RemoveVm
from interlock.virt.entities import Disk, Host, StorageDomain, Template, Vm

CATALOG = Catalog(
    Host,
    StorageDomain,
    Disk,
    Vm,
    Template,
    AddHost,
    AddStorageDomain,
    AddDisk,
    CreateImage,
    RemoveImage,
    AddVm,
    RemoveVm,
    RemoveAllVmImages,
    CreateTemplate,
    CreateImageTemplate,
)
