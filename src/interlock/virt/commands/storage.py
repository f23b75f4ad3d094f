"""Commands on storage domains: adding one, and detaching one."""

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
    shared,
)
from interlock.vdsm import Code, StorageDomainCreate, StorageDomainDetach
from interlock.virt.checks import DOMAIN_REMEDIES, host_is_up, name_is_free, named
from interlock.virt.disk_rows import nothing_was_done, said_for_sure
from interlock.virt.entities import Disk, Host, StorageDomain, StorageDomainStatus
from interlock.virt.parameters import Folder, Name


class AddStorageDomain(Command[Ref[StorageDomain]], name="storage.add"):
    """Make a storage domain in a folder of a host; the host's agent must be allowed to use the folder."""

    name: Name
    host: Ref[Host]
    path: Folder

    def title(self, db: Reader) -> str:
        return f"Add storage domain {self.name}"

    def locks(self, db: Reader) -> Locks:
        return shared(self.host)

    def validate(self, db: Reader) -> Refusals:
        yield from name_is_free(db, StorageDomain, self.name)
        yield from host_is_up(db, self.host)

    def execute(self, db: Tx) -> Plan:
        domain = StorageDomain(
            id=db.new(StorageDomain).id,
            name=self.name,
            host=self.host,
            path=self.path,
            pool_id=db.new(StorageDomain).id,
            status=StorageDomainStatus.LOCKED,
        )
        db.add(domain)
        verb = StorageDomainCreate(storagedomainID=str(domain.id), domainName=self.name, typeArgs=self.path)
        return part(on_host(self.host, verb, touches=(domain.ref,)), step="CREATE_STORAGE_DOMAIN")

    def end_successfully(self, db: Tx) -> Ref[StorageDomain]:
        domain = self._own(db)
        db.put(replace(domain, status=StorageDomainStatus.ACTIVE))
        return domain.ref

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        if nothing_was_done(db.tasks(self), failure):
            db.restore()
        else:
            _mark_illegal(db, self._own(db), failure)
        return NOTHING

    def _own(self, db: Reader) -> StorageDomain:
        """The domain that this command added; to be asked for only once its task exists."""
        domain = db.named(StorageDomain, self.name)
        assert domain is not None  # the task and the row were committed together, and nobody removes it
        return domain


class DetachStorageDomain(Command[None], name="storage.detach"):
    """Take a storage domain without disks out of use. Its files stay on the host; nothing of it is known any more."""

    domain: Ref[StorageDomain]

    def title(self, db: Reader) -> str:
        return f"Detach storage domain {db.get(self.domain).name}"

    def locks(self, db: Reader) -> Locks:
        return exclusive(self.domain) + shared(db.get(self.domain).host)

    def validate(self, db: Reader) -> Refusals:
        domain = db.get(self.domain)
        if domain.status is StorageDomainStatus.LOCKED:
            yield refuse(f"storage domain {domain.name} is LOCKED; {DOMAIN_REMEDIES[domain.status]}")
        disks = db.find(Disk, domain=self.domain)
        if disks:
            yield refuse(
                f"storage domain {domain.name} has disks: {named(db, disks)}; move or remove them first "
                "(disk.move, disk.remove, vm.remove, template.remove)"
            )
        yield from host_is_up(db, domain.host)

    def execute(self, db: Tx) -> Plan:
        domain = db.get(self.domain)
        verb = StorageDomainDetach(storagedomainID=str(domain.id), storagepoolID=str(domain.pool_id))
        return part(on_host(domain.host, verb, touches=(self.domain,)), step="DETACH_STORAGE_DOMAIN")

    def end_successfully(self, db: Tx) -> None:
        domain = db.get(self.domain)
        files, host = f"{domain.path}/{domain.id}", db.get(domain.host).name
        db.log(f"storage domain {domain.name} is detached; its files stay at {files} on host {host}")
        db.remove(self.domain)

    def end_with_failure(self, db: Tx, failure: Failure) -> Plan:
        tasks, domain = db.tasks(self), db.get(self.domain)
        gone = (Code.STORAGE_DOMAIN_DOES_NOT_EXIST, Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL)
        if said_for_sure(tasks, failure, *gone):
            # What the host does not have cannot be detached, ever: only the row was left of the domain.
            host = db.get(domain.host).name
            db.log(f"host {host} had no storage domain {domain.name} any more; its row is removed", warning=True)
            db.remove(self.domain)
        elif not nothing_was_done(tasks, failure):
            _mark_illegal(db, domain, failure)
        return NOTHING


def _mark_illegal(db: Tx, domain: StorageDomain, failure: Failure) -> None:
    db.put(replace(domain, status=StorageDomainStatus.ILLEGAL))
    db.log(f"storage domain {domain.name} is ILLEGAL: {failure.message}", warning=True)
