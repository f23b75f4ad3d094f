"""What several commands do to the rows of disks, and how they judge what became of an image."""

from collections.abc import Iterable
from dataclasses import replace

from interlock import Failure, Locks, Outcome, Reader, Ref, TaskResult, Tx, shared
from interlock.vdsm import Code, VolumeFormat
from interlock.virt.entities import Disk, DiskFormat, DiskStatus

WIRE_FORMATS = {DiskFormat.COW: VolumeFormat.COW, DiskFormat.RAW: VolumeFormat.RAW}

_NEVER_OR_UNDONE = (Outcome.REFUSED, Outcome.FAILED)


def storage_locks(db: Reader, disks: Iterable[Ref[Disk]]) -> Locks:
    """Shared locks on the storage domains and hosts that work on the disks needs."""
    domains = dict.fromkeys(db.get(ref).domain for ref in disks)
    hosts = dict.fromkeys(db.get(domain).host for domain in domains)
    return shared(*domains, *hosts)


def add_disk(db: Tx, disk: Disk) -> None:
    """Adds the disk's row, and the disk to its VM."""
    db.add(disk)
    if disk.vm is not None:
        vm = db.get(disk.vm)
        db.put(replace(vm, disks=(*vm.disks, disk.ref)))


def forget_disk(db: Tx, ref: Ref[Disk]) -> None:
    """Removes the row of a disk that has no image, and takes the disk from its VM; may come twice."""
    if not db.exists(ref):
        return
    disk = db.get(ref)
    if disk.vm is not None and db.exists(disk.vm):
        vm = db.get(disk.vm)
        db.put(replace(vm, disks=tuple(each for each in vm.disks if each != ref)))
    db.remove(ref)


def mark_illegal(db: Tx, ref: Ref[Disk], why: str) -> None:
    """Says that nobody may rely on the disk's image, and why."""
    disk = db.get(ref)
    if disk.status is not DiskStatus.ILLEGAL:
        db.put(replace(disk, status=DiskStatus.ILLEGAL))
        db.log(f"disk {disk.name} is ILLEGAL: {why}", warning=True)


def nothing_was_made(tasks: Iterable[TaskResult], failure: Failure) -> bool:
    """Whether tasks that were to make an image certainly left none: refused, or failed and rolled back."""
    if any(cause.leftover for cause in failure.causes):
        return False
    return all(task.outcome in _NEVER_OR_UNDONE for task in tasks)


def image_is_absent(tasks: Iterable[TaskResult]) -> bool:
    """Whether the host said that the image to remove is not there."""
    return any(task.outcome in _NEVER_OR_UNDONE and task.code == Code.IMAGE_DOES_NOT_EXIST_IN_SD for task in tasks)
