"""Commands on disks: adding one, and making its image."""

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
from interlock.vdsm import BLANK_ID, VolumeCreate
from interlock.virt.checks import disks_are_whole, domain_is_active, name_is_free
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.disk_rows import WIRE_FORMATS, domain_locks, judge_new_image, new_disk, storage_locks
from interlock.virt.entities import Disk, DiskFormat, DiskStatus, StorageDomain, Vm, VmStatus
from interlock.virt.parameters import Name, Size

_SECTOR_BYTES = 512


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
        return vm + domain_locks(db, (self.domain,))

    def validate(self, db: Reader) -> Refusals:
        yield from name_is_free(db, Disk, self.name)
        yield from domain_is_active(db, self.domain)
        if self.vm is not None:
            vm = db.get(self.vm)
            # IMAGE_LOCKED is what the VM is while vm.add makes its disks with this very command.
            if vm.status not in (VmStatus.DOWN, VmStatus.IMAGE_LOCKED):
                yield refuse(f"VM {vm.name} is {vm.status}, so it takes no disk; name another VM, or none")

    def execute(self, db: Tx) -> Plan:
        disk = new_disk(db, self.name, domain=self.domain, size=self.size, format=self.format, vm=self.vm)
        return part(CreateImage(disk=disk))

    def end_successfully(self, db: Tx) -> Ref[Disk]:
        (child,) = db.children(CreateImage)
        return child.command.disk

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if not db.children(CreateImage):  # otherwise the child has written what became of the disk
            db.restore()
        return NOTHING


class CreateImage(Command[None], name="disk.create_image"):
    """Make the image of a disk whose row was just added (a part of disk.add and vm.add_from_template).

    It is a command of its own so that the new disk is locked: an image whose fate is unknown stays so.
    """

    disk: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Create the image of disk {db.get(self.disk).name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk) + shared(*self._parents(db)) + storage_locks(db, (self.disk,))

    def validate(self, db: Reader) -> Refusals:
        disk = db.get(self.disk)
        if disk.status is not DiskStatus.LOCKED:
            yield refuse(f"disk {disk.name} is {disk.status}, not new; add another disk (disk.add)")
        yield from disks_are_whole(db, self._parents(db))

    def execute(self, db: Tx) -> Plan:
        disk = db.get(self.disk)
        domain = db.get(disk.domain)
        parent = None if disk.parent is None else db.get(disk.parent)
        verb = VolumeCreate(
            storagepoolID=str(domain.pool_id),
            storagedomainID=str(domain.id),
            imageID=str(disk.image_id),
            volumeID=str(disk.volume_id),
            # A host rounds up so, and refuses a volume that is smaller than its parent.
            size=-(-disk.size // _SECTOR_BYTES) * _SECTOR_BYTES,
            volFormat=WIRE_FORMATS[disk.format],
            desc=disk.name or "",
            srcImgUUID=BLANK_ID if parent is None else str(parent.image_id),
            srcVolUUID=BLANK_ID if parent is None else str(parent.volume_id),
        )
        return part(on_host(domain.host, verb, touches=(self.disk,)), step="CREATE_VOLUME")

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.disk), status=DiskStatus.OK))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        judge_new_image(db, self.disk, db.tasks(self), failure)
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        return part(RemoveImage(disk=self.disk)) if db.exists(self.disk) else NOTHING

    def _parents(self, db: Reader) -> tuple[Ref[Disk], ...]:
        parent = db.get(self.disk).parent
        return () if parent is None else (parent,)
