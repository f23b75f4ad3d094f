"""As test_every_mix.py, for moving, copying, extending and removing disks, templates and storage domains."""

from dataclasses import replace
from itertools import product

import pytest

from interlock import Entity, Ref
from interlock.virt.commands.disk_copy import CopyDisk
from interlock.virt.commands.disk_extension import ExtendDisk
from interlock.virt.commands.disk_move import MoveDisk
from interlock.virt.commands.disk_removal import RemoveDisk
from interlock.virt.commands.storage import DetachStorageDomain
from interlock.virt.commands.template import CreateTemplate, RemoveTemplate
from interlock.virt.commands.vm_from_template import AddVmFromTemplate
from interlock.virt.entities import (
    Disk,
    DiskFormat,
    DiskStatus,
    StorageDomain,
    StorageDomainStatus,
    TemplateStatus,
    Vm,
    VmStatus,
)
from tests.virt.memory_tx import DOMAIN, FAST, HOST, WEB, World, disk, gold, template_disk, web, with_status
from tests.virt.small_engine import Fate, Image, SmallEngine, images_of, key_of, script
from tests.virt.truth import disks_of, says_the_truth, what_is_illegal_can_be_removed

ALL = tuple(Fate)
NOT_SUCCEEDED = ALL[1:]
PAIRS = list(product(ALL, repeat=2))
#: how an undo may end
UNDO = (Fate.SUCCEEDED, Fate.FAILED, Fate.UNKNOWN_DONE, Fate.UNKNOWN_UNDONE)
SIZE = 1024**3


def a_vm_with_a_disk() -> World:
    return World(HOST, DOMAIN, FAST, web(disks=[disk(1)]), disk(1))


def a_template_with_two_disks() -> World:
    disks = (template_disk(1), template_disk(2))
    return World(HOST, DOMAIN, FAST, gold(disks=disks), *disks)


def engine_of(world: World, work: tuple[Fate, ...], undo: Fate = Fate.SUCCEEDED) -> SmallEngine:
    return SmallEngine(world, script(work, undo), images_of(*disks_of(world)))


def added_to(world: World, before: dict[Ref[Entity], Entity]) -> list[Disk]:
    return [each for each in disks_of(world) if each.ref not in before]


@pytest.mark.parametrize("fate", ALL, ids=str)
def test_remove_disk(fate: Fate) -> None:
    world = a_vm_with_a_disk()
    engine = engine_of(world, (fate,))
    run = engine.run(RemoveDisk(disk=disk(1).ref))
    says_the_truth(engine)
    if fate is Fate.SUCCEEDED:
        assert run.failure is None
        assert (world.rows, engine.images) == (World(HOST, DOMAIN, FAST, web()).rows, {})
        return
    assert run.failure is not None
    illegal = disk(1, DiskStatus.ILLEGAL)
    assert world.rows == World(HOST, DOMAIN, FAST, web(disks=[illegal]), illegal).rows
    what_is_illegal_can_be_removed(engine)
    assert (world.rows, engine.images) == (World(HOST, DOMAIN, FAST, web()).rows, {})


@pytest.mark.parametrize("fate", ALL, ids=str)
def test_a_move_succeeds_whatever_becomes_of_the_source(fate: Fate) -> None:
    world = a_vm_with_a_disk()
    engine = engine_of(world, (Fate.SUCCEEDED, Fate.SUCCEEDED, fate))
    run = engine.run(MoveDisk(disk=disk(1).ref, domain=FAST.ref))
    assert run.failure is None
    assert engine.asked == ["Image.cloneStructure", "Image.syncData", "Image.delete"]
    says_the_truth(engine)
    moved = replace(disk(1), domain=FAST.ref)
    source = [] if fate is Fate.SUCCEEDED else [disk(1, DiskStatus.ILLEGAL, vm=None)]
    left = [replace(each, id=other.id, name="web_disk1_moving") for each in source for other in disks_of(world)[1:]]
    assert world.rows == World(HOST, DOMAIN, FAST, web(disks=[moved]), moved, *left).rows
    assert engine.images.get(key_of(moved)) == Image(SIZE)
    assert (key_of(disk(1)) in engine.images) is (not fate.value[1])
    what_is_illegal_can_be_removed(engine)
    assert (disks_of(world), engine.images) == ([moved], images_of(moved))


@pytest.mark.parametrize("undo", ALL, ids=str)
@pytest.mark.parametrize("fates", [*product(NOT_SUCCEEDED), *product([Fate.SUCCEEDED], NOT_SUCCEEDED)], ids=str)
def test_a_move_that_fails_leaves_the_disk_as_it_was(fates: tuple[Fate, ...], undo: Fate) -> None:
    world = a_vm_with_a_disk()
    before = dict(world.rows)
    engine = engine_of(world, fates, undo)
    run = engine.run(MoveDisk(disk=disk(1).ref, domain=FAST.ref))
    assert run.failure is not None
    says_the_truth(engine)
    assert {ref: row for ref, row in world.rows.items() if ref in before} == before
    assert engine.images[key_of(disk(1))] == Image(SIZE)
    is_in_doubt = not fates[-1].is_known
    is_undone = fates[0] is Fate.SUCCEEDED and not is_in_doubt
    assert ("Image.delete" in engine.asked) is is_undone
    is_left = is_in_doubt or (is_undone and undo is not Fate.SUCCEEDED)
    left = [(each.name, each.domain, each.status, each.vm) for each in added_to(world, before)]
    assert left == [("web_disk1_moving", FAST.ref, DiskStatus.ILLEGAL, None)] * is_left
    what_is_illegal_can_be_removed(engine)
    assert (world.rows, engine.images) == (before, images_of(disk(1)))


@pytest.mark.parametrize("domain", [FAST.ref, None])
@pytest.mark.parametrize("fate", ALL, ids=str)
def test_copy_disk(fate: Fate, domain: Ref[StorageDomain] | None) -> None:
    world = a_vm_with_a_disk()
    before = dict(world.rows)
    engine = engine_of(world, (fate,))
    run = engine.run(CopyDisk(name="copy", disk=disk(1).ref, domain=domain))
    says_the_truth(engine)
    assert {ref: row for ref, row in world.rows.items() if ref in before} == before
    copies = [(each.name, each.domain, each.status, each.vm) for each in added_to(world, before)]
    target = domain or DOMAIN.ref
    if fate is Fate.SUCCEEDED:
        assert copies == [("copy", target, DiskStatus.OK, None)]
        assert run.value == added_to(world, before)[0].ref
        return
    assert run.failure is not None
    assert copies == [("copy", target, DiskStatus.ILLEGAL, None)] * (not fate.is_known)
    what_is_illegal_can_be_removed(engine)
    assert (world.rows, engine.images) == (before, images_of(disk(1)))


@pytest.mark.parametrize("fate", ALL, ids=str)
def test_extend_disk(fate: Fate) -> None:
    world = a_vm_with_a_disk()
    engine = engine_of(world, (fate,))
    run = engine.run(ExtendDisk(disk=disk(1).ref, size=2 * SIZE))
    says_the_truth(engine)
    has_grown = fate.value[1]
    assert engine.images == {key_of(disk(1)): Image(2 * SIZE if has_grown else SIZE)}
    assert (run.failure is None) is (fate is Fate.SUCCEEDED)
    assert world.rows[disk(1).ref] == replace(disk(1), size=2 * SIZE if fate is Fate.SUCCEEDED else SIZE)
    assert bool(world.events) is (not fate.is_known)
    if fate is not Fate.SUCCEEDED:
        engine.healed().run(ExtendDisk(disk=disk(1).ref, size=2 * SIZE))
        assert world.rows[disk(1).ref] == replace(disk(1), size=2 * SIZE)


@pytest.mark.parametrize("clone", [False, True])
@pytest.mark.parametrize("undo", UNDO, ids=str)
@pytest.mark.parametrize("fates", PAIRS, ids=str)
def test_add_vm_from_template(fates: tuple[Fate, ...], undo: Fate, clone: bool) -> None:
    world = a_template_with_two_disks()
    before, sources = dict(world.rows), disks_of(world)
    engine = engine_of(world, fates, undo)
    run = engine.run(AddVmFromTemplate(name="web", template=gold().ref, clone=clone))
    says_the_truth(engine)
    assert {ref: row for ref, row in world.rows.items() if ref in before} == before
    vm = next((row for row in world.rows.values() if isinstance(row, Vm)), None)
    added = added_to(world, before)
    if fates == (Fate.SUCCEEDED, Fate.SUCCEEDED):
        assert vm is not None
        assert (run.value, vm.status, vm.disks) == (vm.ref, VmStatus.DOWN, tuple(each.ref for each in added))
        assert [(each.name, each.format, each.parent) for each in added] == [
            (f"web_disk{n}", DiskFormat.RAW if clone else DiskFormat.COW, None if clone else source.ref)
            for n, source in enumerate(sources, 1)
        ]
        return
    assert run.failure is not None
    remain = sum(not fate.is_known for fate in fates)
    remain += sum(fate is Fate.SUCCEEDED and undo is not Fate.SUCCEEDED for fate in fates)
    assert [each.status for each in added] == [DiskStatus.ILLEGAL] * remain
    assert (vm.status if vm else None) == (VmStatus.ILLEGAL if remain else None)
    what_is_illegal_can_be_removed(engine)
    assert (world.rows, engine.images) == (before, images_of(*sources))


@pytest.mark.parametrize("fates", PAIRS, ids=str)
def test_remove_template(fates: tuple[Fate, ...]) -> None:
    world = a_template_with_two_disks()
    engine = engine_of(world, fates)
    run = engine.run(RemoveTemplate(template=gold().ref))
    says_the_truth(engine)
    disks = [template_disk(n, DiskStatus.ILLEGAL) for n, fate in enumerate(fates, 1) if fate is not Fate.SUCCEEDED]
    assert (run.failure is None) is (not disks)
    left = [gold(TemplateStatus.ILLEGAL, disks=disks), *disks] if disks else []
    assert world.rows == World(HOST, DOMAIN, FAST, *left).rows
    what_is_illegal_can_be_removed(engine)
    assert (world.rows, engine.images) == (World(HOST, DOMAIN, FAST).rows, {})


@pytest.mark.parametrize("fate", ALL, ids=str)
def test_detach_storage_domain(fate: Fate) -> None:
    world = World(HOST, DOMAIN)
    engine = engine_of(world, (fate,))
    run = engine.run(DetachStorageDomain(domain=DOMAIN.ref))
    says_the_truth(engine)
    assert (run.failure is None) is (fate is Fate.SUCCEEDED)
    status = StorageDomainStatus.ACTIVE if fate.is_known else StorageDomainStatus.ILLEGAL
    left = [] if fate is Fate.SUCCEEDED else [with_status(DOMAIN, status)]
    assert world.rows == World(HOST, *left).rows
    what_is_illegal_can_be_removed(engine)
    assert world.rows == World(HOST, *([DOMAIN] if fate in (Fate.FAILED, Fate.REFUSED) else [])).rows


def test_a_template_of_a_vm_that_came_from_one_is_built_upon_nothing() -> None:
    thin = replace(disk(1), parent=template_disk(1).ref)
    world = World(HOST, DOMAIN, gold(disks=[template_disk(1)]), template_disk(1), web(disks=[thin]), thin)
    before = dict(world.rows)
    engine = engine_of(world, ())
    assert engine.run(CreateTemplate(name="silver", vm=WEB)).failure is None
    says_the_truth(engine)
    assert [(each.name, each.parent) for each in added_to(world, before)] == [("silver_disk1", None)]
