"""Commands on disks: copying one."""

from dataclasses import replace

from interlock import (
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
from interlock.vdsm import VolumeCopy, VolumeType
from interlock.virt.checks import (
    disks_are_whole,
    domain_is_active,
    domain_is_on_host_of,
    name_is_free,
    vm_is_down,
)
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.disk_rows import WIRE_FORMATS, domain_locks, judge_new_image, new_disk, storage_locks, vm_locks
from interlock.virt.entities import Disk, DiskStatus, StorageDomain
from interlock.virt.parameters import Name


class CopyDisk(Command[Ref[Disk]], name="disk.copy"):
    """Copy a disk that no running VM uses into a new one of no VM, upon which nothing else depends.

    The copy comes to `domain`, another one of the same host, or to the disk's own.
    """

    name: Name
    disk: Ref[Disk]
    domain: Ref[StorageDomain] | None = None

    def title(self, db: Reader) -> str:
        return f"Copy disk {db.get(self.disk).name} to {self.name}"

    def locks(self, db: Reader) -> Locks:
        domains = (db.get(self.disk).domain, self._target(db))
        return shared(self.disk) + vm_locks(db, self.disk) + domain_locks(db, domains)

    def validate(self, db: Reader) -> Refusals:
        yield from name_is_free(db, Disk, self.name)
        yield from disks_are_whole(db, (self.disk,))
        yield from vm_is_down(db, db.get(self.disk).vm)
        yield from domain_is_active(db, self._target(db))
        yield from domain_is_on_host_of(db, self._target(db), self.disk)

    def execute(self, db: Tx) -> Plan:
        source = db.get(self.disk)
        copy = new_disk(db, self.name, domain=self._target(db), size=source.size, format=source.format)
        return part(CopyImage(source=self.disk, copy=copy))

    def end_successfully(self, db: Tx) -> Ref[Disk]:
        (child,) = db.children(CopyImage)
        return child.command.copy

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if not db.children(CopyImage):  # otherwise the child has written what became of the copy
            db.restore()
        return NOTHING

    def _target(self, db: Reader) -> Ref[StorageDomain]:
        return db.get(self.disk).domain if self.domain is None else self.domain


class CopyImage(Command[None], name="disk.copy_image"):
    """Make the image of a disk whose row was just added, as a copy (a part of disk.copy and vm.add_from_template)."""

    source: Ref[Disk]
    copy: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Copy disk {db.get(self.source).name} to {db.get(self.copy).name}"

    def locks(self, db: Reader) -> Locks:
        return shared(self.source) + exclusive(self.copy) + storage_locks(db, (self.source, self.copy))

    def validate(self, db: Reader) -> Refusals:
        copy = db.get(self.copy)
        if copy.status is not DiskStatus.LOCKED:
            yield refuse(f"disk {copy.name} is {copy.status}, not new; copy to another disk (disk.copy)")
        yield from disks_are_whole(db, (self.source,))

    def execute(self, db: Tx) -> Plan:
        return volume_copy(db, self.source, self.copy, VolumeType.LEAF)

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.copy), status=DiskStatus.OK))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        judge_new_image(db, self.copy, db.tasks(self), failure)
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        return part(RemoveImage(disk=self.copy)) if db.exists(self.copy) else NOTHING


def volume_copy(db: Reader, source_ref: Ref[Disk], copy_ref: Ref[Disk], place: VolumeType) -> Plan:
    """The host's task that makes the image of `copy_ref` from all that the disk `source_ref` shows."""
    source, copy = db.get(source_ref), db.get(copy_ref)
    domain = db.get(source.domain)
    verb = VolumeCopy(
        storagepoolID=str(domain.pool_id),
        storagedomainID=str(domain.id),
        imageID=str(source.image_id),
        volumeID=str(source.volume_id),
        dstSdUUID=str(copy.domain.id),
        dstImgUUID=str(copy.image_id),
        dstVolUUID=str(copy.volume_id),
        desc=copy.name or "",
        volType=place,
        volFormat=WIRE_FORMATS[copy.format],
    )
    return part(on_host(domain.host, verb, touches=(copy_ref,)), step="COPY_IMAGE")
