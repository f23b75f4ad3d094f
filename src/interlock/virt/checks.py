"""Refusals that several commands share: each says the fact and the remedy."""

from collections.abc import Iterable

from interlock import Entity, Reader, Ref, Refusals, refuse
from interlock.virt.entities import Disk, DiskStatus, Host, HostStatus, StorageDomain, StorageDomainStatus
from interlock.virt.parameters import NAME_LENGTH_MAX

_HOST_REMEDIES = {
    HostStatus.INSTALLING: "wait until the job that adds it has ended",
    HostStatus.DOWN: "bring it up first",
    HostStatus.INSTALL_FAILED: "add it again",
}
_DOMAIN_REMEDIES = {
    StorageDomainStatus.LOCKED: "wait until the job that adds it has ended",
    StorageDomainStatus.ILLEGAL: "look at its folder on the host, or use another storage domain",
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
        yield refuse(f"storage domain {domain.name} is {domain.status}; {_DOMAIN_REMEDIES[domain.status]}")
    yield from host_is_up(db, domain.host)


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
            yield refuse(f"disk {disk.name} is ILLEGAL; remove it first (disk.remove_image)")
