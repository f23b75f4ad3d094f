"""Image.getVolumes, and what Volume.getInfo says of volumes that are not as they should be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.agent.storage.lineage import base_first
from interlock.verbs import Code
from tests.agent.asked import Domain, asked, fresh
from tests.agent.verbs.images import COW, RAW, chain, change_meta, metadata


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


async def info(domain: Domain, image: str, volume: str) -> dict[str, Any]:
    found: dict[str, Any] = await domain.asked.call("Volume.getInfo", {**domain.names(image), "volumeID": volume})
    return found


@pytest.mark.parametrize("method", ["Image.getVolumes", "Image.getVolumesList"])
async def test_the_volumes_of_an_image_are_told_base_first(domain: Domain, method: str) -> None:
    image, volumes = await chain(domain, RAW, COW, COW)
    assert await domain.asked.call(method, domain.names(image)) == volumes


async def test_only_whole_volumes_are_told(domain: Domain) -> None:
    image, volumes = await chain(domain, COW, COW)
    (domain.images / image / f"{fresh()}.meta").write_text("EOF\n")
    (domain.images / image / fresh()).write_text("")
    (domain.images / image / f"{fresh()}.part").write_text("")
    assert await domain.asked.call("Image.getVolumes", domain.names(image)) == volumes


async def test_volumes_with_damaged_descriptions_are_told_too(domain: Domain) -> None:
    image, (base, top) = await chain(domain, COW, COW)
    (domain.images / image / f"{base}.meta").write_text("")
    assert set(await domain.asked.call("Image.getVolumes", domain.names(image))) == {base, top}


async def test_an_image_that_is_not_there(domain: Domain) -> None:
    code, _ = await domain.asked.code("Image.getVolumes", domain.names(fresh()))
    assert code == Code.IMAGE_DOES_NOT_EXIST_IN_SD


def test_a_ring_of_volumes_is_told_to_its_end() -> None:
    assert base_first({"a": "b", "b": "c", "c": "b", "d": "none", "e": None}) == ["d", "e", "a", "b", "c"]


async def test_a_volume_that_is_not_to_be_relied_on_says_so(domain: Domain) -> None:
    image, (volume,) = await chain(domain, COW)
    change_meta(domain, image, volume, LEGALITY="ILLEGAL", GEN="7")
    found = await info(domain, image, volume)
    assert (found["status"], found["legality"], found["generation"]) == ("ILLEGAL", "ILLEGAL", 7)


async def test_what_an_old_description_lacks_has_its_usual_value(domain: Domain) -> None:
    image, (volume,) = await chain(domain, COW)
    whole = await info(domain, image, volume)
    left = {key: value for key, value in metadata(domain, image, volume).items() if key not in ("GEN", "LEGALITY")}
    path = domain.images / image / f"{volume}.meta"
    path.write_text("\n".join([*(f"{key}={value}" for key, value in left.items()), "EOF\n"]))
    assert await info(domain, image, volume) == whole


@pytest.mark.parametrize("line", ["CAP", "GEN=many"])
async def test_a_description_that_cannot_be_understood_is_named(domain: Domain, line: str) -> None:
    image, (volume,) = await chain(domain, COW)
    key, _, value = line.partition("=")
    changed = {**metadata(domain, image, volume), key: value}
    path = domain.images / image / f"{volume}.meta"
    path.write_text("\n".join([*(f"{name}={text}" for name, text in changed.items() if text), "EOF\n"]))
    code, message = await domain.asked.code("Volume.getInfo", {**domain.names(image), "volumeID": volume})
    assert code == Code.VOLUME_METADATA_READ_ERROR
    assert str(path) in message
