"""Every refusal of the commands on disks that are there: removing, moving, copying and extending them."""

from dataclasses import replace
from typing import Any

import pytest

from interlock import Command, Entity
from interlock.virt.checks import TEMPLATE_REMEDIES, VM_REMEDIES
from interlock.virt.commands.disk import CreateImage
from interlock.virt.commands.disk_copy import CopyDisk, CopyImage
from interlock.virt.commands.disk_extension import ExtendDisk
from interlock.virt.commands.disk_move import CloneImageStructure, MoveDisk, SwitchImages, SyncImageData
from interlock.virt.commands.disk_removal import RemoveDisk, RemoveImage
from interlock.virt.entities import (
    DiskStatus,
    HostStatus,
    StorageDomainStatus,
    TemplateStatus,
    VmStatus,
)
from tests.virt.memory_tx import DOMAIN, FAR, FAST, HOST, HOST2, World, disk, gold, template_disk, tx, web, with_status

ONE = disk(1).ref
SIZE = disk(1).size
REMOVE = RemoveDisk(disk=ONE)
MOVE = MoveDisk(disk=ONE, domain=FAST.ref)
COPY = CopyDisk(name="copy", disk=ONE)
EXTEND = ExtendDisk(disk=ONE, size=SIZE + 1)
CLONING = CloneImageStructure(disk=ONE, copy=disk(2).ref)

VM_WITH_DISK: tuple[Entity, ...] = (web(disks=[disk(1)]), disk(1))
REMOVED_VM: tuple[Entity, ...] = (web(VmStatus.REMOVING, disks=[disk(1)]), disk(1))
OF_TEMPLATE: tuple[Entity, ...] = (disk(1, vm=None), gold(disks=[disk(1)]))
LOCKED, ILLEGAL = disk(1, DiskStatus.LOCKED, vm=None), disk(1, DiskStatus.ILLEGAL, vm=None)
CHILD = replace(disk(2, vm=None), parent=ONE)
CHILDREN = tuple(replace(disk(number, vm=None), parent=ONE) for number in range(2, 14))
#: a disk that is built upon a template's
THIN: tuple[Entity, ...] = (replace(disk(1, vm=None), parent=template_disk(1).ref), template_disk(1))
HOST_DOWN = with_status(HOST, HostStatus.DOWN)

HOST_IS_DOWN = "host host1 is DOWN; bring it up first"
VM_IS_REMOVED = "VM web is REMOVING; wait until the job that removes it has ended"
DISK_IS_LOCKED = "disk web_disk1 is LOCKED; wait until the job that works on it has ended"
DISK_IS_ILLEGAL = "disk web_disk1 is ILLEGAL; remove it first (disk.remove)"
HAS_CHILD = "disk web_disk1 is what others are built upon: web_disk2; remove those first (vm.remove, disk.remove)"

REFUSED: list[tuple[Command[Any], tuple[Entity, ...], list[str]]] = [
    (REMOVE, (*REMOVED_VM, HOST_DOWN), [VM_IS_REMOVED, HOST_IS_DOWN]),
    (REMOVE, (LOCKED,), [DISK_IS_LOCKED]),
    (REMOVE, OF_TEMPLATE, ["disk web_disk1 belongs to template gold; remove the template (template.remove)"]),
    (REMOVE, (disk(1, vm=None), CHILD), [HAS_CHILD]),
    (RemoveImage(disk=ONE), (disk(1, vm=None), CHILD), [HAS_CHILD]),
    (
        REMOVE,
        (disk(1, vm=None), *CHILDREN),
        [
            "disk web_disk1 is what others are built upon: web_disk2, web_disk3, web_disk4, web_disk5, web_disk6, "
            "web_disk7, web_disk8, web_disk9, web_disk10, web_disk11 and 2 more; "
            "remove those first (vm.remove, disk.remove)"
        ],
    ),
    (MOVE, (*REMOVED_VM, FAST, HOST_DOWN), [VM_IS_REMOVED, HOST_IS_DOWN]),
    (
        replace(MOVE, domain=DOMAIN.ref),
        (disk(1, vm=None),),
        ["disk web_disk1 is on storage domain local already; name another one"],
    ),
    (
        MOVE,
        (disk(1, vm=None), FAST, replace(disk(2, vm=None), name="web_disk1_moving")),
        ["disk web_disk1_moving is there, as if left by a former move; remove it first (disk.remove)"],
    ),
    (
        MOVE,
        (replace(disk(1, vm=None), name="x" * 250), FAST),
        ["the disk would be named by 257 characters, more than 255; choose a shorter name"],
    ),
    (MOVE, (ILLEGAL, FAST), [DISK_IS_ILLEGAL]),
    (MOVE, (LOCKED, FAST), [DISK_IS_LOCKED]),
    (MOVE, (*OF_TEMPLATE, FAST), ["disk web_disk1 belongs to template gold; copy it instead (disk.copy)"]),
    (MOVE, (disk(1, vm=None), CHILD, FAST), [HAS_CHILD]),
    (
        MOVE,
        (*THIN, FAST),
        [
            "disk web_disk1 is built upon disk gold_disk1, which is not on storage domain fast; "
            "copy it instead (disk.copy)"
        ],
    ),
    (
        MOVE,
        (disk(1, vm=None), with_status(FAST, StorageDomainStatus.LOCKED)),
        ["storage domain fast is LOCKED; wait until the job that adds it has ended"],
    ),
    (
        replace(MOVE, domain=FAR.ref),
        (disk(1, vm=None), HOST2, FAR),
        ["disk web_disk1 is on host host1, storage domain far on host host2; choose a storage domain of host host1"],
    ),
    (
        replace(COPY, name="web_disk1", domain=FAST.ref),
        (web(VmStatus.ILLEGAL, disks=[ILLEGAL]), replace(ILLEGAL, vm=web().ref), FAST, HOST_DOWN),
        [
            "there is a disk named web_disk1 already; choose another name",
            DISK_IS_ILLEGAL,
            "VM web is ILLEGAL; it can only be removed (vm.remove)",
            HOST_IS_DOWN,
        ],
    ),
    (
        replace(COPY, domain=FAR.ref),
        (disk(1, vm=None), HOST2, FAR),
        ["disk web_disk1 is on host host1, storage domain far on host host2; choose a storage domain of host host1"],
    ),
    (
        replace(EXTEND, size=SIZE),
        (*REMOVED_VM, HOST_DOWN),
        [
            "disk web_disk1 is 1073741824 bytes large; give a larger size, disks do not shrink",
            VM_IS_REMOVED,
            HOST_IS_DOWN,
        ],
    ),
    (EXTEND, (ILLEGAL,), [DISK_IS_ILLEGAL]),
    (EXTEND, OF_TEMPLATE, ["disk web_disk1 belongs to template gold; copy it and extend the copy (disk.copy)"]),
    (EXTEND, (disk(1, vm=None), CHILD), [HAS_CHILD]),
    (
        CopyImage(source=ONE, copy=disk(2).ref),
        (ILLEGAL, disk(2, vm=None)),
        ["disk web_disk2 is OK, not new; copy to another disk (disk.copy)", DISK_IS_ILLEGAL],
    ),
    (
        CreateImage(disk=disk(2).ref),
        (ILLEGAL, replace(CHILD, status=DiskStatus.LOCKED)),
        [DISK_IS_ILLEGAL],
    ),
    *(
        (
            part(disk=ONE, copy=disk(2).ref),
            (disk(1, vm=None), disk(2, vm=None)),
            ["disk web_disk2 is OK, not being made; move the disk as a whole (disk.move)"],
        )
        for part in (CloneImageStructure, SyncImageData, SwitchImages)
    ),
]

ALLOWED: list[tuple[Command[Any], tuple[Entity, ...]]] = [
    (REMOVE, VM_WITH_DISK),
    (REMOVE, (ILLEGAL,)),
    (REMOVE, THIN),
    (MOVE, (*VM_WITH_DISK, FAST)),
    (MOVE, (replace(disk(1, vm=None), name="x" * 248), FAST)),
    (MOVE, (THIN[0], replace(template_disk(1), domain=FAST.ref), FAST)),
    (COPY, VM_WITH_DISK),
    (COPY, OF_TEMPLATE),
    (COPY, THIN),
    (replace(COPY, domain=FAST.ref), (*VM_WITH_DISK, CHILD, FAST)),
    (EXTEND, VM_WITH_DISK),
    (EXTEND, THIN),
    (CopyImage(source=ONE, copy=disk(2).ref), (disk(1, vm=None), disk(2, DiskStatus.LOCKED, vm=None))),
    (CLONING, (disk(1, vm=None), disk(2, DiskStatus.LOCKED, vm=None))),
]


@pytest.mark.parametrize(("command", "rows", "reasons"), REFUSED)
def test_a_refusal(command: Command[Any], rows: tuple[Entity, ...], reasons: list[str]) -> None:
    db = tx(World(HOST, DOMAIN, *rows))
    assert [refusal.message for refusal in command.validate(db)] == reasons


@pytest.mark.parametrize(("command", "rows"), ALLOWED)
def test_what_may_run_is_not_refused(command: Command[Any], rows: tuple[Entity, ...]) -> None:
    assert list(command.validate(tx(World(HOST, DOMAIN, *rows)))) == []


def test_every_status_that_hinders_has_a_remedy() -> None:
    assert {*VM_REMEDIES, VmStatus.DOWN} == set(VmStatus)
    assert {*TEMPLATE_REMEDIES, TemplateStatus.OK} == set(TemplateStatus)
