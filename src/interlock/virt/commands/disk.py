"""Commands on disks: adding one, making its image, and removing it."""

from dataclasses import replace

from interlock import (
    NO_LOCKS,
    NOTHING,
    Command,
    Failure,
    Locks,
    Plan,
    Reader,
    Ref,
    Refusals,
    Tx,
    exclusive,
    on_host,
    part,
    refuse,
    shared,
)
from interlock.vdsm import ImageDelete, VolumeCreate
from interlock.virt.checks import disks_are_free, domain_is_active, name_is_free
from interlock.virt.disk_rows import (
    WIRE_FORMATS,
    add_disk,
    forget_disk,
    image_is_absent,
    mark_illegal,
    nothing_was_made,
    storage_locks,
)
from interlock.virt.entities import Disk, DiskFormat, DiskStatus, StorageDomain, Template, Vm, VmStatus
from interlock.virt.parameters import Name, Size


class AddDisk(Command[Ref[Disk]], name="disk.add"):
    """Make an empty disk of `size` bytes on a storage domain, and give it to a VM if one is named."""

    name: Name
    domain: Ref[StorageDomain]
    size: Size
    format: DiskFormat = DiskFormat.COW
    vm: Ref[Vm] | None = None

    def title(self, db: Reader) -> str:
        return f"Add disk {self.name}"

    def locks(self, db: Reader) -> Locks:
        vm = NO_LOCKS if self.vm is None else shared(self.vm)
        return vm + shared(self.domain, db.get(self.domain).host)

    def validate(self, db: Reader) -> Refusals:
        yield from name_is_free(db, Disk, self.name)
        yield from domain_is_active(db, self.domain)
        if self.vm is not None:
            vm = db.get(self.vm)
            # IMAGE_LOCKED is what the VM is while vm.add makes its disks with this very command.
            if vm.status not in (VmStatus.DOWN, VmStatus.IMAGE_LOCKED):
                yield refuse(f"VM {vm.name} is {vm.status}, so it takes no disk; name another VM, or none")

    def execute(self, db: Tx) -> Plan:
        disk = Disk(
            id=db.new(Disk).id,
            name=self.name,
            domain=self.domain,
            image_id=db.new(Disk).id,
            volume_id=db.new(Disk).id,
            size=self.size,
            format=self.format,
            status=DiskStatus.LOCKED,
            vm=self.vm,
        )
        add_disk(db, disk)
        return part(CreateImage(disk=disk.ref))

    def end_successfully(self, db: Tx) -> Ref[Disk]:
        (child,) = db.children(CreateImage)
        return child.command.disk

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if not db.children(CreateImage):  # otherwise the child has written what became of the disk
            db.restore()
        return NOTHING


class CreateImage(Command[None], name="disk.create_image"):
    """Make the image of a disk whose row was just added (a part of disk.add).

    It is a command of its own so that the new disk is locked: an image whose fate is unknown stays so.
    """

    disk: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Create the image of disk {db.get(self.disk).name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk) + storage_locks(db, (self.disk,))

    def validate(self, db: Reader) -> Refusals:
        disk = db.get(self.disk)
        if disk.status is not DiskStatus.LOCKED:
            yield refuse(f"disk {disk.name} is {disk.status}, not new; add another disk (disk.add)")

    def execute(self, db: Tx) -> Plan:
        disk = db.get(self.disk)
        domain = db.get(disk.domain)
        verb = VolumeCreate(
            storagepoolID=str(domain.pool_id),
            storagedomainID=str(domain.id),
            imageID=str(disk.image_id),
            volumeID=str(disk.volume_id),
            size=disk.size,
            volFormat=WIRE_FORMATS[disk.format],
            desc=disk.name or "",
        )
        return part(on_host(domain.host, verb, touches=(self.disk,)), step="CREATE_VOLUME")

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.disk), status=DiskStatus.OK))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if nothing_was_made(db.tasks(self), failure):
            forget_disk(db, self.disk)
        else:
            mark_illegal(db, self.disk, failure.message)
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        return part(RemoveImage(disk=self.disk)) if db.exists(self.disk) else NOTHING


class RemoveImage(Command[None], name="disk.remove_image"):
    """Remove a disk with its image. If that fails the disk stays, ILLEGAL, and can be removed again.

    The host's status is not asked for: an undo is worth a try even where the host is thought to be down.
    """

    disk: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Remove disk {db.get(self.disk).name}"

    def locks(self, db: Reader) -> Locks:
        vm = db.get(self.disk).vm
        held = NO_LOCKS if vm is None else shared(vm)
        return exclusive(self.disk) + held + storage_locks(db, (self.disk,))

    def validate(self, db: Reader) -> Refusals:
        yield from disks_are_free(db, (self.disk,))
        for template in db.find(Template, disks=self.disk):
            yield refuse(f"disk {db.get(self.disk).name} belongs to template {template.name}; choose another disk")

    def execute(self, db: Tx) -> Plan:
        disk = db.get(self.disk)
        domain = db.get(disk.domain)
        db.put(replace(disk, status=DiskStatus.LOCKED))
        verb = ImageDelete(
            storagepoolID=str(domain.pool_id), storagedomainID=str(domain.id), imageID=str(disk.image_id)
        )
        return part(on_host(domain.host, verb, touches=(self.disk,)), step="DELETE_IMAGE")

    def end_successfully(self, db: Tx) -> None:
        forget_disk(db, self.disk)

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        tasks = db.tasks(self)
        if not tasks:
            db.restore()
        elif image_is_absent(tasks):
            # What the host says is not there cannot be removed, ever: only the row was left of the disk.
            db.log(f"disk {db.get(self.disk).name} had no image any more; its row is removed", warning=True)
            forget_disk(db, self.disk)
        else:
            mark_illegal(db, self.disk, failure.message)
        return NOTHING
