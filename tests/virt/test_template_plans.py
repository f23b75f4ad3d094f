"""What adding a VM from a template, and removing templates and storage domains, plan, lock and write, whole."""

from dataclasses import replace
from uuid import UUID

from interlock import (
    NOTHING,
    Cause,
    Child,
    Failure,
    Outcome,
    Ref,
    Result,
    TaskResult,
    exclusive,
    on_host,
    parallel,
    part,
    shared,
)
from interlock.vdsm import Code, StorageDomainDetach
from interlock.virt.commands.disk import CreateImage
from interlock.virt.commands.disk_copy import CopyImage
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.commands.storage import DetachStorageDomain
from interlock.virt.commands.template import RemoveTemplate
from interlock.virt.commands.vm_from_template import AddVmFromTemplate
from interlock.virt.entities import Disk, DiskFormat, DiskStatus, StorageDomainStatus, TemplateStatus, Vm, VmStatus
from tests.virt.memory_tx import DOMAIN, FAST, FIRST_ID, HOST, World, gold, template_disk, tx, with_status

FAILED = Failure("it failed")
SOURCES = (template_disk(1), template_disk(2))
ADD = AddVmFromTemplate(name="db", template=gold().ref)
REMOVE = RemoveTemplate(template=gold().ref)
DETACH = DetachStorageDomain(domain=DOMAIN.ref)
STORAGE = shared(DOMAIN.ref, HOST.ref)


def a_world() -> World:
    return World(HOST, DOMAIN, FAST, gold(disks=SOURCES), *SOURCES)


def new_id(number: int) -> UUID:
    return UUID(int=FIRST_ID + number)


def added_disk(number: int) -> Disk:
    """The number-th disk that ADD adds, without what differs between thin and cloned ones."""
    first = 3 * number - 2
    return Disk(
        id=new_id(first),
        name=f"db_disk{number}",
        domain=DOMAIN.ref,
        image_id=new_id(first + 1),
        volume_id=new_id(first + 2),
        size=1024**3,
        format=DiskFormat.COW,
        status=DiskStatus.LOCKED,
        vm=Ref("vm", new_id(0)),
    )


def test_add_vm_from_template_builds_upon_the_template() -> None:
    world = a_world()
    disks = [replace(added_disk(n), parent=source.ref) for n, source in enumerate(SOURCES, 1)]
    vm = Vm(id=new_id(0), name="db", status=VmStatus.IMAGE_LOCKED, disks=tuple(each.ref for each in disks))
    locks = shared(gold().ref, *(each.ref for each in SOURCES)) + STORAGE
    assert ADD.locks(tx(world)) == locks
    assert ADD.execute(tx(world)) == parallel(*(part(CreateImage(disk=each.ref)) for each in disks))
    assert world.rows == {**a_world().rows, **World(vm, *disks).rows}
    assert ADD.end_successfully(tx(world)) == vm.ref
    assert world.rows[vm.ref] == replace(vm, status=VmStatus.DOWN)


def test_add_vm_from_template_clones_to_another_domain() -> None:
    world = a_world()
    command = replace(ADD, clone=True, domain=FAST.ref)
    disks = [replace(added_disk(n), domain=FAST.ref, format=DiskFormat.RAW) for n in (1, 2)]
    locks = shared(gold().ref, *(each.ref for each in SOURCES)) + STORAGE + shared(FAST.ref)
    assert command.locks(tx(world)).modes() == locks.modes()
    assert command.execute(tx(world)) == parallel(
        *(part(CopyImage(source=source.ref, copy=copy.ref)) for source, copy in zip(SOURCES, disks, strict=True))
    )
    assert [world.rows[each.ref] for each in disks] == disks


def test_add_vm_from_template_that_never_began_leaves_nothing() -> None:
    world = a_world()
    db = tx(world)
    ADD.execute(db)
    assert ADD.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == a_world().rows


def test_add_vm_from_template_that_never_began_leaves_another_vm_of_its_name_alone() -> None:
    other = Vm(id=UUID(int=77), name="db", status=VmStatus.DOWN)
    world = World(gold(), other)
    ADD.end_with_failure(tx(world), FAILED)
    assert world.rows == World(gold(), other).rows


def test_a_disk_of_the_new_vm_whose_part_never_came_to_its_turn_is_illegal_not_locked() -> None:
    world = a_world()
    ADD.execute(tx(world))
    refused = Child(CreateImage(disk=added_disk(1).ref), Result.FAILED, failure=FAILED)
    ADD.end_with_failure(tx(world, children=[refused]), FAILED)
    assert {row.status for row in world.rows.values() if isinstance(row, Disk) and row.vm} == {DiskStatus.ILLEGAL}
    assert world.rows[added_disk(1).vm or gold().ref].name == "db"


def test_a_template_without_disks_makes_a_vm_without_disks() -> None:
    world = World(gold())
    assert ADD.execute(tx(world)) == NOTHING
    vm = Vm(id=new_id(0), name="db", status=VmStatus.DOWN)
    assert ADD.end_successfully(tx(world)) == vm.ref
    assert world.rows == World(gold(), vm).rows


def test_remove_template() -> None:
    world = a_world()
    db = tx(world)
    assert REMOVE.locks(db) == exclusive(gold().ref, *(each.ref for each in SOURCES)) + STORAGE
    assert REMOVE.execute(db) == parallel(*(part(RemoveImage(disk=each.ref)) for each in SOURCES))
    assert world.rows == {**a_world().rows, gold().ref: gold(TemplateStatus.REMOVING, disks=SOURCES)}
    assert REMOVE.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == a_world().rows
    REMOVE.end_successfully(db)
    assert gold().ref not in world.rows


def test_a_template_that_could_not_be_removed_is_illegal() -> None:
    world = World(gold(TemplateStatus.REMOVING, disks=SOURCES))
    child = Child(RemoveImage(disk=SOURCES[0].ref), Result.FAILED, failure=FAILED)
    assert REMOVE.end_with_failure(tx(world, children=[child]), FAILED) == NOTHING
    assert world.rows == World(gold(TemplateStatus.ILLEGAL, disks=SOURCES)).rows
    assert world.events == [("template gold is ILLEGAL: it failed", True)]


def test_detach_storage_domain() -> None:
    world = World(HOST, DOMAIN)
    verb = StorageDomainDetach(storagedomainID=str(DOMAIN.id), storagepoolID=str(DOMAIN.pool_id))
    assert DETACH.locks(tx(world)) == exclusive(DOMAIN.ref) + shared(HOST.ref)
    assert DETACH.execute(tx(world)) == part(
        on_host(HOST.ref, verb, touches=(DOMAIN.ref,)), step="DETACH_STORAGE_DOMAIN"
    )
    assert world.rows == World(HOST, DOMAIN).rows
    DETACH.end_successfully(tx(world))
    assert world.rows == World(HOST).rows
    assert world.events == [
        (f"storage domain local is detached; its files stay at /srv/images/{DOMAIN.id} on host host1", False)
    ]


def test_only_a_host_that_is_sure_can_say_that_it_has_no_such_domain() -> None:
    left = {
        (Outcome.FAILED, Code.STORAGE_DOMAIN_DOES_NOT_EXIST): None,
        (Outcome.REFUSED, Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL): None,
        (Outcome.FAILED, Code.STORAGE_DOMAIN_NOT_EMPTY): StorageDomainStatus.ACTIVE,
        (Outcome.LOST, Code.STORAGE_DOMAIN_DOES_NOT_EXIST): StorageDomainStatus.ILLEGAL,
        (Outcome.UNKNOWN, None): StorageDomainStatus.ILLEGAL,
    }
    for (outcome, code), status in left.items():
        world = World(HOST, DOMAIN)
        DETACH.end_with_failure(tx(world, tasks=[TaskResult("a verb", HOST.ref, outcome, code=code)]), FAILED)
        assert world.rows == World(HOST, *([with_status(DOMAIN, status)] if status else [])).rows
        told = {
            None: [("host host1 had no storage domain local any more; its row is removed", True)],
            StorageDomainStatus.ACTIVE: [],
            StorageDomainStatus.ILLEGAL: [("storage domain local is ILLEGAL: it failed", True)],
        }
        assert world.events == told[status]


def test_a_host_that_left_something_behind_is_not_sure_that_it_has_no_such_domain() -> None:
    world = World(HOST, DOMAIN)
    failed = TaskResult("a verb", HOST.ref, Outcome.FAILED, code=Code.STORAGE_DOMAIN_DOES_NOT_EXIST)
    DETACH.end_with_failure(tx(world, tasks=[failed]), Failure("not undone", (Cause("x", leftover=True),)))
    assert world.rows == World(HOST, with_status(DOMAIN, StorageDomainStatus.ILLEGAL)).rows


def test_titles_name_what_they_are_about() -> None:
    assert [command.title(tx(a_world())) for command in (ADD, REMOVE, DETACH)] == [
        "Add VM db from template gold",
        "Remove template gold",
        "Detach storage domain local",
    ]
