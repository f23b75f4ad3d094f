"""What must hold after every end: the rows are true of the host's files, and what is ILLEGAL can be removed."""

from typing import Any

from interlock import Command, Entity
from interlock.virt.commands.disk_removal import RemoveDisk
from interlock.virt.commands.storage import DetachStorageDomain
from interlock.virt.commands.template import RemoveTemplate
from interlock.virt.commands.vm import RemoveVm
from interlock.virt.entities import (
    Disk,
    DiskStatus,
    StorageDomain,
    StorageDomainStatus,
    Template,
    TemplateStatus,
    Vm,
    VmStatus,
)
from tests.virt.memory_tx import World
from tests.virt.small_engine import SmallEngine, key_of

#: the second try removes the row of what the host said that it does not have
TRIES = 2


def disks_of(world: World) -> list[Disk]:
    return [row for row in world.rows.values() if isinstance(row, Disk)]


def says_the_truth(engine: SmallEngine) -> None:
    """Rows of disks agree with the images there are; all that is found from two sides is the same from both."""
    disks = {each.ref: each for each in disks_of(engine.world)}
    assert not [each.name for each in disks.values() if each.status is DiskStatus.LOCKED]
    assert set(engine.images) <= {key_of(each) for each in disks.values()}
    for each in disks.values():
        if each.status is DiskStatus.OK:
            assert engine.images[key_of(each)].is_whole
            assert engine.images[key_of(each)].size >= each.size
            if each.parent is not None:
                assert (disks[each.parent].status, disks[each.parent].domain) == (DiskStatus.OK, each.domain)
    for row in engine.world.rows.values():
        match row:
            case Vm():
                assert row.status in (VmStatus.DOWN, VmStatus.ILLEGAL)
                assert sorted(row.disks, key=str) == sorted((e.ref for e in disks.values() if e.vm == row.ref), key=str)
            case Template():
                assert row.status in (TemplateStatus.OK, TemplateStatus.ILLEGAL)
                assert set(row.disks) <= set(disks)
                if row.status is TemplateStatus.OK:
                    assert {disks[ref].status for ref in row.disks} <= {DiskStatus.OK}
            case StorageDomain() if row.status is StorageDomainStatus.ACTIVE:
                assert str(row.id) not in engine.detached
            case _:
                pass


def what_is_illegal_can_be_removed(engine: SmallEngine) -> None:
    """With a host that does all it is asked, a person gets rid of every ILLEGAL row, and its image."""
    healed = engine.healed()
    for _ in range(TRIES):
        for row in list(engine.world.rows.values()):
            if row.ref in engine.world.rows and getattr(engine.world.rows[row.ref], "status", None) == "ILLEGAL":
                healed.run(_removal(row))
                says_the_truth(healed)
    assert not [row for row in engine.world.rows.values() if getattr(row, "status", None) == "ILLEGAL"]


def _removal(row: Entity) -> Command[Any]:
    match row:
        case Vm():
            return RemoveVm(vm=row.ref)
        case Template():
            return RemoveTemplate(template=row.ref)
        case StorageDomain():
            return DetachStorageDomain(domain=row.ref)
        case _:
            assert isinstance(row, Disk)
            return RemoveDisk(disk=row.ref)
