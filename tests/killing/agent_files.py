"""The files that the cases of the kill loop work on."""

from __future__ import annotations

from collections.abc import Callable

from interlock.verbs import VolumeFormat, VolumeType
from tests.killing.agent_storage import Storage, id_of

POOL = id_of(1)
SD, SD2 = id_of(0x51), id_of(0x52)
IMAGE, NEW_IMAGE, TEMPLATE = id_of(0x1A), id_of(0x1B), id_of(0x1C)
BASE, TOP, LEAF, NEW, SHARED = id_of(0xA), id_of(0xB), id_of(0xC), id_of(0xD), id_of(0xE)

#: What the volumes show, block by block.
BASE_SHOWS, TOP_SHOWS, LEAF_SHOWS = b"\1\0\3\4", b"\1\6\3\4", b"\1\6\7\4"

IN_SD = {"storagepoolID": POOL, "storagedomainID": SD, "imageID": IMAGE}
TO_SD2 = {**IN_SD, "dstSdUUID": SD2}


def empty(storage: Storage) -> None:
    """No domain."""


def one_domain(storage: Storage) -> None:
    """A domain without images."""
    storage.add_domain(SD)


def one_volume(storage: Storage) -> None:
    """An image of one volume."""
    storage.add_domain(SD)
    storage.add_volume(SD, IMAGE, BASE, BASE_SHOWS)


def raw_volume(storage: Storage) -> None:
    """An image of one raw volume."""
    storage.add_domain(SD)
    storage.add_volume(SD, IMAGE, BASE, BASE_SHOWS, kind=VolumeFormat.RAW)


def chain_of_two(storage: Storage) -> None:
    """An image of a base and a top, and an empty second domain."""
    add_chain_of_two(storage, SD)
    storage.add_domain(SD2)


def add_chain_of_two(storage: Storage, domain: str) -> None:
    """A domain with that image."""
    storage.add_domain(domain)
    storage.add_volume(domain, IMAGE, BASE, BASE_SHOWS, place=VolumeType.INTERNAL)
    storage.add_volume(domain, IMAGE, TOP, b"\0\6", parent=(IMAGE, BASE))


def chain_of_three(storage: Storage) -> None:
    """An image of base, top and leaf."""
    storage.add_domain(SD)
    storage.add_volume(SD, IMAGE, BASE, BASE_SHOWS, place=VolumeType.INTERNAL)
    storage.add_volume(SD, IMAGE, TOP, b"\0\6", parent=(IMAGE, BASE), place=VolumeType.INTERNAL)
    storage.add_volume(SD, IMAGE, LEAF, b"\0\0\7", parent=(IMAGE, TOP))


def two_domains(storage: Storage) -> None:
    """The same image of base and top in two domains."""
    add_chain_of_two(storage, SD)
    add_chain_of_two(storage, SD2)


def obstructed(build: Callable[[Storage], None], *names: str) -> Callable[[Storage], None]:
    """The same files, and a folder where something has to be written aside, which cannot be done then."""

    def build_both(storage: Storage) -> None:
        build(storage)
        storage.path(SD, *names).mkdir()

    return build_both


def files(*volumes: str, image: str = IMAGE) -> list[str]:
    """The names below `images` of one image with those volumes."""
    return sorted([image, *(f"{image}/{name}" for volume in volumes for name in (volume, f"{volume}.meta"))])
