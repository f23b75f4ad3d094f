"""Refusals that several commands share: each says the fact and the remedy."""

from collections.abc import Iterable, Sequence

from interlock import Entity, Reader, Ref, Refusals, refuse
from interlock.virt.entities import (
    Disk,
    DiskStatus,
    Host,
    HostStatus,
    StorageDomain,
    StorageDomainStatus,
    Template,
    TemplateStatus,
    Vm,
    VmStatus,
)
from interlock.virt.parameters import NAME_LENGTH_MAX

#: of more disks than these a refusal says only how many they are
NAMED_MAX = 10

_HOST_REMEDIES = {
    HostStatus.INSTALLING: "wait until the job that adds it has ended",
    HostStatus.DOWN: "bring it up first",
    HostStatus.INSTALL_FAILED: "add it again",
}
DOMAIN_REMEDIES = {
    StorageDomainStatus.LOCKED: "wait until the job that adds it has ended",
    StorageDomainStatus.ILLEGAL: "look at its folder on the host and detach it, or use another storage domain",
}
VM_REMEDIES = {
    VmStatus.IMAGE_LOCKED: "wait until the job that adds it has ended",
    VmStatus.REMOVING: "wait until the job that removes it has ended",
    VmStatus.ILLEGAL: "it can only be removed (vm.remove)",
}
TEMPLATE_REMEDIES = {
    TemplateStatus.LOCKED: "wait until the job that makes it has ended",
    TemplateStatus.REMOVING: "wait until the job that removes it has ended",
    TemplateStatus.ILLEGAL: "it can only be removed (template.remove)",
}


def name_is_free(db: Reader, kind: type[Entity], name: str) -> Refusals:
    """Nothing of that kind has the name, and the name is not too long (it may be made from another)."""
    if len(name) > NAME_LENGTH_MAX:
        yield refuse(
            f"the {kind.entity_type} would be named by {len(name)} characters, more than {NAME_LENGTH_MAX}; "
            "choose a shorter name"
        )
    elif db.named(kind, name) is not None:
        yield refuse(f"there is a {kind.entity_type} named {name} already; choose another name")


def host_is_up(db: Reader, ref: Ref[Host]) -> Refusals:
    """The host may be given work."""
    host = db.get(ref)
    if host.status is not HostStatus.UP:
        yield refuse(f"host {host.name} is {host.status}; {_HOST_REMEDIES[host.status]}")


def domain_is_active(db: Reader, ref: Ref[StorageDomain]) -> Refusals:
    """Disks may be made on the domain, and its host may be given work."""
    domain = db.get(ref)
    if domain.status is not StorageDomainStatus.ACTIVE:
        yield refuse(f"storage domain {domain.name} is {domain.status}; {DOMAIN_REMEDIES[domain.status]}")
    yield from host_is_up(db, domain.host)


def domain_is_on_host_of(db: Reader, domain: Ref[StorageDomain], disk: Ref[Disk]) -> Refusals:
    """The host that has the disk can work on the domain too."""
    target, source = db.get(domain), db.get(db.get(disk).domain)
    if target.host != source.host:
        here = db.get(source.host).name
        yield refuse(
            f"disk {db.get(disk).name} is on host {here}, storage domain {target.name} on host "
            f"{db.get(target.host).name}; choose a storage domain of host {here}"
        )


def vm_is_down(db: Reader, ref: Ref[Vm] | None) -> Refusals:
    """The VM, if there is one, is stopped and whole."""
    if ref is not None:
        vm = db.get(ref)
        if vm.status in VM_REMEDIES:
            yield refuse(f"VM {vm.name} is {vm.status}; {VM_REMEDIES[vm.status]}")


def hosts_of_disks_are_up(db: Reader, disks: Iterable[Ref[Disk]]) -> Refusals:
    """Every host that would work on the disks may be given work; each is named once."""
    domains = dict.fromkeys(db.get(ref).domain for ref in disks)
    for host in dict.fromkeys(db.get(domain).host for domain in domains):
        yield from host_is_up(db, host)


def disks_are_free(db: Reader, disks: Iterable[Ref[Disk]]) -> Refusals:
    """No job works on the disks."""
    for disk in map(db.get, disks):
        if disk.status is DiskStatus.LOCKED:
            yield refuse(f"disk {disk.name} is LOCKED; wait until the job that works on it has ended")


def disks_are_whole(db: Reader, disks: Iterable[Ref[Disk]]) -> Refusals:
    """The disks' images may be relied on."""
    disks = tuple(disks)
    yield from disks_are_free(db, disks)
    for disk in map(db.get, disks):
        if disk.status is DiskStatus.ILLEGAL:
            yield refuse(f"disk {disk.name} is ILLEGAL; remove it first (disk.remove)")


def disk_is_of_no_template(db: Reader, ref: Ref[Disk], remedy: str) -> Refusals:
    """What a template's disk holds must stay as and where it is; the remedy says what to do instead."""
    for template in db.find(Template, disks=ref):
        yield refuse(f"disk {db.get(ref).name} belongs to template {template.name}; {remedy}")


def nothing_is_built_upon(db: Reader, disks: Iterable[Ref[Disk]]) -> Refusals:
    """No other disk needs the images of the disks."""
    for ref in disks:
        children = db.find(Disk, parent=ref)
        if children:
            yield refuse(
                f"disk {db.get(ref).name} is what others are built upon: {named(db, children)}; "
                "remove those first (vm.remove, disk.remove)"
            )


def named(db: Reader, disks: Sequence[Disk]) -> str:
    """The disks with what they belong to; beyond `NAMED_MAX`, how many more."""
    words = [_with_owner(db, disk) for disk in disks[:NAMED_MAX]]
    more = len(disks) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "")


def _with_owner(db: Reader, disk: Disk) -> str:
    if disk.vm is not None:
        return f"{disk.name} (VM {db.get(disk.vm).name})"
    owner = next((f" (template {template.name})" for template in db.find(Template, disks=disk.ref)), "")
    return f"{disk.name}{owner}"
