"""What each command plans, locks and writes, whole: phases of single commands on a world of a few rows."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from interlock import (
    NO_LOCKS,
    NOTHING,
    Cause,
    Child,
    Command,
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
from interlock.vdsm import (
    HostGetCapabilities,
    ImageDelete,
    StorageDomainCreate,
    VolumeCopy,
    VolumeCreate,
    VolumeFormat,
    VolumeType,
)
from interlock.virt.commands.disk import AddDisk, CreateImage
from interlock.virt.commands.disk_copy import CopyImage
from interlock.virt.commands.disk_move import SyncImageData
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.commands.host import AddHost
from interlock.virt.commands.storage import AddStorageDomain
from interlock.virt.commands.template import CreateImageTemplate, CreateTemplate
from interlock.virt.commands.vm import AddVm, RemoveAllVmImages, RemoveVm
from interlock.virt.entities import (
    Disk,
    DiskFormat,
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
from interlock.virt.parameters import DiskSpec
from tests.virt.memory_tx import DOMAIN, FIRST_ID, HOST, WEB, World, disk, task, tx, web, with_status

FAILED = Failure("it failed")
SUCCEEDED = task(Outcome.SUCCEEDED)


def new_id(number: int) -> UUID:
    return UUID(int=FIRST_ID + number)


def test_add_host() -> None:
    command = AddHost(name="host1", address="192.0.2.7")
    world = World()
    added = Host(
        id=new_id(0),
        name="host1",
        address="192.0.2.7",
        port=54321,
        server_name="host1",
        status=HostStatus.INSTALLING,
        capabilities={},
    )
    plan = command.execute(tx(world))
    assert plan == part(on_host(added.ref, HostGetCapabilities(), touches=()), step="INSTALLING_HOST")
    assert world.rows == {added.ref: added}
    assert (added.endpoint().server_name, command.locks(tx(world))) == ("host1", NO_LOCKS)

    value = command.end_successfully(tx(world, tasks=[task(Outcome.SUCCEEDED, answer={"cpus": 2})]))
    assert value == added.ref
    assert world.rows == {added.ref: replace(added, status=HostStatus.UP, capabilities={"cpus": 2})}


def test_add_host_with_another_name_in_its_certificate_and_plain() -> None:
    world = World()
    AddHost(name="a", address="192.0.2.7", server_name="node.example").execute(tx(world))
    AddHost(name="b", address="127.0.0.1", plain=True).execute(tx(world))
    names = [row.endpoint().server_name for row in world.rows.values() if isinstance(row, Host)]
    assert names == ["node.example", None]


def test_a_host_that_says_nonsense_is_up_with_no_capabilities() -> None:
    command, world = (
        AddHost(name="host1", address="192.0.2.7"),
        World(with_status(HOST, HostStatus.INSTALLING)),
    )
    command.end_successfully(tx(world, tasks=[task(Outcome.SUCCEEDED, answer=["?"])]))
    assert world.rows == {HOST.ref: replace(HOST, capabilities={})}
    assert world.events == [("host host1 did not say what it can do; it counts as able to do nothing extra", True)]


def test_add_host_that_fails_takes_the_host_back() -> None:
    command, world = AddHost(name="host1", address="192.0.2.7"), World()
    db = tx(world)
    command.execute(db)
    assert command.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == {}


def test_add_storage_domain() -> None:
    command = AddStorageDomain(name="fast", host=HOST.ref, path="/srv/fast")
    world = World(HOST)
    added = StorageDomain(
        id=new_id(0),
        name="fast",
        host=HOST.ref,
        path="/srv/fast",
        pool_id=new_id(1),
        status=StorageDomainStatus.LOCKED,
    )
    verb = StorageDomainCreate(storagedomainID=str(new_id(0)), domainName="fast", typeArgs="/srv/fast")
    assert command.execute(tx(world)) == part(
        on_host(HOST.ref, verb, touches=(added.ref,)), step="CREATE_STORAGE_DOMAIN"
    )
    assert command.locks(tx(world)) == shared(HOST.ref)
    assert world.rows == {HOST.ref: HOST, added.ref: added}
    assert command.end_successfully(tx(world)) == added.ref
    assert world.rows == {HOST.ref: HOST, added.ref: with_status(added, StorageDomainStatus.ACTIVE)}


def test_add_storage_domain_that_fails() -> None:
    command = AddStorageDomain(name="fast", host=HOST.ref, path="/srv/fast")
    left = {
        Outcome.FAILED: [],
        Outcome.REFUSED: [],
        Outcome.LOST: [StorageDomainStatus.ILLEGAL],
        Outcome.UNKNOWN: [StorageDomainStatus.ILLEGAL],
    }
    for outcome, statuses in left.items():
        world = World(HOST)
        db = tx(world, tasks=[task(outcome)])
        command.execute(db)
        assert command.end_with_failure(db, FAILED) == NOTHING
        found = [row.status for row in world.rows.values() if isinstance(row, StorageDomain)]
        assert found == statuses


def test_add_disk_to_a_vm() -> None:
    command = AddDisk(name="data", domain=DOMAIN.ref, size=512, format=DiskFormat.RAW, vm=WEB)
    world = World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1))
    added = Disk(
        id=new_id(0),
        name="data",
        domain=DOMAIN.ref,
        image_id=new_id(1),
        volume_id=new_id(2),
        size=512,
        format=DiskFormat.RAW,
        status=DiskStatus.LOCKED,
        vm=WEB,
    )
    assert command.locks(tx(world)) == shared(WEB, DOMAIN.ref, HOST.ref)
    assert command.execute(tx(world)) == part(CreateImage(disk=added.ref))
    assert world.rows == World(HOST, DOMAIN, web(disks=[disk(1), added]), disk(1), added).rows
    child = Child(CreateImage(disk=added.ref), Result.SUCCEEDED)
    assert command.end_successfully(tx(world, children=[child])) == added.ref


def test_add_disk_whose_plan_was_refused_leaves_nothing() -> None:
    command, world = AddDisk(name="data", domain=DOMAIN.ref, size=512, vm=WEB), World(HOST, DOMAIN, web())
    db = tx(world)
    command.execute(db)
    assert command.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == World(HOST, DOMAIN, web()).rows


def test_create_image() -> None:
    locked = disk(1, DiskStatus.LOCKED)
    command, world = CreateImage(disk=locked.ref), World(HOST, DOMAIN, web(disks=[locked]), locked)
    verb = VolumeCreate(
        storagepoolID=str(DOMAIN.pool_id),
        storagedomainID=str(DOMAIN.id),
        imageID=str(locked.image_id),
        volumeID=str(locked.volume_id),
        size=1024**3,
        volFormat=VolumeFormat.COW,
        desc="web_disk1",
    )
    assert command.locks(tx(world)) == exclusive(locked.ref) + shared(DOMAIN.ref, HOST.ref)
    assert command.execute(tx(world)) == part(on_host(HOST.ref, verb, touches=(locked.ref,)), step="CREATE_VOLUME")
    command.end_successfully(tx(world))
    assert world.rows[locked.ref] == disk(1)
    assert command.compensate(tx(world)) == part(RemoveImage(disk=locked.ref))


def test_an_image_whose_task_left_something_is_illegal_though_the_host_said_failed() -> None:
    locked = disk(1, DiskStatus.LOCKED, vm=None)
    world = World(HOST, DOMAIN, locked)
    failure = Failure.from_json(
        '{"message":"half made","causes":[{"message":"x","path":[],"refs":[],"leftover":true}]}'
    )
    CreateImage(disk=locked.ref).end_with_failure(tx(world, tasks=[task(Outcome.FAILED)]), failure)
    assert world.rows[locked.ref] == disk(1, DiskStatus.ILLEGAL, vm=None)
    assert world.events == [("disk web_disk1 is ILLEGAL: half made", True)]


def test_what_was_stopped_and_undone_leaves_no_illegal_row() -> None:
    """A cancelled copy left a disk that a person had to remove, and a cancelled move its `<name>_moving`."""
    stopped, copy = [task(Outcome.STOPPED)], disk(1, DiskStatus.LOCKED, vm=None)
    made, synced = World(HOST, DOMAIN, disk(2), copy), World(HOST, DOMAIN, disk(2), copy)
    CopyImage(source=disk(2).ref, copy=copy.ref).end_with_failure(tx(made, tasks=stopped), FAILED)
    SyncImageData(disk=disk(2).ref, copy=copy.ref).end_with_failure(tx(synced, tasks=stopped), FAILED)
    assert (made.rows, made.events) == (World(HOST, DOMAIN, disk(2)).rows, [])
    assert (synced.rows, synced.events) == (World(HOST, DOMAIN, disk(2), copy).rows, []), "undone by what made it"


def test_remove_image() -> None:
    command, world = RemoveImage(disk=disk(1).ref), World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1))
    verb = ImageDelete(storagepoolID=str(DOMAIN.pool_id), storagedomainID=str(DOMAIN.id), imageID=str(disk(1).image_id))
    db = tx(world)
    assert command.locks(db) == exclusive(disk(1).ref) + shared(WEB) + shared(DOMAIN.ref, HOST.ref)
    assert command.execute(db) == part(on_host(HOST.ref, verb, touches=(disk(1).ref,)), step="DELETE_IMAGE")
    assert world.rows[disk(1).ref] == disk(1, DiskStatus.LOCKED)
    command.end_successfully(db)
    assert world.rows == World(HOST, DOMAIN, web()).rows


def test_remove_image_that_was_never_sent_leaves_the_disk_as_it_was() -> None:
    command, world = RemoveImage(disk=disk(1).ref), World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1))
    before, db = dict(world.rows), tx(world)
    command.execute(db)
    assert command.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == before


def test_a_host_that_left_something_behind_is_not_sure_that_there_is_no_image() -> None:
    world = World(HOST, DOMAIN, disk(1, vm=None))
    db = tx(world, tasks=[TaskResult("Image.delete", HOST.ref, Outcome.FAILED, code=268)])
    RemoveImage(disk=disk(1).ref).end_with_failure(db, Failure("not undone", (Cause("x", leftover=True),)))
    assert world.rows == World(HOST, DOMAIN, disk(1, DiskStatus.ILLEGAL, vm=None)).rows


def test_only_a_host_that_is_sure_can_say_that_there_is_no_image() -> None:
    remains = {
        Outcome.FAILED: False,
        Outcome.REFUSED: False,
        Outcome.LOST: True,
        Outcome.UNKNOWN: True,
        None: True,
    }
    for outcome, is_there in remains.items():
        world = World(HOST, DOMAIN, disk(1, vm=None))
        db = tx(world, tasks=[TaskResult("Image.delete", HOST.ref, outcome, code=268)])
        command = RemoveImage(disk=disk(1).ref)
        command.execute(db)
        command.end_with_failure(db, FAILED)
        illegal = World(HOST, DOMAIN, disk(1, DiskStatus.ILLEGAL, vm=None))
        assert world.rows == (illegal if is_there else World(HOST, DOMAIN)).rows


def test_add_vm() -> None:
    command = AddVm(name="db", domain=DOMAIN.ref, disks=(DiskSpec(size=1), DiskSpec(size=2, format=DiskFormat.RAW)))
    world = World(HOST, DOMAIN)
    vm: Ref[Vm] = Ref("vm", new_id(0))
    first = AddDisk(name="db_disk1", domain=DOMAIN.ref, size=1, vm=vm)
    second = AddDisk(name="db_disk2", domain=DOMAIN.ref, size=2, format=DiskFormat.RAW, vm=vm)
    assert command.locks(tx(world)) == shared(DOMAIN.ref, HOST.ref)
    assert command.execute(tx(world)) == parallel(part(first), part(second))
    assert world.rows[vm] == Vm(id=vm.id, name="db", status=VmStatus.IMAGE_LOCKED)
    assert command.end_successfully(tx(world)) == vm
    assert world.rows[vm] == Vm(id=vm.id, name="db", status=VmStatus.DOWN)


def test_add_vm_without_disks() -> None:
    command, world = AddVm(name="db"), World()
    added = Vm(id=new_id(0), name="db", status=VmStatus.DOWN)
    db = tx(world)
    assert (command.locks(db), command.execute(db)) == (NO_LOCKS, NOTHING)
    assert command.end_successfully(tx(world)) == added.ref
    assert world.rows == {added.ref: added}
    assert command.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == {}


def test_add_vm_that_never_began_leaves_another_vm_of_its_name_alone() -> None:
    world = World(web(VmStatus.IMAGE_LOCKED))
    AddVm(name="web").end_with_failure(tx(world), FAILED)
    assert world.rows == {WEB: web(VmStatus.IMAGE_LOCKED)}


def test_remove_vm() -> None:
    command = RemoveVm(vm=WEB)
    world = World(HOST, DOMAIN, web(disks=[disk(1), disk(2)]), disk(1), disk(2))
    locks = exclusive(WEB, disk(1).ref, disk(2).ref) + shared(DOMAIN.ref, HOST.ref)
    assert (command.locks(tx(world)), RemoveAllVmImages(vm=WEB).locks(tx(world))) == (locks, locks)
    assert command.execute(tx(world)) == part(RemoveAllVmImages(vm=WEB), step="REMOVING_VM")
    assert world.rows[WEB] == web(VmStatus.REMOVING, disks=[disk(1), disk(2)])
    assert RemoveAllVmImages(vm=WEB).execute(tx(world)) == parallel(
        part(RemoveImage(disk=disk(1).ref)), part(RemoveImage(disk=disk(2).ref))
    )


def test_remove_vm_that_has_or_gives_no_disks_plans_nothing() -> None:
    world = World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1))
    command = RemoveVm(vm=WEB, keep_disks=True)
    assert (command.locks(tx(world)), command.execute(tx(world))) == (exclusive(WEB, disk(1).ref), NOTHING)
    assert RemoveVm(vm=WEB).execute(tx(World(web()))) == NOTHING


def test_remove_vm_that_never_began_is_as_it_was() -> None:
    world = World(HOST, DOMAIN, web(VmStatus.ILLEGAL, disks=[disk(1)]), disk(1))
    refused = Child(RemoveAllVmImages(vm=WEB), Result.FAILED, failure=FAILED)
    before, db = dict(world.rows), tx(world, children=[refused])
    RemoveVm(vm=WEB).execute(db)
    assert RemoveAllVmImages(vm=WEB).end_with_failure(tx(world), FAILED) == NOTHING
    assert RemoveVm(vm=WEB).end_with_failure(db, FAILED) == NOTHING
    assert world.rows == before


def test_create_template() -> None:
    command = CreateTemplate(name="gold", vm=WEB)
    world = World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1))
    template = Template(id=new_id(0), name="gold", source_vm="web", status=TemplateStatus.LOCKED)
    copying = CreateImageTemplate(
        template=template.ref, source=disk(1).ref, copy=Ref("disk", new_id(1)), name="gold_disk1"
    )
    storage = shared(DOMAIN.ref, HOST.ref)
    assert command.locks(tx(world)) == shared(WEB) + exclusive(disk(1).ref) + storage
    assert copying.locks(tx(world)) == exclusive(disk(1).ref, copying.copy) + storage
    assert command.execute(tx(world)) == parallel(part(copying))
    assert world.rows[template.ref] == template
    children = [Child(copying, Result.SUCCEEDED)]
    assert command.end_successfully(tx(world, children=children)) == template.ref
    assert world.rows[template.ref] == replace(template, status=TemplateStatus.OK, disks=(copying.copy,))


def test_create_image_template() -> None:
    template = Template(id=UUID(int=5), name="gold", source_vm="web", status=TemplateStatus.LOCKED)
    command = CreateImageTemplate(
        template=template.ref, source=disk(1).ref, copy=Ref("disk", UUID(int=6)), name="gold_disk1"
    )
    world = World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1), template)
    copied = replace(
        disk(1, DiskStatus.LOCKED, vm=None),
        id=UUID(int=6),
        name="gold_disk1",
        image_id=new_id(0),
        volume_id=new_id(1),
    )
    verb = VolumeCopy(
        storagepoolID=str(DOMAIN.pool_id),
        storagedomainID=str(DOMAIN.id),
        imageID=str(disk(1).image_id),
        volumeID=str(disk(1).volume_id),
        dstSdUUID=str(DOMAIN.id),
        dstImgUUID=str(new_id(0)),
        dstVolUUID=str(new_id(1)),
        desc="gold_disk1",
        volType=VolumeType.SHARED,
        volFormat=VolumeFormat.COW,
    )
    db = tx(world)
    assert command.execute(db) == part(on_host(HOST.ref, verb, touches=(command.copy,)), step="COPY_IMAGE")
    assert world.rows[command.copy] == copied
    command.end_successfully(tx(world))
    assert world.rows[command.copy] == with_status(copied, DiskStatus.OK)
    assert command.compensate(tx(world)) == part(RemoveImage(disk=command.copy))
    assert command.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1), template).rows


def test_titles_name_what_they_are_about() -> None:
    world = World(HOST, DOMAIN, web(disks=[disk(1)]), disk(1))
    copying = CreateImageTemplate(
        template=Ref("template", UUID(int=5)), source=disk(1).ref, copy=disk(2).ref, name="gold_disk1"
    )
    commands: list[Command[Any]] = [
        AddHost(name="host1", address="192.0.2.7"),
        AddStorageDomain(name="fast", host=HOST.ref, path="/srv/fast"),
        AddDisk(name="data", domain=DOMAIN.ref, size=1),
        CreateImage(disk=disk(1).ref),
        RemoveImage(disk=disk(1).ref),
        AddVm(name="db"),
        RemoveVm(vm=WEB),
        RemoveAllVmImages(vm=WEB),
        CreateTemplate(name="gold", vm=WEB),
        copying,
    ]
    assert [command.title(tx(world)) for command in commands] == [
        "Add host host1",
        "Add storage domain fast",
        "Add disk data",
        "Create the image of disk web_disk1",
        "Remove disk web_disk1",
        "Add VM db",
        "Remove VM web",
        "Remove the disks of VM web",
        "Create template gold from VM web",
        "Copy disk web_disk1 to gold_disk1",
    ]
