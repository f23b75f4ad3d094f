"""What several commands do to the rows of disks and VMs, and how they judge what became of an image."""

from collections.abc import Iterable
from dataclasses import replace

from interlock import Failure, Locks, Outcome, Reader, Ref, TaskResult, Tx, shared
from interlock.vdsm import Code, VolumeFormat
from interlock.virt.entities import Disk, DiskFormat, DiskStatus, StorageDomain, Template, Vm, VmStatus

WIRE_FORMATS = {DiskFormat.COW: VolumeFormat.COW, DiskFormat.RAW: VolumeFormat.RAW}

_NEVER_OR_UNDONE = (Outcome.REFUSED, Outcome.FAILED, Outcome.STOPPED)


def domain_locks(db: Reader, domains: Iterable[Ref[StorageDomain]]) -> Locks:
    """Shared locks on storage domains and the hosts that work on them."""
    domains = tuple(dict.fromkeys(domains))
    return shared(*domains, *dict.fromkeys(db.get(domain).host for domain in domains))


def storage_locks(db: Reader, disks: Iterable[Ref[Disk]]) -> Locks:
    """Shared locks on the storage domains and hosts that work on the disks needs."""
    return domain_locks(db, (db.get(ref).domain for ref in disks))


def vm_locks(db: Reader, disk: Ref[Disk]) -> Locks:
    """A shared lock on the VM that the disk belongs to, if any."""
    vm = db.get(disk).vm
    return shared() if vm is None else shared(vm)


def new_disk(
    db: Tx,
    name: str,
    *,
    domain: Ref[StorageDomain],
    size: int,
    format: DiskFormat,
    vm: Ref[Vm] | None = None,
    parent: Ref[Disk] | None = None,
) -> Ref[Disk]:
    """Adds the row of a disk whose image is still to be made, and the disk to its VM."""
    disk = Disk(
        id=db.new(Disk).id,
        name=name,
        domain=domain,
        image_id=db.new(Disk).id,
        volume_id=db.new(Disk).id,
        size=size,
        format=format,
        status=DiskStatus.LOCKED,
        vm=vm,
        parent=parent,
    )
    db.add(disk)
    if vm is not None:
        owner = db.get(vm)
        db.put(replace(owner, disks=(*owner.disks, disk.ref)))
    return disk.ref


def forget_disk(db: Tx, ref: Ref[Disk]) -> None:
    """Removes the row of a disk that has no image, and takes the disk from its owner; may come twice."""
    if not db.exists(ref):
        return
    disk = db.get(ref)
    if disk.vm is not None and db.exists(disk.vm):
        vm = db.get(disk.vm)
        db.put(replace(vm, disks=tuple(each for each in vm.disks if each != ref)))
    for template in db.find(Template, disks=ref):
        db.put(replace(template, disks=tuple(each for each in template.disks if each != ref)))
    db.remove(ref)


def mark_illegal(db: Tx, ref: Ref[Disk], why: str) -> None:
    """Says that nobody may rely on the disk's image, and why."""
    disk = db.get(ref)
    if disk.status is not DiskStatus.ILLEGAL:
        db.put(replace(disk, status=DiskStatus.ILLEGAL))
        db.log(f"disk {disk.name} is ILLEGAL: {why}", warning=True)


def judge_new_image(db: Tx, ref: Ref[Disk], tasks: Iterable[TaskResult], failure: Failure) -> None:
    """After a failure to make its image: the disk's row goes if there is certainly none, or is ILLEGAL."""
    if nothing_was_done(tasks, failure):
        forget_disk(db, ref)
    else:
        mark_illegal(db, ref, failure.message)


def judge_new_vm(db: Tx, ref: Ref[Vm], failure: Failure) -> None:
    """After a failure to make its disks: the VM's row goes with the last of them, or is ILLEGAL as they are."""
    remaining = db.get(ref).disks
    for disk in remaining:
        mark_illegal(db, disk, failure.message)
    if remaining:
        db.put(replace(db.get(ref), status=VmStatus.ILLEGAL))
    else:
        db.remove(ref)


def nothing_was_done(tasks: Iterable[TaskResult], failure: Failure) -> bool:
    """Whether the tasks certainly changed nothing that stays: refused, or failed or stopped and rolled back."""
    if any(cause.leftover for cause in failure.causes):
        return False
    return all(task.outcome in _NEVER_OR_UNDONE for task in tasks)


def said_for_sure(tasks: Iterable[TaskResult], failure: Failure, *codes: Code) -> bool:
    """Whether the host, sure that it changed nothing, gave one of the codes as its reason."""
    tasks = tuple(tasks)
    return nothing_was_done(tasks, failure) and any(task.code in codes for task in tasks)
