"""Commands on templates: making one from a stopped VM, and removing one."""

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
    parallel,
    part,
    refuse,
    shared,
)
from interlock.vdsm import VolumeType
from interlock.virt.checks import (
    TEMPLATE_REMEDIES,
    disks_are_free,
    disks_are_whole,
    hosts_of_disks_are_up,
    name_is_free,
    nothing_is_built_upon,
    vm_is_down,
)
from interlock.virt.commands.disk_copy import volume_copy
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.disk_rows import judge_new_image, mark_illegal, storage_locks
from interlock.virt.entities import Disk, DiskStatus, Template, TemplateStatus, Vm
from interlock.virt.parameters import Name


class CreateTemplate(Command[Ref[Template]], name="template.create", resumable=True):
    """Copy the disks of a stopped VM into a template; the copies are named `<name>_disk1` and so on."""

    name: Name
    vm: Ref[Vm]

    def title(self, db: Reader) -> str:
        return f"Create template {self.name} from VM {db.get(self.vm).name}"

    def locks(self, db: Reader) -> Locks:
        disks = db.get(self.vm).disks
        return shared(self.vm) + exclusive(*disks) + storage_locks(db, disks)

    def validate(self, db: Reader) -> Refusals:
        vm = db.get(self.vm)
        yield from name_is_free(db, Template, self.name)
        for number in range(1, len(vm.disks) + 1):
            yield from name_is_free(db, Disk, self._copy_name(number))
        yield from vm_is_down(db, self.vm)
        yield from disks_are_whole(db, vm.disks)
        yield from hosts_of_disks_are_up(db, vm.disks)

    def execute(self, db: Tx) -> Plan:
        vm = db.get(self.vm)
        template = Template(
            id=db.new(Template).id, name=self.name, source_vm=vm.name or "", status=TemplateStatus.LOCKED
        )
        db.add(template)
        copies = [
            CreateImageTemplate(template=template.ref, source=source, copy=db.new(Disk), name=self._copy_name(number))
            for number, source in enumerate(vm.disks, 1)
        ]
        return parallel(*map(part, copies))

    def end_successfully(self, db: Tx) -> Ref[Template]:
        template = db.named(Template, self.name)
        assert template is not None  # this command added it, and nobody removes a template that is LOCKED
        copies = tuple(child.command.copy for child in db.children(CreateImageTemplate))
        db.put(replace(template, status=TemplateStatus.OK, disks=copies))
        return template.ref

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        copied = db.children(CreateImageTemplate)
        if not copied:
            db.restore()
            return NOTHING
        # The template never was. Copies that remain are disks of nobody, which disk.remove_image removes.
        db.remove(copied[0].command.template)
        for child in copied:
            if db.exists(child.command.copy):
                mark_illegal(db, child.command.copy, failure.message)
        return NOTHING

    def _copy_name(self, number: int) -> str:
        return f"{self.name}_disk{number}"


class CreateImageTemplate(Command[None], name="template.create_image"):
    """Copy one disk for a template (a part of template.create); `copy` is the new disk's ref."""

    template: Ref[Template]
    source: Ref[Disk]
    copy: Ref[Disk]
    name: Name

    def title(self, db: Reader) -> str:
        return f"Copy disk {db.get(self.source).name} to {self.name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.source, self.copy) + storage_locks(db, (self.source,))

    def validate(self, db: Reader) -> Refusals:
        template = db.get(self.template)
        if template.status is not TemplateStatus.LOCKED:
            yield refuse(f"template {template.name} is made; create another one (template.create)")
        if db.exists(self.copy):
            yield refuse(f"disk {db.get(self.copy).name} exists; give copy the ref of a new disk")
        yield from name_is_free(db, Disk, self.name)
        yield from disks_are_whole(db, (self.source,))

    def execute(self, db: Tx) -> Plan:
        source = db.get(self.source)
        copy = replace(
            source,
            id=self.copy.id,
            name=self.name,
            image_id=db.new(Disk).id,
            volume_id=db.new(Disk).id,
            status=DiskStatus.LOCKED,
            vm=None,
            parent=None,
        )
        db.add(copy)
        return volume_copy(db, self.source, self.copy, VolumeType.SHARED)

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.copy), status=DiskStatus.OK))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        judge_new_image(db, self.copy, db.tasks(self), failure)
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        return part(RemoveImage(disk=self.copy)) if db.exists(self.copy) else NOTHING


class RemoveTemplate(Command[None], name="template.remove", resumable=True):
    """Remove a template upon whose disks no others are built, with its disks.

    If a disk cannot be removed the template stays, ILLEGAL, with the disks that remain; remove it again then.
    """

    template: Ref[Template]

    def title(self, db: Reader) -> str:
        return f"Remove template {db.get(self.template).name}"

    def locks(self, db: Reader) -> Locks:
        disks = db.get(self.template).disks
        return exclusive(self.template, *disks) + storage_locks(db, disks)

    def validate(self, db: Reader) -> Refusals:
        template = db.get(self.template)
        if template.status in (TemplateStatus.LOCKED, TemplateStatus.REMOVING):
            yield refuse(f"template {template.name} is {template.status}; {TEMPLATE_REMEDIES[template.status]}")
        yield from disks_are_free(db, template.disks)
        yield from nothing_is_built_upon(db, template.disks)
        yield from hosts_of_disks_are_up(db, template.disks)

    def execute(self, db: Tx) -> Plan:
        template = db.get(self.template)
        db.put(replace(template, status=TemplateStatus.REMOVING))
        return parallel(*(part(RemoveImage(disk=disk)) for disk in template.disks))

    def end_successfully(self, db: Tx) -> None:
        db.remove(self.template)

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if db.children(RemoveImage):
            template = db.get(self.template)
            db.put(replace(template, status=TemplateStatus.ILLEGAL))
            db.log(f"template {template.name} is ILLEGAL: {failure.message}", warning=True)
        else:
            db.restore()
        return NOTHING
