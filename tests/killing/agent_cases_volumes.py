"""Cases of the kill loop: the verbs about single volumes."""

from __future__ import annotations

from interlock.verbs import Code, VolumeCopy, VolumeCreate, VolumeDelete, VolumeExtendSize
from tests.killing.agent_case import INTERRUPTED, Case, Way, undone
from tests.killing.agent_files import (
    BASE,
    BASE_SHOWS,
    IMAGE,
    IN_SD,
    NEW,
    NEW_IMAGE,
    SD,
    TOP,
    chain_of_two,
    files,
    obstructed,
    one_volume,
)
from tests.killing.agent_storage import SIZE, Storage

CREATE = {**IN_SD, "volumeID": NEW, "size": SIZE, "volFormat": 4, "srcImgUUID": IMAGE, "srcVolUUID": BASE}
COPY = {**IN_SD, "volumeID": BASE, "dstSdUUID": SD, "dstImgUUID": NEW_IMAGE, "dstVolUUID": NEW}
EXTEND = {**IN_SD, "volumeID": BASE, "newSize": 2 * SIZE}
DELETE = {**IN_SD, "volumeID": TOP}


def created(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE, NEW)
    assert storage.shows(SD, IMAGE, NEW) == BASE_SHOWS
    assert storage.meta(SD, IMAGE, BASE, "VOLTYPE") == ("INTERNAL",)
    assert storage.meta(SD, IMAGE, NEW, "PUUID", "VOLTYPE", "FORMAT") == (BASE, "LEAF", "COW")


def copied(storage: Storage) -> None:
    assert storage.names(SD) == sorted(files(BASE) + files(NEW, image=NEW_IMAGE))
    assert storage.shows(SD, NEW_IMAGE, NEW) == BASE_SHOWS
    assert storage.meta(SD, NEW_IMAGE, NEW, "FORMAT", "LEGALITY") == ("COW", "LEGAL")


def extended(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE)
    assert storage.shows(SD, IMAGE, BASE) == BASE_SHOWS + bytes(4)
    assert storage.meta(SD, IMAGE, BASE, "CAP") == (str(2 * SIZE),)


def deleted(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE)
    assert storage.shows(SD, IMAGE, BASE) == BASE_SHOWS
    assert storage.meta(SD, IMAGE, BASE, "VOLTYPE") == ("LEAF",)


MADE = [
    Case(VolumeCreate, CREATE, one_volume, created),
    Case(VolumeCreate, CREATE, one_volume, way=Way.REVERT, end=undone(Code.ABORTED)),
    Case(VolumeCreate, CREATE, one_volume, created, way=Way.CLEAR),
    Case(
        VolumeCreate,
        CREATE,
        one_volume,
        about="failing when published",
        fail=f"info*/{NEW}",
        end=undone(Code.IMAGE_NOT_OURS),
    ),
    Case(VolumeExtendSize, EXTEND, one_volume, extended, other_ends=INTERRUPTED),
    Case(
        VolumeExtendSize,
        EXTEND,
        one_volume,
        about="failing",
        fail="resize*",
        end=undone(Code.VOLUME_EXTENDING_ERROR),
        other_ends=INTERRUPTED,
    ),
    Case(VolumeDelete, DELETE, chain_of_two, deleted),
    Case(
        VolumeDelete,
        DELETE,
        obstructed(chain_of_two, IMAGE, f"{BASE}.meta.new"),
        about="failing at the parent",
        end=undone(Code.GENERAL),
        raises="agent_remove:1",
    ),
]
COPIED = [
    Case(VolumeCopy, COPY, one_volume, copied, other_ends=INTERRUPTED),
    Case(VolumeCopy, COPY, one_volume, way=Way.REVERT, end=undone(Code.ABORTED)),
    Case(
        VolumeCopy,
        COPY,
        one_volume,
        about="failing when published",
        fail=f"info*/{NEW}",
        end=undone(Code.IMAGE_NOT_OURS),
        other_ends=INTERRUPTED,
    ),
    Case(VolumeCopy, COPY, one_volume, way=Way.STOP, slow="convert*", end=undone(Code.ABORTED), other_ends=INTERRUPTED),
]
