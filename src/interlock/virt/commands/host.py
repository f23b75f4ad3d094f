"""Commands on hosts: adding one."""

from dataclasses import replace

from interlock import Command, Plan, Reader, Ref, Refusals, Tx, on_host, part, refuse
from interlock.vdsm import HostGetCapabilities
from interlock.virt.checks import name_is_free
from interlock.virt.entities import Host, HostStatus
from interlock.virt.parameters import Address, Name, Port, is_host_name, is_loopback


class AddHost(Command[Ref[Host]], name="host.add"):
    """Add a host whose agent runs already, and ask it what it can do.

    `server_name` is the name that its certificate must bear (default: the host's name). `plain` speaks
    to it without TLS, which is for loopback addresses only.
    """

    name: Name
    address: Address
    port: Port = 54321
    server_name: Address | None = None
    plain: bool = False

    def title(self, db: Reader) -> str:
        return f"Add host {self.name}"

    def validate(self, db: Reader) -> Refusals:
        yield from name_is_free(db, Host, self.name)
        if self.plain and not is_loopback(self.address):
            yield refuse(f"{self.address} is not a loopback address, and plain is for those only; leave plain out")
        if self.plain and self.server_name is not None:
            yield refuse("plain has no certificate to compare server_name with; give one of the two")
        if not self.plain and self.server_name is None and not is_host_name(self.name):
            yield refuse(f"no certificate can bear the name {self.name}; give server_name, the name in the host's own")

    def execute(self, db: Tx) -> Plan:
        host = db.new(Host)
        db.add(
            Host(
                id=host.id,
                name=self.name,
                address=self.address,
                port=self.port,
                server_name=None if self.plain else self.server_name or self.name,
                status=HostStatus.INSTALLING,
                capabilities={},
            )
        )
        # A question changes nothing, so whatever becomes of it, the host's row may be taken back.
        return part(on_host(host, HostGetCapabilities(), touches=()), step="INSTALLING_HOST")

    def end_successfully(self, db: Tx) -> Ref[Host]:
        host = db.named(Host, self.name)
        assert host is not None  # this command added it, and nobody removes a host that is INSTALLING
        (asked,) = db.tasks(self)
        capabilities = asked.answer if isinstance(asked.answer, dict) else {}
        if not capabilities:
            db.log(
                f"host {self.name} did not say what it can do; it counts as able to do nothing extra",
                warning=True,
            )
        db.put(replace(host, status=HostStatus.UP, capabilities=capabilities))
        return host.ref
