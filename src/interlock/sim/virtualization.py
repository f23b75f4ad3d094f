"""The world of virtual machines: the real commands, on simulated hosts and storage domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, select

from interlock import NOTHING, Catalog, Command, Plan, Ref, Tx
from interlock.model.records import TaskRecord
from interlock.model.states import Outcome
from interlock.sim.sites import HOSTS, Submission, host, port_of
from interlock.sim.storage import Place, Storage
from interlock.store.tables import entities, leftovers
from interlock.virt.catalog import CATALOG
from interlock.virt.entities import Disk, DiskStatus, Host, HostStatus, StorageDomain, StorageDomainStatus

_POOL = UUID(int=0x9001)
_MIB = 1 << 20


class Found(Command[None], name="sim.found"):
    """Makes the hosts, each with two storage domains."""

    def execute(self, db: Tx) -> Plan:
        for number in range(HOSTS):
            db.add(
                Host(
                    id=host(number), name=f"host{number}", address="127.0.0.1", port=port_of(number),
                    server_name=None, status=HostStatus.UP, capabilities={},
                )
            )  # fmt: skip
            for place in range(2):
                db.add(
                    StorageDomain(
                        id=UUID(int=0x3000 + 2 * number + place), name=_domain(number, place), path="/simulated",
                        host=Ref("host", host(number)), pool_id=_POOL, status=StorageDomainStatus.ACTIVE,
                    )
                )  # fmt: skip
        return NOTHING


def _domain(number: int, place: int) -> str:
    return f"sd{number}{place}"


class Virtualization:
    """VMs and disks are made, copied, moved, extended and removed, by names that may be there or not."""

    name = "virtualization"
    catalog = CATALOG
    found = (Catalog(Host, StorageDomain, Found), Found())

    def submissions(self, chance: Random, count: int) -> list[Submission]:
        """What people submit."""
        return [self._one(chance, number) for number in range(count)]

    def _one(self, chance: Random, number: int) -> Submission:
        domain = _domain(chance.randrange(HOSTS), chance.randrange(2))
        vm, disk = f"vm{chance.randrange(number + 1)}", f"d{chance.randrange(number + 1)}"
        of_vm = f"{vm}_disk1"
        any_disk = chance.choice((disk, of_vm))
        commands: list[tuple[str, dict[str, Any]]] = [
            ("vm.add", {"name": f"vm{number}", "domain": domain, "disks": [{"size": _MIB}] * chance.randint(1, 3)}),
            ("disk.add", {"name": f"d{number}", "domain": domain, "size": _MIB}),
            ("vm.remove", {"vm": vm}),
            ("disk.remove", {"disk": any_disk}),
            ("disk.move", {"disk": any_disk, "domain": domain}),
            ("disk.copy", {"disk": any_disk, "name": f"c{number}"}),
            ("disk.extend", {"disk": any_disk, "size": 2 * _MIB}),
            ("template.create", {"name": f"t{number}", "vm": vm}),
            ("template.remove", {"template": f"t{chance.randrange(number + 1)}"}),
            ("storage.add", {"name": f"s{number}", "host": f"host{chance.randrange(HOSTS)}", "path": "/simulated"}),
        ]
        if number < 2:
            return Submission(*commands[number % 2])
        return Submission(*chance.choice(commands))

    def untrue(self, connection: Connection, storages: Sequence[Storage], tasks: Sequence[TaskRecord]) -> Iterator[str]:
        """What the rows say of images, against what the hosts have: a disk that is OK has its image, whole; and an
        image that is there is known, or somebody was told of a leftover."""
        known: set[Place] = set()
        images = {place: image for storage in storages for place, image in storage.images.items()}
        rows = connection.execute(select(entities).where(entities.c.type == "disk")).all()
        for row in rows:
            disk = cast(Disk, self.catalog.read_body(Ref("disk", row.id), row.schema, row.body_json))
            place = (str(disk.domain.id), str(disk.image_id))
            known.add(place)
            image = images.get(place)
            if disk.status is DiskStatus.OK and (image is None or not image.is_whole):
                yield f"6: disk {disk.name} ({row.id}) is OK, and its image {place} is not there, or not whole"
        unclear = {str(task.id) for task in tasks if task.outcome in (Outcome.UNKNOWN, Outcome.LOST)}
        unclear |= {str(id) for id in connection.scalars(select(leftovers.c.task_id))}
        for place, image in images.items():
            if place not in known and image.maker not in unclear:
                yield f"17: image {place} of task {image.maker} is there, and nobody knows of it"
