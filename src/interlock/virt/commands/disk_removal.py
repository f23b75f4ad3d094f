"""Commands on disks: removing one, and its image."""

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
from interlock.vdsm import Code, ImageDelete
from interlock.virt.checks import disks_are_free, hosts_of_disks_are_up, nothing_is_built_upon, vm_is_down
from interlock.virt.disk_rows import forget_disk, mark_illegal, said_for_sure, storage_locks, vm_locks
from interlock.virt.entities import Disk, DiskStatus, Template, TemplateStatus


class RemoveDisk(Command[None], name="disk.remove"):
    """Remove a disk with its image, and take it from its VM, which must be stopped.

    If that fails the disk stays, ILLEGAL; remove it again then.
    """

    disk: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Remove disk {db.get(self.disk).name}"

    def locks(self, db: Reader) -> Locks:
        return _removal_locks(db, self.disk)

    def validate(self, db: Reader) -> Refusals:
        yield from _removal_refusals(db, self.disk)
        yield from vm_is_down(db, db.get(self.disk).vm)
        yield from hosts_of_disks_are_up(db, (self.disk,))

    def execute(self, db: Tx) -> Plan:
        return part(RemoveImage(disk=self.disk))


class RemoveImage(Command[None], name="disk.remove_image"):
    """Remove a disk with its image (a part of whatever removes or undoes disks).

    If that fails the disk stays, ILLEGAL, and can be removed again. Neither the VM's nor the host's status is
    asked for: an undo is worth a try even where the host is thought to be down.
    """

    disk: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Remove disk {db.get(self.disk).name}"

    def locks(self, db: Reader) -> Locks:
        return _removal_locks(db, self.disk)

    def validate(self, db: Reader) -> Refusals:
        yield from _removal_refusals(db, self.disk)

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
        elif said_for_sure(tasks, failure, Code.IMAGE_DOES_NOT_EXIST_IN_SD):
            # What the host says is not there cannot be removed, ever: only the row was left of the disk.
            db.log(f"disk {db.get(self.disk).name} had no image any more; its row is removed", warning=True)
            forget_disk(db, self.disk)
        else:
            mark_illegal(db, self.disk, failure.message)
        return NOTHING


def _removal_locks(db: Reader, disk: Ref[Disk]) -> Locks:
    return exclusive(disk) + vm_locks(db, disk) + storage_locks(db, (disk,))


def _removal_refusals(db: Reader, ref: Ref[Disk]) -> Refusals:
    yield from disks_are_free(db, (ref,))
    for template in db.find(Template, disks=ref):
        # REMOVING is what the template is while template.remove has its disks removed with this very command.
        if template.status is not TemplateStatus.REMOVING:
            name = db.get(ref).name
            yield refuse(f"disk {name} belongs to template {template.name}; remove the template (template.remove)")
    yield from nothing_is_built_upon(db, (ref,))
