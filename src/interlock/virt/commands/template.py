"""Commands on templates: making one from a stopped VM."""

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
    parallel,
    part,
    refuse,
    shared,
)
from interlock.vdsm import VolumeCopy, VolumeType
from interlock.virt.checks import disks_are_whole, hosts_of_disks_are_up, name_is_free
from interlock.virt.commands.disk import RemoveImage
from interlock.virt.disk_rows import (
    WIRE_FORMATS,
    add_disk,
    forget_disk,
    mark_illegal,
    nothing_was_made,
    storage_locks,
)
from interlock.virt.entities import Disk, DiskStatus, Template, TemplateStatus, Vm, VmStatus
from interlock.virt.parameters import Name

_REMEDIES = {
    VmStatus.IMAGE_LOCKED: "wait until the job that adds it has ended",
    VmStatus.REMOVING: "wait until the job that removes it has ended",
    VmStatus.ILLEGAL: "it can only be removed (vm.remove)",
}


class CreateTemplate(Command[Ref[Template]], name="template.create"):
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
        if vm.status in _REMEDIES:
            yield refuse(f"VM {vm.name} is {vm.status}; {_REMEDIES[vm.status]}")
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
        assert template is not None  # this command added it, and nobody removes templates
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
        domain = db.get(source.domain)
        copy = replace(
            source,
            id=self.copy.id,
            name=self.name,
            image_id=db.new(Disk).id,
            volume_id=db.new(Disk).id,
            status=DiskStatus.LOCKED,
            vm=None,
        )
        add_disk(db, copy)
        verb = VolumeCopy(
            storagepoolID=str(domain.pool_id),
            storagedomainID=str(domain.id),
            imageID=str(source.image_id),
            volumeID=str(source.volume_id),
            dstSdUUID=str(domain.id),
            dstImgUUID=str(copy.image_id),
            dstVolUUID=str(copy.volume_id),
            desc=self.name,
            volType=VolumeType.SHARED,
            volFormat=WIRE_FORMATS[copy.format],
        )
        return part(on_host(domain.host, verb, touches=(self.copy,)), step="COPY_IMAGE")

    def end_successfully(self, db: Tx) -> None:
        db.put(replace(db.get(self.copy), status=DiskStatus.OK))

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        tasks = db.tasks(self)
        if not tasks:
            db.restore()
        elif nothing_was_made(tasks, failure):
            forget_disk(db, self.copy)
        else:
            mark_illegal(db, self.copy, failure.message)
        return NOTHING

    def compensate(self, db: Tx) -> Plan:
        return part(RemoveImage(disk=self.copy)) if db.exists(self.copy) else NOTHING
