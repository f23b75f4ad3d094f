"""Image.syncData: what the volumes of an image hold, in those that were cloned from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.verbs import Code
from tests.agent.asked import fresh
from tests.agent.verbs.images import (
    COW,
    MIB,
    RAW,
    Two,
    chain,
    change_meta,
    contents,
    fail_at_each_effect,
    fill,
    image_info,
    is_same,
    metadata,
    outlives,
    program,
    progress,
    progressed,
    two_domains,
)

SYNCED = ("success", 0, "6 jobs completed successfully")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with two_domains(tmp_path) as found:
        yield found


async def cloned(two: Two, *kinds: int, mib: int = 1) -> tuple[str, list[str]]:
    image, volumes = await chain(two.source, *kinds, mib=mib)
    assert (await two.run("Image.cloneStructure", image))[0] == "success"
    return image, volumes


def legality(two: Two, image: str, volumes: list[str]) -> list[str]:
    return [metadata(two.target, image, volume)["LEGALITY"] for volume in volumes]


@pytest.mark.parametrize("kinds", [(COW,), (RAW,), (COW, COW, COW), (RAW, COW)])
async def test_a_clone_that_was_synced_is_as_its_source(two: Two, kinds: tuple[int, ...]) -> None:
    image, volumes = await cloned(two, *kinds)
    before, _ = two.files()
    assert await two.run("Image.syncData", image, syncType="ALL") == SYNCED
    assert two.files()[0] == before
    assert two.target.files() == two.source.files()
    for volume in volumes:
        assert is_same(two.source.path(image, volume), two.target.path(image, volume))
        assert metadata(two.target, image, volume) == {**metadata(two.source, image, volume), "DOMAIN": two.target.id}
    for volume, parent in zip(volumes[1:], volumes, strict=False):
        assert image_info(two.target.path(image, volume))["backing-filename"] == parent


@pytest.mark.parametrize(
    ("sync_type", "expected"),
    [("INTERNAL", ["LEGAL", "LEGAL", "ILLEGAL"]), ("LEAF", ["ILLEGAL", "ILLEGAL", "LEGAL"])],
)
async def test_only_the_chosen_volumes_are_filled(two: Two, sync_type: str, expected: list[str]) -> None:
    image, volumes = await cloned(two, COW, COW, COW)
    empty = contents(two.target)
    assert await two.run("Image.syncData", image, syncType=sync_type) == SYNCED
    assert legality(two, image, volumes) == expected
    found = contents(two.target)
    assert [found[f"{image}/{volume}"] == empty[f"{image}/{volume}"] for volume in volumes] == [
        each == "ILLEGAL" for each in expected
    ]


async def test_the_internal_volumes_and_then_the_leaf_are_all(two: Two) -> None:
    image, volumes = await cloned(two, COW, COW)
    assert await two.run("Image.syncData", image, syncType="INTERNAL") == SYNCED
    result = await two.target.copy(image, volumes[1], (fresh(), fresh()))
    assert result[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
    assert await two.run("Image.syncData", image, syncType="LEAF") == SYNCED
    assert legality(two, image, volumes) == ["LEGAL", "LEGAL"]
    assert is_same(two.source.path(image, volumes[1]), two.target.path(image, volumes[1]))


async def test_an_image_of_one_volume_has_nothing_internal(two: Two) -> None:
    image, volumes = await cloned(two, COW)
    before = two.files()
    assert await two.run("Image.syncData", image, syncType="INTERNAL") == SYNCED
    assert two.files() == before
    assert legality(two, image, volumes) == ["ILLEGAL"]


async def test_syncing_again_takes_over_what_the_source_holds_by_then(two: Two) -> None:
    image, volumes = await cloned(two, COW, COW)
    assert await two.run("Image.syncData", image) == SYNCED
    assert await two.run("Image.syncData", image) == SYNCED
    fill(two.source.path(image, volumes[1]), COW, 0, 1)
    change_meta(two.source, image, volumes[1], GEN="5")
    assert not is_same(two.source.path(image, volumes[1]), two.target.path(image, volumes[1]))
    assert await two.run("Image.syncData", image) == SYNCED
    assert is_same(two.source.path(image, volumes[1]), two.target.path(image, volumes[1]))
    assert metadata(two.target, image, volumes[1])["GEN"] == "5"
    assert two.target.files() == two.source.files()


async def test_a_preallocated_volume_takes_its_room(two: Two) -> None:
    image, volume = await two.source.volume(volFormat=RAW, size=4 * MIB, preallocate=1)
    await two.run("Image.cloneStructure", image)
    assert await two.run("Image.syncData", image) == SYNCED
    assert two.target.path(image, volume).stat().st_blocks * 512 >= 4 * MIB


async def test_without_a_clone_there_is_nothing_to_fill(two: Two) -> None:
    image, _ = await chain(two.source, COW)
    error = f"Image does not exist in domain: image={image}, domain={two.target.id}"
    assert await two.run("Image.syncData", image) == ("cleanSuccess", 268, f"value={error} abortedcode=268")
    assert two.target.files() == []


async def test_another_chain_is_not_filled(two: Two) -> None:
    image, (_, top) = await cloned(two, COW, COW)
    await two.source.create(image, fresh(), srcImgUUID=image, srcVolUUID=top, size=4 * MIB)
    before = two.files()
    result = await two.run("Image.syncData", image)
    error = (
        f"image {image} is not the same chain of volumes in {two.source.id} and {two.target.id}; "
        "delete it in the latter and clone its structure anew"
    )
    assert result == ("cleanSuccess", 262, f"value={error} abortedcode=262")
    assert two.files() == before


async def test_an_illegal_source_fills_nothing(two: Two) -> None:
    image, volumes = await cloned(two, COW, COW)
    change_meta(two.source, image, volumes[0], LEGALITY="ILLEGAL")
    before = two.files()
    assert (await two.run("Image.syncData", image))[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
    assert two.files() == before


async def test_a_sync_that_fails_at_the_second_volume_leaves_the_clone_as_it_was(tmp_path: Path) -> None:
    async with two_domains(tmp_path) as two:
        image, (_, top) = await cloned(two, COW, COW)
    failing = program(tmp_path, f'case "$*" in *convert*{top}*) echo "it broke" >&2; exit 1;; esac')
    async with two_domains(tmp_path, qemu_img=failing) as two:
        before = two.files()
        result = await two.run("Image.syncData", image)
        assert result == ("cleanSuccess", 225, "value=it broke abortedcode=225")
        assert two.files() == before


@pytest.mark.long
@pytest.mark.parametrize("side", ["before", "after"])
async def test_whatever_fails_before_the_former_files_are_forgotten_is_undone(
    two: Two, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    image, volumes = await cloned(two, COW, COW)

    async def run() -> tuple[str, int, str]:
        return await two.run("Image.syncData", image)

    result, undone = await fail_at_each_effect(monkeypatch, run, two.files, side)
    assert (result, undone > 15) == ("cleanFailure", True)
    assert is_same(two.source.path(image, volumes[1]), two.target.path(image, volumes[1]))
    assert legality(two, image, volumes) == ["LEGAL", "LEGAL"]


async def test_a_sync_that_is_stopped_leaves_the_clone_as_it_was(tmp_path: Path) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=4 * MIB) as two:
        image, _ = await cloned(two, COW, COW, mib=8)
        before = two.files()
        task_id = await two.start("Image.syncData", image)
        await progressed(two.asked, task_id, 1)
        await two.asked.call("Task.stop", {"taskID": task_id})
        assert (await two.asked.result(task_id))[:2] == ("cleanSuccess", Code.ABORTED)
        assert two.files() == before


async def test_the_progress_rises(tmp_path: Path) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=16 * MIB) as two:
        image, _ = await cloned(two, COW, COW, mib=8)
        seen = await progress(two.asked, await two.start("Image.syncData", image))
        assert (seen == sorted(seen), any(0 < percent <= 49 for percent in seen), seen[-1] <= 99) == (True, True, True)


@outlives
async def test_an_agent_that_comes_back_goes_on_with_the_sync(tmp_path: Path) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=8 * MIB) as two:
        image, volumes = await cloned(two, COW, COW, mib=8)
        task_id = await two.start("Image.syncData", image)
        await progressed(two.asked, task_id, 10)
    async with two_domains(tmp_path) as two:
        assert await two.asked.result(task_id) == SYNCED
        assert is_same(two.source.path(image, volumes[1]), two.target.path(image, volumes[1]))
        assert two.target.files() == two.source.files()


async def test_a_sync_cannot_be_reverted(two: Two) -> None:
    image, _ = await cloned(two, COW)
    task_id = await two.start("Image.syncData", image)
    assert await two.asked.result(task_id) == SYNCED
    assert (await two.asked.code("Task.revert", {"taskID": task_id}))[0] == Code.TRANSITION


async def test_what_others_put_into_the_folder_stays(two: Two) -> None:
    image, (volume,) = await cloned(two, COW)
    other = two.target.path(image, f"{volume}.former.{fresh()}")
    other.write_text("of a task that was given up")
    assert await two.run("Image.syncData", image) == SYNCED
    assert other.read_text() == "of a task that was given up"
