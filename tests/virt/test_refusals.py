"""Every refusal of every command, whole: the fact and the remedy, and that good ones are not refused."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from interlock import Command, Entity, Ref
from interlock.virt.commands.disk import AddDisk, CreateImage
from interlock.virt.commands.disk_removal import RemoveImage
from interlock.virt.commands.host import AddHost
from interlock.virt.commands.storage import AddStorageDomain, DetachStorageDomain
from interlock.virt.commands.template import CreateImageTemplate, CreateTemplate, RemoveTemplate
from interlock.virt.commands.vm import AddVm, RemoveAllVmImages, RemoveVm
from interlock.virt.commands.vm_from_template import AddVmFromTemplate
from interlock.virt.entities import (
    Disk,
    DiskStatus,
    HostStatus,
    StorageDomainStatus,
    Template,
    TemplateStatus,
    VmStatus,
)
from interlock.virt.parameters import DiskSpec
from tests.virt.memory_tx import (
    DOMAIN,
    FAR,
    FAST,
    HOST,
    HOST2,
    WEB,
    World,
    disk,
    gold,
    template_disk,
    tx,
    web,
    with_status,
)

HOST_DOWN = with_status(HOST, HostStatus.DOWN)
DOMAIN_LOCKED = with_status(DOMAIN, StorageDomainStatus.LOCKED)
TEMPLATE = gold(disks=[disk(1)])
MAKING = Template(id=UUID(int=6), name="new", source_vm="web", status=TemplateStatus.LOCKED)
WITH_DISK: tuple[Entity, ...] = (web(disks=[disk(1)]), disk(1))
COPY: Ref[Disk] = Ref("disk", UUID(int=7))

HOST_IS_DOWN = "host host1 is DOWN; bring it up first"
DISK_IS_LOCKED = "disk web_disk1 is LOCKED; wait until the job that works on it has ended"
DISK_IS_ILLEGAL = "disk web_disk1 is ILLEGAL; remove it first (disk.remove)"
DOMAIN_IS_LOCKED = "storage domain local is LOCKED; wait until the job that adds it has ended"
VM_IS_ILLEGAL = "VM web is ILLEGAL; it can only be removed (vm.remove)"
ILLEGAL_DISK = disk(1, DiskStatus.ILLEGAL)
LOCKED_DISK = disk(1, DiskStatus.LOCKED)


def add_host(**fields: Any) -> AddHost:
    return AddHost(**{"name": "host2", "address": "192.0.2.8"} | fields)


def add_disk(name: str = "data", vm: Any = None) -> AddDisk:
    return AddDisk(name=name, domain=DOMAIN.ref, size=1, vm=vm)


def copying(template: Template, copy: Ref[Disk], name: str) -> CreateImageTemplate:
    return CreateImageTemplate(template=template.ref, source=disk(1).ref, copy=copy, name=name)


ADD_DOMAIN = AddStorageDomain(name="fast", host=HOST.ref, path="/srv/fast")
ADD_VM = AddVm(name="web", domain=DOMAIN.ref, disks=(DiskSpec(size=1),))
CREATE_TEMPLATE = CreateTemplate(name="gold", vm=WEB)

FROM_TEMPLATE = AddVmFromTemplate(name="web", template=gold().ref)
REMOVE_TEMPLATE = RemoveTemplate(template=gold().ref)
DETACH = DetachStorageDomain(domain=DOMAIN.ref)
GOLD: tuple[Entity, ...] = (gold(disks=[template_disk(1)]), template_disk(1))
#: a VM whose disk is built upon the template's
THIN = replace(disk(1), parent=template_disk(1).ref)
BUILT_UPON_GOLD = (
    "disk gold_disk1 is what others are built upon: web_disk1 (VM web); remove those first (vm.remove, disk.remove)"
)

REFUSED: list[tuple[Command[Any], tuple[Entity, ...], list[str]]] = [
    (add_host(name="host1"), (), ["there is a host named host1 already; choose another name"]),
    (
        add_host(plain=True),
        (),
        ["192.0.2.8 is not a loopback address, and plain is for those only; leave plain out"],
    ),
    (
        add_host(address="::1", plain=True, server_name="a"),
        (),
        ["plain has no certificate to compare server_name with; give one of the two"],
    ),
    (
        add_host(name="my host"),
        (),
        ["no certificate can bear the name my host; give server_name, the name in the host's own"],
    ),
    (
        replace(ADD_DOMAIN, name="local"),
        (HOST_DOWN,),
        ["there is a storage_domain named local already; choose another name", HOST_IS_DOWN],
    ),
    (
        ADD_DOMAIN,
        (with_status(HOST, HostStatus.INSTALLING),),
        ["host host1 is INSTALLING; wait until the job that adds it has ended"],
    ),
    (
        ADD_DOMAIN,
        (with_status(HOST, HostStatus.INSTALL_FAILED),),
        ["host host1 is INSTALL_FAILED; add it again"],
    ),
    (
        add_disk("web_disk1", WEB),
        (DOMAIN_LOCKED, HOST_DOWN, web(VmStatus.ILLEGAL, disks=[disk(1)]), disk(1)),
        [
            "there is a disk named web_disk1 already; choose another name",
            DOMAIN_IS_LOCKED,
            HOST_IS_DOWN,
            "VM web is ILLEGAL, so it takes no disk; name another VM, or none",
        ],
    ),
    (
        add_disk(vm=WEB),
        (web(VmStatus.REMOVING),),
        ["VM web is REMOVING, so it takes no disk; name another VM, or none"],
    ),
    (
        add_disk(),
        (with_status(DOMAIN, StorageDomainStatus.ILLEGAL),),
        [
            "storage domain local is ILLEGAL; look at its folder on the host and detach it, "
            "or use another storage domain",
        ],
    ),
    (
        CreateImage(disk=disk(1).ref),
        WITH_DISK,
        ["disk web_disk1 is OK, not new; add another disk (disk.add)"],
    ),
    (RemoveImage(disk=disk(1).ref), (web(), LOCKED_DISK), [DISK_IS_LOCKED]),
    (
        RemoveImage(disk=disk(1).ref),
        (disk(1, vm=None), TEMPLATE),
        ["disk web_disk1 belongs to template gold; remove the template (template.remove)"],
    ),
    (
        ADD_VM,
        (*WITH_DISK, DOMAIN_LOCKED),
        [
            "there is a vm named web already; choose another name",
            DOMAIN_IS_LOCKED,
            "there is a disk named web_disk1 already; choose another name",
        ],
    ),
    (replace(ADD_VM, domain=None), (), ["the disks need a storage domain; give domain"]),
    (
        replace(ADD_VM, name="x" * 255),
        (),
        ["the disk would be named by 261 characters, more than 255; choose a shorter name"],
    ),
    (
        RemoveVm(vm=WEB),
        (web(VmStatus.REMOVING),),
        ["VM web is REMOVING; wait until the job that removes it has ended"],
    ),
    (
        RemoveVm(vm=WEB),
        (web(VmStatus.IMAGE_LOCKED, disks=[disk(1)]), LOCKED_DISK, HOST_DOWN),
        ["VM web is IMAGE_LOCKED; wait until the job that adds it has ended", DISK_IS_LOCKED, HOST_IS_DOWN],
    ),
    (
        RemoveAllVmImages(vm=WEB),
        (web(VmStatus.IMAGE_LOCKED),),
        ["VM web is IMAGE_LOCKED; wait until the job that adds it has ended"],
    ),
    (
        CREATE_TEMPLATE,
        (web(VmStatus.ILLEGAL, disks=[disk(1)]), ILLEGAL_DISK, HOST_DOWN, TEMPLATE),
        [
            "there is a template named gold already; choose another name",
            VM_IS_ILLEGAL,
            DISK_IS_ILLEGAL,
            HOST_IS_DOWN,
        ],
    ),
    (
        CREATE_TEMPLATE,
        (web(disks=[disk(1)]), LOCKED_DISK, replace(disk(2), name="gold_disk1")),
        ["there is a disk named gold_disk1 already; choose another name", DISK_IS_LOCKED],
    ),
    (
        copying(TEMPLATE, disk(1).ref, "web_disk1"),
        (disk(1, vm=None), TEMPLATE),
        [
            "template gold is made; create another one (template.create)",
            "disk web_disk1 exists; give copy the ref of a new disk",
            "there is a disk named web_disk1 already; choose another name",
        ],
    ),
    (copying(MAKING, COPY, "new_disk1"), (ILLEGAL_DISK, MAKING), [DISK_IS_ILLEGAL]),
    (
        RemoveVm(vm=WEB),
        (*WITH_DISK, replace(disk(2, vm=None), parent=disk(1).ref)),
        ["disk web_disk1 is what others are built upon: web_disk2; remove those first (vm.remove, disk.remove)"],
    ),
    (
        FROM_TEMPLATE,
        (*GOLD, *WITH_DISK, HOST_DOWN, with_status(gold(disks=[template_disk(1)]), TemplateStatus.ILLEGAL)),
        [
            "there is a vm named web already; choose another name",
            "there is a disk named web_disk1 already; choose another name",
            "template gold is ILLEGAL; it can only be removed (template.remove)",
            HOST_IS_DOWN,
        ],
    ),
    (
        FROM_TEMPLATE,
        (gold(TemplateStatus.LOCKED),),
        ["template gold is LOCKED; wait until the job that makes it has ended"],
    ),
    (
        replace(FROM_TEMPLATE, domain=FAST.ref),
        (*GOLD, FAST),
        [
            "what is built upon disk gold_disk1 has to be on storage domain local too, not on fast; "
            "leave domain out, or give clone"
        ],
    ),
    (
        replace(FROM_TEMPLATE, domain=FAR.ref, clone=True),
        (*GOLD, HOST2, with_status(FAR, StorageDomainStatus.LOCKED)),
        [
            "storage domain far is LOCKED; wait until the job that adds it has ended",
            "disk gold_disk1 is on host host1, storage domain far on host host2; choose a storage domain of host host1",
        ],
    ),
    (
        replace(FROM_TEMPLATE, name="x" * 255),
        GOLD,
        ["the disk would be named by 261 characters, more than 255; choose a shorter name"],
    ),
    (REMOVE_TEMPLATE, (*GOLD, web(disks=[THIN]), THIN, HOST_DOWN), [BUILT_UPON_GOLD, HOST_IS_DOWN]),
    (
        REMOVE_TEMPLATE,
        (gold(TemplateStatus.REMOVING, disks=[template_disk(1)]), template_disk(1, DiskStatus.LOCKED)),
        [
            "template gold is REMOVING; wait until the job that removes it has ended",
            "disk gold_disk1 is LOCKED; wait until the job that works on it has ended",
        ],
    ),
    (
        REMOVE_TEMPLATE,
        (gold(TemplateStatus.LOCKED),),
        ["template gold is LOCKED; wait until the job that makes it has ended"],
    ),
    (
        DETACH,
        (*GOLD, web(disks=[THIN]), THIN, disk(2, vm=None), HOST_DOWN),
        [
            "storage domain local has disks: web_disk1 (VM web), web_disk2, gold_disk1 (template gold); move or remove "
            "them first (disk.move, disk.remove, vm.remove, template.remove)",
            HOST_IS_DOWN,
        ],
    ),
    (
        DETACH,
        tuple(disk(number, vm=None) for number in range(1, 13)),
        [
            "storage domain local has disks: web_disk1, web_disk2, web_disk3, web_disk4, web_disk5, web_disk6, "
            "web_disk7, web_disk8, web_disk9, web_disk10 and 2 more; move or remove them first "
            "(disk.move, disk.remove, vm.remove, template.remove)"
        ],
    ),
    (DETACH, (DOMAIN_LOCKED,), [DOMAIN_IS_LOCKED]),
]

ALLOWED: list[tuple[Command[Any], tuple[Entity, ...]]] = [
    (add_host(), ()),
    (add_host(address="localhost", plain=True), ()),
    (add_host(address="127.0.0.2", plain=True), ()),
    (add_host(name="my host", server_name="my-host"), ()),
    (ADD_DOMAIN, ()),
    (add_disk(), ()),
    (add_disk(vm=WEB), (web(),)),
    (add_disk(vm=WEB), (web(VmStatus.IMAGE_LOCKED),)),
    (CreateImage(disk=disk(1).ref), (LOCKED_DISK,)),
    (RemoveImage(disk=disk(1).ref), (ILLEGAL_DISK, HOST_DOWN)),
    (ADD_VM, ()),
    (AddVm(name="x" * 255), ()),
    (RemoveVm(vm=WEB), (web(VmStatus.ILLEGAL, disks=[disk(1)]), ILLEGAL_DISK)),
    (RemoveVm(vm=WEB, keep_disks=True), (*WITH_DISK, HOST_DOWN)),
    (RemoveAllVmImages(vm=WEB), (web(VmStatus.REMOVING),)),
    (CREATE_TEMPLATE, WITH_DISK),
    (copying(MAKING, COPY, "new_disk1"), (*WITH_DISK, MAKING)),
    (RemoveImage(disk=template_disk(1).ref), (gold(TemplateStatus.REMOVING, disks=[template_disk(1)]), GOLD[1])),
    (RemoveVm(vm=WEB, keep_disks=True), (*WITH_DISK, replace(disk(2, vm=None), parent=disk(1).ref))),
    (FROM_TEMPLATE, GOLD),
    (replace(FROM_TEMPLATE, domain=DOMAIN.ref), GOLD),
    (replace(FROM_TEMPLATE, domain=FAST.ref, clone=True), (*GOLD, FAST)),
    (AddVmFromTemplate(name="x" * 255, template=gold().ref), (gold(),)),
    (REMOVE_TEMPLATE, GOLD),
    (REMOVE_TEMPLATE, (gold(TemplateStatus.ILLEGAL, disks=[ILLEGAL_DISK]), ILLEGAL_DISK)),
    (DETACH, ()),
    (DETACH, (with_status(DOMAIN, StorageDomainStatus.ILLEGAL), FAST, replace(disk(1), domain=FAST.ref))),
]


@pytest.mark.parametrize(("command", "rows", "reasons"), REFUSED)
def test_a_refusal(command: Command[Any], rows: tuple[Entity, ...], reasons: list[str]) -> None:
    db = tx(World(HOST, DOMAIN, *rows))
    assert [refusal.message for refusal in command.validate(db)] == reasons


@pytest.mark.parametrize(("command", "rows"), ALLOWED)
def test_what_may_run_is_not_refused(command: Command[Any], rows: tuple[Entity, ...]) -> None:
    assert list(command.validate(tx(World(HOST, DOMAIN, *rows)))) == []
