"""Commands on VMs: adding one from a template."""

from dataclasses import replace

from interlock import NOTHING, Command, Failure, Locks, Plan, Reader, Ref, Refusals, Tx, parallel, part, refuse, shared
from interlock.virt.checks import TEMPLATE_REMEDIES, domain_is_active, domain_is_on_host_of, name_is_free
from interlock.virt.commands.disk import CreateImage
from interlock.virt.commands.disk_copy import CopyImage
from interlock.virt.disk_rows import domain_locks, judge_new_vm, new_disk, storage_locks
from interlock.virt.entities import Disk, DiskFormat, StorageDomain, Template, Vm, VmStatus
from interlock.virt.parameters import Name


class AddVmFromTemplate(Command[Ref[Vm]], name="vm.add_from_template"):
    """Add a stopped VM with the disks of a template, named `<name>_disk1` and so on.

    Each disk is built upon the template's and keeps only what differs from it, on the same storage domain. With
    `clone` it is a copy on which nothing depends, on `domain`, another one of the same host, if that is named.
    """

    name: Name
    template: Ref[Template]
    domain: Ref[StorageDomain] | None = None
    clone: bool = False

    def title(self, db: Reader) -> str:
        return f"Add VM {self.name} from template {db.get(self.template).name}"

    def locks(self, db: Reader) -> Locks:
        disks = db.get(self.template).disks
        target = () if self.domain is None else (self.domain,)
        return shared(self.template, *disks) + storage_locks(db, disks) + domain_locks(db, target)

    def validate(self, db: Reader) -> Refusals:
        template = db.get(self.template)
        yield from name_is_free(db, Vm, self.name)
        for number in range(1, len(template.disks) + 1):
            yield from name_is_free(db, Disk, self._disk_name(number))
        if template.status in TEMPLATE_REMEDIES:
            yield refuse(f"template {template.name} is {template.status}; {TEMPLATE_REMEDIES[template.status]}")
        for domain in dict.fromkeys(self._target(db, disk) for disk in template.disks):
            yield from domain_is_active(db, domain)
        for disk in template.disks:
            yield from self._may_be_there(db, disk)

    def execute(self, db: Tx) -> Plan:
        vm = Vm(id=db.new(Vm).id, name=self.name, status=VmStatus.IMAGE_LOCKED)
        db.add(vm)
        disks = db.get(self.template).disks
        return parallel(*(self._disk(db, number, source, vm.ref) for number, source in enumerate(disks, 1)))

    def end_successfully(self, db: Tx) -> Ref[Vm]:
        vm = self._own(db)
        db.put(replace(vm, status=VmStatus.DOWN))
        return vm.ref

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if [*db.children(CopyImage), *db.children(CreateImage)]:
            judge_new_vm(db, self._own(db).ref, failure)
        else:
            db.restore()
        return NOTHING

    def _disk(self, db: Tx, number: int, source: Ref[Disk], vm: Ref[Vm]) -> Plan:
        """Adds the row of a disk; the part that makes its image."""
        disk = new_disk(
            db,
            self._disk_name(number),
            domain=self._target(db, source),
            size=db.get(source).size,
            format=db.get(source).format if self.clone else DiskFormat.COW,
            vm=vm,
            parent=None if self.clone else source,
        )
        return part(CopyImage(source=source, copy=disk) if self.clone else CreateImage(disk=disk))

    def _may_be_there(self, db: Reader, disk: Ref[Disk]) -> Refusals:
        """The new disk can be on its domain."""
        target = self._target(db, disk)
        if self.clone:
            yield from domain_is_on_host_of(db, target, disk)
        elif target != db.get(disk).domain:
            yield refuse(
                f"what is built upon disk {db.get(disk).name} has to be on storage domain "
                f"{db.get(db.get(disk).domain).name} too, not on {db.get(target).name}; leave domain out, or give clone"
            )

    def _own(self, db: Reader) -> Vm:
        """The VM that this command added; to be asked for only once its parts exist."""
        vm = db.named(Vm, self.name)
        assert vm is not None  # the parts and the row were committed together; nobody removes a VM that is IMAGE_LOCKED
        return vm

    def _target(self, db: Reader, disk: Ref[Disk]) -> Ref[StorageDomain]:
        """The domain of the new disk that is made from a template's."""
        return db.get(disk).domain if self.domain is None else self.domain

    def _disk_name(self, number: int) -> str:
        return f"{self.name}_disk{number}"
