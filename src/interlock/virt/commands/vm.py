"""Commands on VMs: adding one with its disks, and removing one."""

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
    parallel,
    part,
    refuse,
)
from interlock.virt.checks import (
    VM_REMEDIES,
    disks_are_free,
    domain_is_active,
    hosts_of_disks_are_up,
    name_is_free,
    nothing_is_built_upon,
)
from interlock.virt.commands.disk import AddDisk
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.disk_rows import domain_locks, judge_new_vm, storage_locks
from interlock.virt.entities import Disk, StorageDomain, Vm, VmStatus
from interlock.virt.parameters import DiskSpecs, Name


class AddVm(Command[Ref[Vm]], name="vm.add", resumable=True):
    """Add a stopped VM with new, empty disks on a storage domain, named `<name>_disk1` and so on."""

    name: Name
    domain: Ref[StorageDomain] | None = None
    disks: DiskSpecs = ()

    def title(self, db: Reader) -> str:
        return f"Add VM {self.name}"

    def locks(self, db: Reader) -> Locks:
        return NO_LOCKS if self.domain is None else domain_locks(db, (self.domain,))

    def validate(self, db: Reader) -> Refusals:
        yield from name_is_free(db, Vm, self.name)
        if self.domain is None and self.disks:
            yield refuse("the disks need a storage domain; give domain")
        if self.domain is not None:
            yield from domain_is_active(db, self.domain)
        for name in self._disk_names():
            yield from name_is_free(db, Disk, name)

    def execute(self, db: Tx) -> Plan:
        vm = db.new(Vm)
        if self.domain is None or not self.disks:
            db.add(Vm(id=vm.id, name=self.name, status=VmStatus.DOWN))
            return NOTHING
        db.add(Vm(id=vm.id, name=self.name, status=VmStatus.IMAGE_LOCKED))
        parts = [
            part(AddDisk(name=name, domain=self.domain, size=spec.size, format=spec.format, vm=vm))
            for name, spec in zip(self._disk_names(), self.disks, strict=True)
        ]
        return parallel(*parts)

    def end_successfully(self, db: Tx) -> Ref[Vm]:
        vm = db.named(Vm, self.name)
        assert vm is not None  # this command added it, and nobody removes a VM that is IMAGE_LOCKED
        if vm.status is VmStatus.IMAGE_LOCKED:
            db.put(replace(vm, status=VmStatus.DOWN))
        return vm.ref

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        added = db.children(AddDisk)
        if not added:
            db.restore()
            return NOTHING
        # By the children's ref, not by name: only theirs is certainly the VM of this command.
        vm = added[0].command.vm
        if vm is not None and db.exists(vm):
            judge_new_vm(db, vm, failure)
        return NOTHING

    def _disk_names(self) -> list[str]:
        return [f"{self.name}_disk{number}" for number in range(1, len(self.disks) + 1)]


class RemoveVm(Command[None], name="vm.remove", resumable=True):
    """Remove a stopped VM, and its disks unless told to keep them.

    If a disk cannot be removed the VM stays, ILLEGAL, with the disks that remain; remove it again then.
    """

    vm: Ref[Vm]
    keep_disks: bool = False

    def title(self, db: Reader) -> str:
        return f"Remove VM {db.get(self.vm).name}"

    def locks(self, db: Reader) -> Locks:
        disks = db.get(self.vm).disks
        return exclusive(self.vm, *disks) + (NO_LOCKS if self.keep_disks else storage_locks(db, disks))

    def validate(self, db: Reader) -> Refusals:
        vm = db.get(self.vm)
        if vm.status in (VmStatus.IMAGE_LOCKED, VmStatus.REMOVING):
            yield refuse(f"VM {vm.name} is {vm.status}; {VM_REMEDIES[vm.status]}")
        yield from disks_are_free(db, vm.disks)
        if not self.keep_disks:
            yield from nothing_is_built_upon(db, vm.disks)
            yield from hosts_of_disks_are_up(db, vm.disks)

    def execute(self, db: Tx) -> Plan:
        vm = db.get(self.vm)
        db.put(replace(vm, status=VmStatus.REMOVING))
        if self.keep_disks or not vm.disks:
            return NOTHING
        return part(RemoveAllVmImages(vm=self.vm), step="REMOVING_VM")

    def end_successfully(self, db: Tx) -> None:
        for disk in db.find(Disk, vm=self.vm):
            db.put(replace(disk, vm=None))
        db.remove(self.vm)

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        # Once the removal of an image began, vm.remove_images has said so: the VM is ILLEGAL by now.
        if db.get(self.vm).status is VmStatus.REMOVING:
            db.restore()
        return NOTHING


class RemoveAllVmImages(Command[None], name="vm.remove_images", resumable=True, skippable=True):
    """Remove all disks of a VM with their images, side by side (a part of vm.remove)."""

    vm: Ref[Vm]

    def title(self, db: Reader) -> str:
        return f"Remove the disks of VM {db.get(self.vm).name}"

    def locks(self, db: Reader) -> Locks:
        disks = db.get(self.vm).disks
        return exclusive(self.vm, *disks) + storage_locks(db, disks)

    def validate(self, db: Reader) -> Refusals:
        vm = db.get(self.vm)
        # REMOVING is what the VM is while vm.remove has its disks removed with this very command.
        if vm.status is VmStatus.IMAGE_LOCKED:
            yield refuse(f"VM {vm.name} is {vm.status}; {VM_REMEDIES[vm.status]}")

    def execute(self, db: Tx) -> Plan:
        return parallel(*(part(RemoveImage(disk=disk)) for disk in db.get(self.vm).disks))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if db.children(RemoveImage):
            db.put(replace(db.get(self.vm), status=VmStatus.ILLEGAL))
        return NOTHING
