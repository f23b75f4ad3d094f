"""Commands on storage domains: adding one."""

from dataclasses import replace

from interlock import NOTHING, Command, Failure, Locks, Plan, Reader, Ref, Refusals, Tx, on_host, part, shared
from interlock.vdsm import StorageDomainCreate
from interlock.virt.checks import host_is_up, name_is_free
from interlock.virt.disk_rows import nothing_was_made
from interlock.virt.entities import Host, StorageDomain, StorageDomainStatus
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
        tasks = db.tasks(self)
        if nothing_was_made(tasks, failure):
            db.restore()
        else:
            db.put(replace(self._own(db), status=StorageDomainStatus.ILLEGAL))
            db.log(f"storage domain {self.name} is ILLEGAL: {failure.message}", warning=True)
        return NOTHING

    def _own(self, db: Reader) -> StorageDomain:
        """The domain that this command added; to be asked for only once its task exists."""
        domain = db.named(StorageDomain, self.name)
        assert domain is not None  # the task and the row were committed together, and nobody removes it
        return domain
