"""For every mix of ends of host tasks, what the rows say is true of the images on the host."""

from itertools import product

import pytest

from interlock.virt.commands.disk import AddDisk
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.commands.template import CreateTemplate
from interlock.virt.commands.vm import AddVm, RemoveVm
from interlock.virt.entities import Disk, DiskStatus, Template, Vm, VmStatus
from interlock.virt.parameters import DiskSpec
from tests.virt.memory_tx import DOMAIN, HOST, WEB, World, disk, web
from tests.virt.small_engine import Fate, SmallEngine, images_of, script
from tests.virt.truth import disks_of, says_the_truth, what_is_illegal_can_be_removed

ALL = tuple(Fate)
PAIRS = list(product(ALL, repeat=2))
#: how an undo may end
UNDO = (Fate.SUCCEEDED, Fate.FAILED, Fate.UNKNOWN_DONE, Fate.UNKNOWN_UNDONE)


@pytest.mark.parametrize("fates", PAIRS, ids=str)
def test_remove_vm(fates: tuple[Fate, ...]) -> None:
    disks = (disk(1), disk(2))
    world = World(HOST, DOMAIN, web(disks=disks), *disks)
    engine = SmallEngine(world, script(fates), images_of(*disks))
    run = engine.run(RemoveVm(vm=WEB))
    says_the_truth(engine)
    remaining = tuple(each.ref for each, fate in zip(disks, fates, strict=True) if fate is not Fate.SUCCEEDED)
    if not remaining:
        assert run.failure is None
        assert set(world.rows) == {HOST.ref, DOMAIN.ref}
        return
    assert run.failure is not None
    vm = world.rows[WEB]
    assert vm == Vm(id=WEB.id, name="web", status=VmStatus.ILLEGAL, disks=remaining)
    assert [each.status for each in disks_of(world)] == [DiskStatus.ILLEGAL] * len(remaining)
    what_is_illegal_can_be_removed(engine)
    assert (set(world.rows), engine.images) == ({HOST.ref, DOMAIN.ref}, {})


@pytest.mark.parametrize("undo", UNDO)
@pytest.mark.parametrize("fates", PAIRS, ids=str)
def test_add_vm(fates: tuple[Fate, ...], undo: Fate) -> None:
    world = World(HOST, DOMAIN)
    engine = SmallEngine(world, script(fates, undo), {})
    run = engine.run(AddVm(name="web", domain=DOMAIN.ref, disks=(DiskSpec(size=1), DiskSpec(size=2))))
    says_the_truth(engine)
    vm = next((row for row in world.rows.values() if isinstance(row, Vm)), None)
    if fates == (Fate.SUCCEEDED, Fate.SUCCEEDED):
        assert run.failure is None
        assert vm is not None
        assert (run.value, vm.status, len(vm.disks)) == (vm.ref, VmStatus.DOWN, 2)
        return
    assert run.failure is not None
    doubtful = [fate for fate in fates if not fate.is_known]
    not_undone = [fate for fate in fates if fate is Fate.SUCCEEDED and undo is not Fate.SUCCEEDED]
    if doubtful or not_undone:
        assert vm is not None
        assert (vm.status, len(vm.disks)) == (VmStatus.ILLEGAL, len(doubtful) + len(not_undone))
        assert {each.status for each in disks_of(world)} == {DiskStatus.ILLEGAL}
    what_is_illegal_can_be_removed(engine)
    assert (set(world.rows), engine.images) == ({HOST.ref, DOMAIN.ref}, {})


@pytest.mark.parametrize("undo", UNDO)
@pytest.mark.parametrize("fates", PAIRS, ids=str)
def test_create_template(fates: tuple[Fate, ...], undo: Fate) -> None:
    disks = (disk(1), disk(2))
    world = World(HOST, DOMAIN, web(disks=disks), *disks)
    before = dict(world.rows)
    engine = SmallEngine(world, script(fates, undo), images_of(*disks))
    run = engine.run(CreateTemplate(name="gold", vm=WEB))
    says_the_truth(engine)
    assert {ref: row for ref, row in world.rows.items() if ref in before} == before
    added = [row for ref, row in world.rows.items() if ref not in before]
    templates = [row for row in added if isinstance(row, Template)]
    if fates == (Fate.SUCCEEDED, Fate.SUCCEEDED):
        assert run.failure is None
        copies = tuple(row.ref for row in added if isinstance(row, Disk))
        assert [(row.ref, row.disks, row.source_vm) for row in templates] == [(run.value, copies, "web")]
        assert len(copies) == 2
        return
    remain = sum(not fate.is_known for fate in fates)
    remain += sum(fate is Fate.SUCCEEDED and undo is not Fate.SUCCEEDED for fate in fates)
    assert templates == []
    assert [row.status for row in added if isinstance(row, Disk)] == [DiskStatus.ILLEGAL] * remain
    what_is_illegal_can_be_removed(engine)
    assert (world.rows, engine.images) == (before, images_of(*disks))


@pytest.mark.parametrize("fate", ALL)
def test_add_disk_to_a_vm(fate: Fate) -> None:
    world = World(HOST, DOMAIN, web())
    engine = SmallEngine(world, script((fate,)), {})
    engine.run(AddDisk(name="data", domain=DOMAIN.ref, size=1, vm=WEB))
    says_the_truth(engine)
    expected = {Fate.SUCCEEDED: [DiskStatus.OK], Fate.FAILED: [], Fate.REFUSED: []}
    assert [each.status for each in disks_of(world)] == expected.get(fate, [DiskStatus.ILLEGAL])
    assert world.by_name()["web"] == web(disks=disks_of(world))


@pytest.mark.parametrize("vm", [WEB, None])
def test_a_disk_without_an_image_loses_its_row_so_that_it_can_be_got_rid_of(vm: object) -> None:
    gone = disk(1, DiskStatus.ILLEGAL, vm=WEB if vm else None)
    world = World(HOST, DOMAIN, web(disks=(gone,) if vm else ()), gone)
    run = SmallEngine(world, script(()), {}).run(RemoveImage(disk=gone.ref))
    assert run.failure is not None
    assert world.rows == World(HOST, DOMAIN, web()).rows
    assert world.events == [("disk web_disk1 had no image any more; its row is removed", True)]


def test_remove_vm_that_keeps_its_disks() -> None:
    disks = (disk(1), disk(2, DiskStatus.ILLEGAL))
    world = World(HOST, DOMAIN, web(disks=disks), *disks)
    run = SmallEngine(world, script(()), {}).run(RemoveVm(vm=WEB, keep_disks=True))
    assert run.failure is None
    kept = (disk(1, vm=None), disk(2, DiskStatus.ILLEGAL, vm=None))
    assert world.rows == World(HOST, DOMAIN, *kept).rows


def test_a_disk_that_its_vm_cannot_have_refuses_the_whole_vm() -> None:
    taken = disk(1, vm=None)
    world = World(HOST, DOMAIN, taken)
    run = SmallEngine(world, script(()), {}).run(AddVm(name="web", domain=DOMAIN.ref, disks=(DiskSpec(size=1),)))
    assert run.failure is not None
    assert run.failure.message == "there is a disk named web_disk1 already; choose another name"
    assert world.rows == World(HOST, DOMAIN, taken).rows
