"""Cases of the kill loop: the verbs of a merge and host jobs, and those about domains and pools."""

from __future__ import annotations

from typing import Any

from interlock.agent.storage.domain import read_meta
from interlock.verbs import (
    Code,
    SdmCopyData,
    SdmMerge,
    StorageDomainCreate,
    StorageDomainDetach,
    StoragePoolFinalizeMerge,
    StoragePoolPrepareMerge,
    StoragePoolSpmStart,
    StoragePoolSpmStop,
    VolumeType,
)
from tests.killing.agent_case import INTERRUPTED, ROOT, Case, Way, undone
from tests.killing.agent_files import (
    BASE,
    BASE_SHOWS,
    IMAGE,
    LEAF,
    LEAF_SHOWS,
    NEW,
    NEW_IMAGE,
    POOL,
    SD,
    TOP,
    TOP_SHOWS,
    chain_of_two,
    empty,
    files,
    obstructed,
    one_domain,
    one_volume,
)
from tests.killing.agent_storage import SIZE, Storage

SUBCHAIN = {"sd_id": SD, "img_id": IMAGE, "top_id": TOP, "base_id": BASE, "base_generation": 0}
MERGED_SUBCHAIN = {**SUBCHAIN, "base_generation": 1}
MERGE = {"subchain_info": SUBCHAIN}
PREPARE = {"storagepoolID": POOL, "subchainInfo": SUBCHAIN}
FINALIZE = {"storagepoolID": POOL, "subchainInfo": MERGED_SUBCHAIN}
ENDPOINT = {"endpoint_type": "div", "sd_id": SD, "generation": 0}
COPY_DATA = {
    "source": {**ENDPOINT, "img_id": IMAGE, "vol_id": BASE},
    "destination": {**ENDPOINT, "img_id": NEW_IMAGE, "vol_id": NEW},
}
BASE_META_ASIDE = (IMAGE, f"{BASE}.meta.new")


def an_empty_copy(storage: Storage) -> None:
    one_volume(storage)
    storage.add_volume(SD, NEW_IMAGE, NEW, LEGALITY="ILLEGAL")


def filled(storage: Storage) -> None:
    assert storage.names(SD) == sorted(files(BASE) + files(NEW, image=NEW_IMAGE))
    assert storage.shows(SD, NEW_IMAGE, NEW) == BASE_SHOWS
    assert storage.meta(SD, NEW_IMAGE, NEW, "LEGALITY", "GEN") == ("LEGAL", "1")


def larger_top(storage: Storage) -> None:
    storage.add_domain(SD)
    storage.add_volume(SD, IMAGE, BASE, BASE_SHOWS, place=VolumeType.INTERNAL)
    storage.add_volume(SD, IMAGE, TOP, b"\0\6", parent=(IMAGE, BASE), size=2 * SIZE)


def prepared(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE, TOP)
    assert storage.shows(SD, IMAGE, BASE) == BASE_SHOWS + bytes(4)
    assert storage.meta(SD, IMAGE, BASE, "CAP") == (str(2 * SIZE),)


def merged(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE, TOP)
    assert storage.shows(SD, IMAGE, BASE) == storage.shows(SD, IMAGE, TOP) == TOP_SHOWS
    assert storage.meta(SD, IMAGE, BASE, "LEGALITY", "GEN") == ("LEGAL", "1")


def half_merged(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE, TOP)
    assert storage.shows(SD, IMAGE, TOP) == TOP_SHOWS
    assert storage.meta(SD, IMAGE, BASE, "LEGALITY", "GEN") == ("ILLEGAL", "0")


def merged_before(storage: Storage) -> None:
    """An image of base, top and leaf, whose top is merged into its base."""
    storage.add_domain(SD)
    note: dict[str, Any] = {"GEN": "1", "MERGED": f"{TOP} 0 1"}
    storage.add_volume(SD, IMAGE, BASE, TOP_SHOWS, place=VolumeType.INTERNAL, **note)
    storage.add_volume(SD, IMAGE, TOP, b"\0\6", parent=(IMAGE, BASE), place=VolumeType.INTERNAL)
    storage.add_volume(SD, IMAGE, LEAF, b"\0\0\7", parent=(IMAGE, TOP))


def finalized(storage: Storage) -> None:
    assert storage.names(SD) == files(BASE, LEAF, TOP)
    assert storage.shows(SD, IMAGE, LEAF) == LEAF_SHOWS
    assert storage.meta(SD, IMAGE, LEAF, "PUUID", "LEGALITY") == (BASE, "LEGAL")
    assert storage.meta(SD, IMAGE, TOP, "LEGALITY") == ("ILLEGAL",)
    assert storage.meta(SD, IMAGE, BASE, "VOLTYPE", "MERGED") == ("INTERNAL", None)


def domain_made(storage: Storage) -> None:
    assert [path.name for path in storage.root.iterdir()] == [SD]
    assert storage.names(SD) == []
    assert read_meta(storage.path(SD) / "dom_md" / "metadata")["REMOTE_PATH"] == str(storage.root)


def domain_detached(storage: Storage) -> None:
    assert storage.names(SD) == []
    assert read_meta(storage.path(SD) / "dom_md" / "metadata")["STATUS"] == "DETACHED"


def managed(storage: Storage) -> None:
    storage.pools.mkdir()
    (storage.pools / POOL).write_text('{"is_manager": true, "starts": 1}')


def manager(storage: Storage) -> None:
    assert (storage.pools / POOL).read_text() == '{"is_manager": true, "starts": 1}'


def no_manager(storage: Storage) -> None:
    assert (storage.pools / POOL).read_text() == '{"is_manager": false, "starts": 1}'


CREATE = {"storagedomainID": SD, "domainName": "d", "typeArgs": ROOT}
DETACH = {"storagedomainID": SD, "storagepoolID": POOL}

MERGED = [
    Case(SdmMerge, MERGE, chain_of_two, merged),
    Case(SdmMerge, MERGE, chain_of_two, half_merged, about="failing", fail="commit*", end="cleanFailure 252"),
    Case(
        SdmMerge,
        MERGE,
        obstructed(chain_of_two, *BASE_META_ASIDE),
        about="failing before",
        end=undone(Code.GENERAL),
        raises="agent_write:1",
    ),
    Case(StoragePoolPrepareMerge, PREPARE, larger_top, prepared),
    Case(
        StoragePoolPrepareMerge,
        PREPARE,
        obstructed(larger_top, *BASE_META_ASIDE),
        about="failing when described",
        end=undone(Code.GENERAL),
        raises="agent_write:1",
    ),
    Case(StoragePoolFinalizeMerge, FINALIZE, merged_before, finalized),
    Case(
        StoragePoolFinalizeMerge,
        FINALIZE,
        obstructed(merged_before, *BASE_META_ASIDE),
        about="failing at the base",
        end=undone(Code.GENERAL),
        raises="agent_write:3",
    ),
]
JOBS_AND_DOMAINS = [
    Case(SdmCopyData, COPY_DATA, an_empty_copy, filled, other_ends=INTERRUPTED),
    Case(
        SdmCopyData,
        COPY_DATA,
        an_empty_copy,
        about="failing",
        fail="check*",
        end=undone(Code.VOLUME_COPY_ERROR),
        other_ends=INTERRUPTED,
    ),
    Case(
        SdmCopyData,
        COPY_DATA,
        an_empty_copy,
        way=Way.STOP,
        slow="convert*",
        end=undone(Code.ABORTED),
        other_ends=INTERRUPTED,
    ),
    Case(StorageDomainCreate, CREATE, empty, domain_made),
    Case(StorageDomainCreate, CREATE, empty, way=Way.REVERT, end=undone(Code.ABORTED)),
    Case(StorageDomainDetach, DETACH, one_domain, domain_detached),
    Case(StorageDomainDetach, DETACH, one_domain, way=Way.REVERT, end=undone(Code.ABORTED)),
    Case(StoragePoolSpmStart, {"storagepoolID": POOL}, empty, manager),
    Case(StoragePoolSpmStop, {"storagepoolID": POOL}, managed, no_manager),
]
