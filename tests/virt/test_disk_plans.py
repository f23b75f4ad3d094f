"""What the commands on disks that are there plan, lock and write, whole: removing, moving, copying, extending."""

import json
from dataclasses import replace
from uuid import UUID

from interlock import (
    NOTHING,
    Child,
    Failure,
    Outcome,
    Result,
    exclusive,
    on_host,
    part,
    sequence,
    shared,
)
from interlock.vdsm import (
    ImageCloneStructure,
    ImageSyncData,
    VolumeCopy,
    VolumeCreate,
    VolumeExtendSize,
    VolumeFormat,
    VolumeType,
)
from interlock.virt.catalog import CATALOG
from interlock.virt.commands.disk import CreateImage
from interlock.virt.commands.disk_copy import CopyDisk, CopyImage
from interlock.virt.commands.disk_extension import ExtendDisk
from interlock.virt.commands.disk_move import CloneImageStructure, MoveDisk, SwitchImages, SyncImageData
from interlock.virt.commands.disk_removal import RemoveDisk, RemoveImage
from interlock.virt.entities import Disk, DiskFormat, DiskStatus
from tests.virt.memory_tx import DOMAIN, FAST, FIRST_ID, HOST, WEB, World, disk, task, template_disk, tx, web

FAILED = Failure("it failed")
ONE = disk(1)
STORAGE = shared(DOMAIN.ref, HOST.ref)
BOTH_DOMAINS = shared(DOMAIN.ref, FAST.ref, HOST.ref)
#: the row of the other image while ONE moves
OTHER = replace(ONE, id=UUID(int=FIRST_ID), name="web_disk1_moving", domain=FAST.ref, status=DiskStatus.LOCKED, vm=None)
MOVE = MoveDisk(disk=ONE.ref, domain=FAST.ref)
CLONING = CloneImageStructure(disk=ONE.ref, copy=OTHER.ref)
SYNCING = SyncImageData(disk=ONE.ref, copy=OTHER.ref)
SWITCHING = SwitchImages(disk=ONE.ref, copy=OTHER.ref)


def a_world(*others: Disk) -> World:
    return World(HOST, DOMAIN, FAST, web(disks=[ONE]), ONE, *others)


def test_remove_disk() -> None:
    command, world = RemoveDisk(disk=ONE.ref), a_world()
    before, db = dict(world.rows), tx(world)
    assert command.locks(db).modes() == (exclusive(ONE.ref) + shared(WEB) + STORAGE).modes()
    assert command.execute(db) == part(RemoveImage(disk=ONE.ref))
    assert world.rows == before


def test_move_disk_plans_a_sequence_in_which_only_the_removal_of_the_source_may_fail() -> None:
    world = a_world()
    db = tx(world)
    assert MOVE.locks(db).modes() == (exclusive(ONE.ref) + shared(WEB) + BOTH_DOMAINS).modes()
    assert MOVE.execute(db) == sequence(
        part(CLONING, step="DEST_CREATION", weight=10),
        part(SYNCING, step="DATA_COPY", weight=90),
        part(SWITCHING),
        part(RemoveImage(disk=OTHER.ref), best_effort=True),
    )
    assert world.rows == a_world(OTHER).rows
    assert MOVE.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == a_world().rows


def test_a_move_that_failed_leaves_no_row_that_is_locked() -> None:
    world = a_world(OTHER)
    MOVE.end_with_failure(tx(world, children=[Child(CLONING, Result.SUCCEEDED)]), FAILED)
    assert world.rows == a_world(replace(OTHER, status=DiskStatus.ILLEGAL)).rows
    assert world.events == [("disk web_disk1_moving is ILLEGAL: it failed", True)]


def test_the_parts_of_a_move_may_touch_nothing_but_the_other_image() -> None:
    world = a_world(OTHER)
    db = tx(world)
    both = exclusive(ONE.ref, OTHER.ref)
    pool, domain, image, target = map(str, (DOMAIN.pool_id, DOMAIN.id, ONE.image_id, FAST.id))
    clone = ImageCloneStructure(storagepoolID=pool, storagedomainID=domain, imageID=image, dstSdUUID=target)
    sync = ImageSyncData(storagepoolID=pool, storagedomainID=domain, imageID=image, dstSdUUID=target)
    assert CLONING.locks(db).modes() == SYNCING.locks(db).modes() == (both + BOTH_DOMAINS).modes()
    assert CLONING.execute(db) == part(on_host(HOST.ref, clone, touches=(OTHER.ref,)), step="CLONE_IMAGE_STRUCTURE")
    assert SYNCING.execute(db) == part(on_host(HOST.ref, sync, touches=(OTHER.ref,)), step="SYNC_IMAGE_DATA")
    assert world.rows == a_world(OTHER).rows


def test_switching_points_each_row_at_the_image_of_the_other() -> None:
    world = a_world(OTHER)
    assert SWITCHING.locks(tx(world)) == exclusive(ONE.ref, OTHER.ref)
    assert SWITCHING.execute(tx(world)) == NOTHING
    moved = replace(ONE, domain=FAST.ref)
    left = replace(OTHER, domain=DOMAIN.ref, status=DiskStatus.ILLEGAL)
    assert world.rows == World(HOST, DOMAIN, FAST, web(disks=[moved]), moved, left).rows


def test_undoing_the_structure_removes_a_copy_that_nothing_changes_any_more() -> None:
    world = a_world(OTHER)
    assert CLONING.compensate(tx(world)) == part(RemoveImage(disk=OTHER.ref))
    assert world.rows == a_world(replace(OTHER, status=DiskStatus.ILLEGAL)).rows
    assert CLONING.compensate(tx(world)) == NOTHING
    assert CLONING.compensate(tx(a_world())) == NOTHING


def test_a_copy_that_a_task_may_still_change_is_illegal() -> None:
    left = {
        Outcome.FAILED: OTHER,
        Outcome.REFUSED: OTHER,
        Outcome.LOST: replace(OTHER, status=DiskStatus.ILLEGAL),
        Outcome.UNKNOWN: replace(OTHER, status=DiskStatus.ILLEGAL),
    }
    for outcome, other in left.items():
        world = a_world(OTHER)
        assert SYNCING.end_with_failure(tx(world, tasks=[task(outcome)]), FAILED) == NOTHING
        assert world.rows == a_world(other).rows


def test_copy_disk() -> None:
    command, world = CopyDisk(name="copy", disk=ONE.ref, domain=FAST.ref), a_world()
    copy = Disk(
        id=UUID(int=FIRST_ID),
        name="copy",
        domain=FAST.ref,
        image_id=UUID(int=FIRST_ID + 1),
        volume_id=UUID(int=FIRST_ID + 2),
        size=1024**3,
        format=DiskFormat.COW,
        status=DiskStatus.LOCKED,
    )
    copying = CopyImage(source=ONE.ref, copy=copy.ref)
    db = tx(world)
    assert command.locks(db).modes() == (shared(ONE.ref, WEB) + BOTH_DOMAINS).modes()
    assert command.execute(db) == part(copying)
    assert world.rows == a_world(copy).rows
    assert command.end_successfully(tx(world, children=[Child(copying, Result.SUCCEEDED)])) == copy.ref
    assert command.end_with_failure(db, FAILED) == NOTHING
    assert world.rows == a_world().rows


def test_copy_disk_to_its_own_domain() -> None:
    command, world = CopyDisk(name="copy", disk=ONE.ref), a_world()
    assert command.locks(tx(world)).modes() == (shared(ONE.ref, WEB) + STORAGE).modes()
    command.execute(tx(world))
    added = world.by_name()["copy"]
    assert isinstance(added, Disk)
    assert added.domain == DOMAIN.ref


def test_copy_image() -> None:
    copy = replace(disk(2, DiskStatus.LOCKED, vm=None), domain=FAST.ref)
    command, world = CopyImage(source=ONE.ref, copy=copy.ref), a_world(copy)
    verb = VolumeCopy(
        storagepoolID=str(DOMAIN.pool_id),
        storagedomainID=str(DOMAIN.id),
        imageID=str(ONE.image_id),
        volumeID=str(ONE.volume_id),
        dstSdUUID=str(FAST.id),
        dstImgUUID=str(copy.image_id),
        dstVolUUID=str(copy.volume_id),
        desc="web_disk2",
        volType=VolumeType.LEAF,
        volFormat=VolumeFormat.COW,
    )
    db = tx(world)
    assert command.locks(db).modes() == (shared(ONE.ref) + exclusive(copy.ref) + BOTH_DOMAINS).modes()
    assert command.execute(db) == part(on_host(HOST.ref, verb, touches=(copy.ref,)), step="COPY_IMAGE")
    command.end_successfully(db)
    assert world.rows == a_world(replace(copy, status=DiskStatus.OK)).rows
    assert command.compensate(db) == part(RemoveImage(disk=copy.ref))
    assert command.compensate(tx(a_world())) == NOTHING


def test_extend_disk() -> None:
    command, world = ExtendDisk(disk=ONE.ref, size=2 * 1024**3), a_world()
    verb = VolumeExtendSize(
        storagepoolID=str(DOMAIN.pool_id),
        storagedomainID=str(DOMAIN.id),
        imageID=str(ONE.image_id),
        volumeID=str(ONE.volume_id),
        newSize=2 * 1024**3,
    )
    db = tx(world)
    assert command.locks(db).modes() == (exclusive(ONE.ref) + shared(WEB) + STORAGE).modes()
    assert command.execute(db) == part(on_host(HOST.ref, verb, touches=(ONE.ref,)), step="EXTEND_DISK")
    assert world.rows == a_world().rows
    command.end_successfully(db)
    assert world.rows == {**a_world().rows, ONE.ref: replace(ONE, size=2 * 1024**3)}


def test_an_extension_of_unknown_fate_is_told_and_harms_nothing() -> None:
    command, world = ExtendDisk(disk=ONE.ref, size=2 * 1024**3), a_world()
    for outcome in Outcome:
        world.events.clear()
        assert command.end_with_failure(tx(world, tasks=[task(outcome)]), FAILED) == NOTHING
        assert world.rows == a_world().rows
        told = [
            (
                "disk web_disk1 may be 2147483648 bytes large instead of 1073741824, which does not harm it: "
                "it failed; extend it again (disk.extend)",
                True,
            )
        ]
        assert world.events == ([] if outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.STOPPED) else told)


def test_an_image_upon_another_names_it_and_is_no_smaller() -> None:
    parent = replace(template_disk(1), size=513)
    thin = replace(disk(2, DiskStatus.LOCKED, vm=None), parent=parent.ref, size=513)
    command, world = CreateImage(disk=thin.ref), a_world(thin, parent)
    verb = VolumeCreate(
        storagepoolID=str(DOMAIN.pool_id),
        storagedomainID=str(DOMAIN.id),
        imageID=str(thin.image_id),
        volumeID=str(thin.volume_id),
        size=1024,
        volFormat=VolumeFormat.COW,
        desc="web_disk2",
        srcImgUUID=str(parent.image_id),
        srcVolUUID=str(parent.volume_id),
    )
    assert command.locks(tx(world)).modes() == (exclusive(thin.ref) + shared(parent.ref) + STORAGE).modes()
    assert command.execute(tx(world)) == part(on_host(HOST.ref, verb, touches=(thin.ref,)), step="CREATE_VOLUME")


def test_titles_name_what_they_are_about() -> None:
    db = tx(a_world(OTHER))
    assert [
        command.title(db)
        for command in (
            RemoveDisk(disk=ONE.ref),
            MOVE,
            CLONING,
            SYNCING,
            SWITCHING,
            CopyDisk(name="copy", disk=ONE.ref),
            CopyImage(source=ONE.ref, copy=OTHER.ref),
            ExtendDisk(disk=ONE.ref, size=5),
        )
    ] == [
        "Remove disk web_disk1",
        "Move disk web_disk1 to fast",
        "Make room for disk web_disk1 on fast",
        "Copy the data of disk web_disk1 to fast",
        "Point disk web_disk1 at its copy",
        "Copy disk web_disk1 to copy",
        "Copy disk web_disk1 to web_disk1_moving",
        "Extend disk web_disk1 to 5 bytes",
    ]


def test_disks_stored_before_there_were_parents_have_none() -> None:
    body = json.loads(CATALOG.write_entity(ONE))
    del body["parent"]
    assert CATALOG.read_body(ONE.ref, 1, json.dumps(body)) == ONE
