"""Commands on disks: moving one to another storage domain of its host.

Whichever of the two images is not the disk's has a row of its own, `<name>_moving`: the copy while it is made,
the former image once the disk's row points at the copy. It is the only row that a task of the move may touch, so
that whatever becomes of the move the disk stays usable, and what remains of it can be removed (disk.remove). As long
as it is there the disk is not moved again, so that a task of unknown fate never meets the images of a later move.
"""

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
    sequence,
)
from interlock.vdsm import ImageCloneStructure, ImageSyncData
from interlock.virt.checks import (
    disk_is_of_no_template,
    disks_are_whole,
    domain_is_active,
    domain_is_on_host_of,
    name_is_free,
    nothing_is_built_upon,
    vm_is_down,
)
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.disk_rows import (
    domain_locks,
    judge_new_image,
    mark_illegal,
    nothing_was_done,
    storage_locks,
    vm_locks,
)
from interlock.virt.entities import Disk, DiskStatus, StorageDomain


class MoveDisk(Command[None], name="disk.move"):
    """Move a disk that no running VM uses to another storage domain of its host.

    The disk has a whole image throughout. If its former image cannot be removed it stays as the ILLEGAL disk
    `<name>_moving`, with a warning; the move has succeeded all the same.
    """

    disk: Ref[Disk]
    domain: Ref[StorageDomain]

    def title(self, db: Reader) -> str:
        return f"Move disk {db.get(self.disk).name} to {db.get(self.domain).name}"

    def locks(self, db: Reader) -> Locks:
        domains = (db.get(self.disk).domain, self.domain)
        return exclusive(self.disk) + vm_locks(db, self.disk) + domain_locks(db, domains)

    def validate(self, db: Reader) -> Refusals:
        disk = db.get(self.disk)
        if disk.domain == self.domain:
            yield refuse(f"disk {disk.name} is on storage domain {db.get(self.domain).name} already; name another one")
        yield from self._nothing_is_left(db)
        yield from disks_are_whole(db, (self.disk,))
        yield from disk_is_of_no_template(db, self.disk, "copy it instead (disk.copy)")
        yield from nothing_is_built_upon(db, (self.disk,))
        yield from self._parent_is_there(db)
        yield from vm_is_down(db, disk.vm)
        yield from domain_is_active(db, self.domain)
        yield from domain_is_on_host_of(db, self.domain, self.disk)

    def execute(self, db: Tx) -> Plan:
        disk = db.get(self.disk)
        other = replace(
            disk,
            id=db.new(Disk).id,
            name=self._name_of_other(db),
            domain=self.domain,
            status=DiskStatus.LOCKED,
            vm=None,
        )
        db.add(other)
        return sequence(
            part(CloneImageStructure(disk=self.disk, copy=other.ref), step="DEST_CREATION", weight=10),
            part(SyncImageData(disk=self.disk, copy=other.ref), step="DATA_COPY", weight=90),
            part(SwitchImages(disk=self.disk, copy=other.ref)),
            part(RemoveImage(disk=other.ref), best_effort=True),
        )

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        cloning = db.children(CloneImageStructure)
        if not cloning:
            db.restore()
        for child in cloning:
            if db.exists(child.command.copy):
                mark_illegal(db, child.command.copy, failure.message)
        return NOTHING

    def _name_of_other(self, db: Reader) -> str:
        return f"{db.get(self.disk).name}_moving"

    def _nothing_is_left(self, db: Reader) -> Refusals:
        name = self._name_of_other(db)
        if db.named(Disk, name) is None:
            yield from name_is_free(db, Disk, name)
        else:
            yield refuse(f"disk {name} is there, as if left by a former move; remove it first (disk.remove)")

    def _parent_is_there(self, db: Reader) -> Refusals:
        disk, target = db.get(self.disk), db.get(self.domain)
        if disk.parent is not None and db.get(disk.parent).domain != self.domain:
            yield refuse(
                f"disk {disk.name} is built upon disk {db.get(disk.parent).name}, which is not on storage domain "
                f"{target.name}; copy it instead (disk.copy)"
            )


class CloneImageStructure(Command[None], name="disk.clone_structure"):
    """Make an empty image like a disk's on the domain of the row `copy`, which was just added (a part of disk.move)."""

    disk: Ref[Disk]
    copy: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Make room for disk {db.get(self.disk).name} on {db.get(db.get(self.copy).domain).name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk, self.copy) + storage_locks(db, (self.disk, self.copy))

    def validate(self, db: Reader) -> Refusals:
        return _copy_is_new(db, self.copy)

    def execute(self, db: Tx) -> Plan:
        disk, copy = db.get(self.disk), db.get(self.copy)
        domain = db.get(disk.domain)
        verb = ImageCloneStructure(
            storagepoolID=str(domain.pool_id),
            storagedomainID=str(domain.id),
            imageID=str(disk.image_id),
            dstSdUUID=str(copy.domain.id),
        )
        return part(on_host(domain.host, verb, touches=(self.copy,)), step="CLONE_IMAGE_STRUCTURE")

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        judge_new_image(db, self.copy, db.tasks(self), failure)
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        # ILLEGAL is a copy that a task may still change, or the former image: both wait for a person.
        if not db.exists(self.copy) or db.get(self.copy).status is DiskStatus.ILLEGAL:
            return NOTHING
        db.put(replace(db.get(self.copy), status=DiskStatus.ILLEGAL))
        return part(RemoveImage(disk=self.copy))


class SyncImageData(Command[None], name="disk.sync_data"):
    """Copy what a disk's image holds into the one that disk.clone_structure made (a part of disk.move)."""

    disk: Ref[Disk]
    copy: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Copy the data of disk {db.get(self.disk).name} to {db.get(db.get(self.copy).domain).name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk, self.copy) + storage_locks(db, (self.disk, self.copy))

    def validate(self, db: Reader) -> Refusals:
        return _copy_is_new(db, self.copy)

    def execute(self, db: Tx) -> Plan:
        disk, copy = db.get(self.disk), db.get(self.copy)
        domain = db.get(disk.domain)
        verb = ImageSyncData(
            storagepoolID=str(domain.pool_id),
            storagedomainID=str(domain.id),
            imageID=str(disk.image_id),
            dstSdUUID=str(copy.domain.id),
        )
        return part(on_host(domain.host, verb, touches=(self.copy,)), step="SYNC_IMAGE_DATA")

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if not nothing_was_done(db.tasks(self), failure):
            mark_illegal(db, self.copy, failure.message)
        return NOTHING


class SwitchImages(Command[None], name="disk.switch_images"):
    """Point a disk's row at its whole copy, and the copy's row at the former image (a part of disk.move).

    Its commit comes before anything is asked of the host that would remove the former image.
    """

    disk: Ref[Disk]
    copy: Ref[Disk]

    def title(self, db: Reader) -> str:
        return f"Point disk {db.get(self.disk).name} at its copy"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.disk, self.copy)

    def validate(self, db: Reader) -> Refusals:
        return _copy_is_new(db, self.copy)

    def execute(self, db: Tx) -> Plan:
        disk, copy = db.get(self.disk), db.get(self.copy)
        db.put(replace(disk, domain=copy.domain))
        db.put(replace(copy, domain=disk.domain, status=DiskStatus.ILLEGAL))
        return NOTHING


def _copy_is_new(db: Reader, ref: Ref[Disk]) -> Refusals:
    copy = db.get(ref)
    if copy.status is not DiskStatus.LOCKED:
        yield refuse(f"disk {copy.name} is {copy.status}, not being made; move the disk as a whole (disk.move)")
