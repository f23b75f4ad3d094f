"""Cases of the kill loop: the verbs about whole images."""

from __future__ import annotations

from interlock.verbs import (
    Code,
    ImageCloneStructure,
    ImageDelete,
    ImageDeleteVolumes,
    ImageMove,
    ImageOperation,
    ImageSyncData,
    VolumeType,
)
from tests.killing.agent_case import INTERRUPTED, Case, Way, undone
from tests.killing.agent_files import (
    BASE,
    BASE_SHOWS,
    IMAGE,
    IN_SD,
    LEAF,
    SD,
    SD2,
    TO_SD2,
    TOP,
    TOP_SHOWS,
    add_chain_of_two,
    chain_of_three,
    chain_of_two,
    files,
    two_domains,
)
from tests.killing.agent_storage import Storage

MOVE = {**TO_SD2, "operation": int(ImageOperation.MOVE)}
COPY = {**TO_SD2, "operation": int(ImageOperation.COPY)}


def cloned_before(storage: Storage) -> None:
    """The image in one domain, and its structure without data in the other."""
    add_chain_of_two(storage, SD)
    storage.add_domain(SD2)
    storage.add_volume(SD2, IMAGE, BASE, place=VolumeType.INTERNAL, LEGALITY="ILLEGAL")
    storage.add_volume(SD2, IMAGE, TOP, parent=(IMAGE, BASE), LEGALITY="ILLEGAL")


def deleted(storage: Storage) -> None:
    assert storage.names(SD) == []


def some_deleted(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE)
    assert storage.shows(SD, IMAGE, BASE) == BASE_SHOWS
    assert storage.meta(SD, IMAGE, BASE, "VOLTYPE") == ("LEAF",)


def moved(storage: Storage) -> None:
    assert storage.names(SD) == []
    there_is_a_copy(storage)


def copied(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE, TOP)
    there_is_a_copy(storage)


def there_is_a_copy(storage: Storage) -> None:
    assert storage.names(SD2) == files(BASE, TOP)
    assert storage.shows(SD2, IMAGE, BASE) == BASE_SHOWS
    assert storage.shows(SD2, IMAGE, TOP) == TOP_SHOWS
    assert storage.meta(SD2, IMAGE, TOP, "DOMAIN", "PUUID", "LEGALITY") == (SD2, BASE, "LEGAL")


def cloned(storage: Storage) -> None:
    assert storage.names(SD2) == files(BASE, TOP)
    assert storage.shows(SD2, IMAGE, TOP) == bytes(4)
    assert storage.meta(SD2, IMAGE, TOP, "DOMAIN", "PUUID", "LEGALITY") == (SD2, BASE, "ILLEGAL")


DELETED = [
    Case(ImageDelete, IN_SD, chain_of_two, deleted),
    Case(ImageDelete, {**IN_SD, "postZero": True}, chain_of_two, deleted, about="overwritten"),
    Case(ImageDeleteVolumes, {**IN_SD, "volumeList": [TOP, LEAF]}, chain_of_three, some_deleted),
    Case(ImageCloneStructure, TO_SD2, chain_of_two, cloned),
    Case(ImageCloneStructure, TO_SD2, chain_of_two, way=Way.REVERT, end=undone(Code.ABORTED)),
    Case(
        ImageCloneStructure,
        TO_SD2,
        chain_of_two,
        about="failing",
        fail=f"create*{TOP}*",
        end=undone(Code.VOLUME_CREATION_ERROR),
    ),
]
MOVED = [
    Case(ImageMove, MOVE, chain_of_two, moved, other_ends=INTERRUPTED),
    Case(ImageMove, {**COPY, "force": True}, two_domains, copied, about="copy by force", other_ends=INTERRUPTED),
    Case(ImageMove, COPY, chain_of_two, about="copy", way=Way.REVERT, end=undone(Code.ABORTED)),
    Case(
        ImageMove,
        MOVE,
        chain_of_two,
        about="failing",
        fail="check*",
        end=undone(Code.VOLUME_COPY_ERROR),
        other_ends=INTERRUPTED,
    ),
]
SYNCED = [
    Case(ImageSyncData, TO_SD2, cloned_before, copied, other_ends=INTERRUPTED),
    Case(
        ImageSyncData,
        TO_SD2,
        cloned_before,
        about="failing",
        fail=f"check*{TOP}*",
        end=undone(Code.VOLUME_COPY_ERROR),
        other_ends=INTERRUPTED,
    ),
    Case(
        ImageSyncData,
        TO_SD2,
        cloned_before,
        way=Way.STOP,
        slow="convert*",
        end=undone(Code.ABORTED),
        other_ends=INTERRUPTED,
    ),
]
