"""Image.cloneStructure: an image of empty volumes that say they are not to be relied on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.verbs import Code
from tests.agent.asked import fresh
from tests.agent.verbs.images import (
    COPY,
    COW,
    MIB,
    RAW,
    Two,
    chain,
    change_meta,
    fail_at_each_effect,
    image_info,
    metadata,
    program,
    two_domains,
)

CLONED = ("success", 0, "3 jobs completed successfully")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with two_domains(tmp_path) as found:
        yield found


async def test_a_clone_has_the_structure_of_its_source_and_no_data(two: Two) -> None:
    image, (base, middle, top) = await chain(two.source, RAW, COW, COW)
    before, _ = two.files()
    assert await two.run("Image.cloneStructure", image) == CLONED
    assert two.files()[0] == before
    assert two.target.files() == two.source.files()
    found = [image_info(two.target.path(image, volume)) for volume in (base, middle, top)]
    assert [(info["format"], info["virtual-size"], info.get("backing-filename")) for info in found] == [
        ("raw", 6 * MIB, None),
        ("qcow2", 6 * MIB, base),
        ("qcow2", 6 * MIB, middle),
    ]
    assert [info["actual-size"] < MIB for info in found] == [True, True, True]


async def test_a_clone_is_described_as_its_source_but_illegal(two: Two) -> None:
    image, volumes = await chain(two.source, COW, COW)
    change_meta(two.source, image, volumes[0], GEN="3")
    await two.run("Image.cloneStructure", image)
    for volume in volumes:
        expected = {**metadata(two.source, image, volume), "DOMAIN": two.target.id, "LEGALITY": "ILLEGAL"}
        assert metadata(two.target, image, volume) == expected
    found = await two.asked.call("Volume.getInfo", {**two.target.names(image), "volumeID": volumes[0]})
    assert (found["legality"], found["status"]) == ("ILLEGAL", "ILLEGAL")


async def test_a_clone_of_a_preallocated_volume_takes_its_room_later(two: Two) -> None:
    image, volume = await two.source.volume(volFormat=RAW, size=4 * MIB, preallocate=1)
    assert await two.run("Image.cloneStructure", image) == CLONED
    status = two.target.path(image, volume).stat()
    assert (status.st_size, status.st_blocks * 512 < MIB) == (4 * MIB, True)
    assert metadata(two.target, image, volume)["TYPE"] == "PREALLOCATED"


async def test_a_clone_upon_a_template_needs_the_template(two: Two) -> None:
    plain, (volume,) = await chain(two.source, COW)
    template = (fresh(), fresh())
    await two.source.copy(plain, volume, template, volType=6)
    image, (top,) = await chain(two.source, COW, upon=template)
    assert (await two.run("Image.cloneStructure", image))[:2] == ("cleanSuccess", Code.VOLUME_DOES_NOT_EXIST)
    assert two.target.files() == []
    await two.run("Image.move", template[0], operation=COPY)
    assert await two.run("Image.cloneStructure", image) == CLONED
    assert image_info(two.target.path(image, top))["backing-filename"] == f"../{template[0]}/{template[1]}"
    assert (await two.target.delete(template[0]))[:2] == ("cleanSuccess", Code.IMAGE_HAS_CHILDREN)


async def test_a_clone_of_what_is_not_there_or_there_already(two: Two) -> None:
    absent = fresh()
    assert (await two.run("Image.cloneStructure", absent))[:2] == ("cleanSuccess", Code.IMAGE_DOES_NOT_EXIST_IN_SD)
    image, _ = await chain(two.source, COW)
    assert await two.run("Image.cloneStructure", image) == CLONED
    before = two.files()
    assert (await two.run("Image.cloneStructure", image))[:2] == ("cleanSuccess", Code.OVERWRITE_IMAGE_ERROR)
    assert two.files() == before


async def test_an_empty_clone_is_no_source_and_can_be_deleted(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    await two.run("Image.cloneStructure", image)
    result = await two.target.copy(image, volume, (fresh(), fresh()))
    assert result[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
    assert (await two.target.delete(image))[0] == "success"
    assert two.target.files() == []


async def test_a_clone_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    async with two_domains(tmp_path) as two:
        image, (_, top) = await chain(two.source, COW, COW)
    failing = program(tmp_path, f'case "$*" in *create*{top}*) echo "it broke" >&2; exit 1;; esac')
    async with two_domains(tmp_path, qemu_img=failing) as two:
        before = two.files()
        result = await two.run("Image.cloneStructure", image)
        assert result == ("cleanSuccess", 205, "value=it broke abortedcode=205")
        assert two.files() == before


@pytest.mark.parametrize("side", ["before", "after"])
async def test_whatever_fails_is_undone(two: Two, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    image, _ = await chain(two.source, COW, COW)

    async def run() -> tuple[str, int, str]:
        return await two.run("Image.cloneStructure", image)

    assert await fail_at_each_effect(monkeypatch, run, two.files, side) == ("success", 6)


async def test_a_clone_can_be_reverted_until_it_holds_data(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    before = two.files()
    task_id = await two.start("Image.cloneStructure", image)
    assert await two.asked.result(task_id) == CLONED
    await two.asked.call("Task.revert", {"taskID": task_id})
    assert (await two.asked.result(task_id))[:2] == ("cleanSuccess", Code.ABORTED)
    assert two.files() == before
    task_id = await two.start("Image.cloneStructure", image)
    assert await two.asked.result(task_id) == CLONED
    assert (await two.run("Image.syncData", image))[0] == "success"
    before = two.files()
    await two.asked.call("Task.revert", {"taskID": task_id})
    result, _, message = await two.asked.result(task_id)
    assert (result, f"holds data by now ({volume})" in message) == ("cleanFailure", True)
    assert two.files() == before
