"""Commands on disks: making one larger."""

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
)
from interlock.vdsm import VolumeExtendSize
from interlock.virt.checks import (
    disk_is_of_no_template,
    disks_are_whole,
    hosts_of_disks_are_up,
    nothing_is_built_upon,
    vm_is_down,
)
from interlock.virt.disk_rows import nothing_was_done, storage_locks, vm_locks
from interlock.virt.entities import Disk
from interlock.virt.parameters import Size


class ExtendDisk(Command[None], name="disk.extend"):
    """Make a disk that no running VM uses `size` bytes large; what it holds stays.

    Where nobody knows whether that was done the disk stays usable, under its former size: a guest may see more
    than its row says, until it is extended again.
    """

    disk: Ref[Disk]
    size: Size

    def title(self, db: Reader) -> str:
        return f"Extend disk {db.get(self.disk).name} to {self.size} bytes"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk) + vm_locks(db, self.disk) + storage_locks(db, (self.disk,))

    def validate(self, db: Reader) -> Refusals:
        disk = db.get(self.disk)
        if self.size <= disk.size:
            yield refuse(f"disk {disk.name} is {disk.size} bytes large; give a larger size, disks do not shrink")
        yield from disks_are_whole(db, (self.disk,))
        yield from disk_is_of_no_template(db, self.disk, "copy it and extend the copy (disk.copy)")
        yield from nothing_is_built_upon(db, (self.disk,))
        yield from vm_is_down(db, disk.vm)
        yield from hosts_of_disks_are_up(db, (self.disk,))

    def execute(self, db: Tx) -> Plan:
        disk = db.get(self.disk)
        domain = db.get(disk.domain)
        verb = VolumeExtendSize(
            storagepoolID=str(domain.pool_id),
            storagedomainID=str(domain.id),
            imageID=str(disk.image_id),
            volumeID=str(disk.volume_id),
            newSize=self.size,
        )
        return part(on_host(domain.host, verb, touches=(self.disk,)), step="EXTEND_DISK")

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.disk), size=self.size))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if not nothing_was_done(db.tasks(self), failure):
            disk = db.get(self.disk)
            db.log(
                f"disk {disk.name} may be {self.size} bytes large instead of {disk.size}, which does not harm it: "
                f"{failure.message}; extend it again (disk.extend)",
                warning=True,
            )
        return NOTHING
