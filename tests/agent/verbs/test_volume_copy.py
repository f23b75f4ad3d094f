"""Volume.copy beyond the plain case: other domains, chains, replaced volumes, reverts, limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.verbs import Code
from tests.agent.asked import fresh
from tests.agent.verbs.images import (
    COPY,
    COW,
    KINDS,
    MIB,
    RAW,
    Gate,
    Two,
    chain,
    change_meta,
    fail_at_each_effect,
    image_info,
    is_same,
    metadata,
    progressed,
    two_domains,
)

COPIED = ("success", 0, "4 jobs completed successfully")
REPLACED = ("success", 0, "6 jobs completed successfully")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with two_domains(tmp_path) as found:
        yield found


@pytest.mark.parametrize(("kind", "preallocate"), [(COW, 2), (RAW, 2), (RAW, 1)])
async def test_a_chain_becomes_one_volume_of_another_domain(two: Two, kind: int, preallocate: int) -> None:
    image, (_, _, top) = await chain(two.source, RAW, COW, COW)
    to = (fresh(), fresh())
    more = {"volFormat": kind, "preallocate": preallocate, "postZero": True, "discard": True}
    assert await two.source.copy(image, top, to, dstSdUUID=two.target.id, **more) == COPIED
    info = image_info(two.target.path(*to))
    assert (info["format"], info.get("backing-filename")) == (KINDS[kind], None)
    assert is_same(two.source.path(image, top), two.target.path(*to))
    assert (two.target.path(*to).stat().st_blocks * 512 >= 6 * MIB) == (preallocate == 1)


@pytest.mark.parametrize("place", [0, 1])
async def test_an_illegal_volume_is_no_source(two: Two, place: int) -> None:
    image, volumes = await chain(two.source, COW, COW)
    change_meta(two.source, image, volumes[place], LEGALITY="ILLEGAL")
    before = two.files()
    result = await two.source.copy(image, volumes[1], (fresh(), fresh()))
    assert result[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
    assert two.files() == before


async def test_a_volume_is_replaced_only_by_force(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    to = await two.target.volume(volFormat=RAW, desc="the former")
    before = two.files()
    result = await two.source.copy(image, volume, to, dstSdUUID=two.target.id)
    assert result[:2] == ("cleanSuccess", Code.VOLUME_ALREADY_EXISTS)
    assert two.files() == before
    result = await two.source.copy(image, volume, to, dstSdUUID=two.target.id, force=True, desc="the new one")
    assert result == REPLACED
    assert is_same(two.source.path(image, volume), two.target.path(*to))
    assert two.target.files() == [to[0], f"{to[0]}/{to[1]}", f"{to[0]}/{to[1]}.meta"]
    meta = metadata(two.target, *to)
    assert (meta["DESCRIPTION"], meta["FORMAT"], meta["CAP"]) == ("the new one", "COW", str(2 * MIB))


async def test_force_needs_no_volume_to_replace(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    to = (fresh(), fresh())
    assert await two.source.copy(image, volume, to, dstSdUUID=two.target.id, force=True) == REPLACED
    assert is_same(two.source.path(image, volume), two.target.path(*to))


async def test_force_replaces_nothing_that_others_are_built_upon(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    template = (fresh(), fresh())
    assert await two.source.copy(image, volume, template, volType=6) == COPIED
    await chain(two.source, COW, upon=template)
    before = two.files()
    result = await two.source.copy(image, volume, template, force=True)
    assert result[:2] == ("cleanSuccess", Code.CANNOT_DELETE_VOLUME)
    assert two.files() == before


async def test_force_replaces_nothing_that_others_are_built_upon_though_its_description_is_lost(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    template = (fresh(), fresh())
    assert await two.source.copy(image, volume, template, volType=6) == COPIED
    await chain(two.source, COW, upon=template)
    (two.source.images / template[0] / f"{template[1]}.meta").unlink()
    before = two.files()
    result = await two.source.copy(image, volume, template, force=True)
    assert result[:2] == ("cleanSuccess", Code.CANNOT_DELETE_VOLUME)
    assert two.files() == before


async def test_an_image_that_came_upon_a_volume_while_its_replacement_was_copied_keeps_it(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    async with two_domains(tmp_path, qemu_img=gate.qemu_img) as two:
        plain, (volume,) = await chain(two.source, COW)
        template = (fresh(), fresh())
        for domain in (two.source, two.target):
            await two.source.copy(plain, volume, template, volType=6, dstSdUUID=domain.id)
        child, (top,) = await chain(two.source, COW, upon=template)
        other, (another,) = await chain(two.source, COW)
        gate.shut()
        params = two.source.copy_params(other, another, template, dstSdUUID=two.target.id, force=True)
        task_id = await two.asked.call("Volume.copy", params)
        await gate.reached()
        assert (await two.run("Image.move", child, operation=COPY))[0] == "success"
        gate.open()
        assert (await two.asked.result(task_id))[:2] == ("cleanSuccess", Code.CANNOT_DELETE_VOLUME)
        assert is_same(two.source.path(child, top), two.target.path(child, top))


async def test_force_replaces_no_link(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    to = (fresh(), fresh())
    (two.target.images / to[0]).mkdir()
    two.target.path(*to).symlink_to(two.source.path(image, volume))
    result = await two.source.copy(image, volume, to, dstSdUUID=two.target.id, force=True)
    assert result[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)
    assert two.target.path(*to).is_symlink()


@pytest.mark.parametrize("force", [False, True])
async def test_a_copy_beside_other_volumes_would_be_a_second_chain(two: Two, force: bool) -> None:
    image, (volume,) = await chain(two.source, COW)
    other, (base, _) = await chain(two.target, COW, COW)
    before = two.files()
    for target in (fresh(), base):
        result = await two.source.copy(image, volume, (other, target), dstSdUUID=two.target.id, force=force)
        assert result[:2] == ("cleanSuccess", Code.IMAGE_IS_NOT_LEGAL_CHAIN)
    assert two.files() == before


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.long), "after"])
async def test_whatever_fails_before_the_former_volume_is_forgotten_is_undone(
    two: Two, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    image, (volume,) = await chain(two.source, COW)
    to = await two.target.volume()

    async def run() -> tuple[str, int, str]:
        return await two.source.copy(image, volume, to, dstSdUUID=two.target.id, force=True)

    result, undone = await fail_at_each_effect(monkeypatch, run, two.files, side)
    assert (result, undone > 10) == ("cleanFailure", True)
    assert is_same(two.source.path(image, volume), two.target.path(*to))


async def test_a_replacing_copy_that_is_stopped_leaves_the_former_volume(tmp_path: Path) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=4 * MIB) as two:
        image, (volume,) = await chain(two.source, COW, mib=8)
        to = await two.target.volume()
        before = two.files()
        params = two.source.copy_params(image, volume, to, dstSdUUID=two.target.id, force=True)
        task_id = await two.asked.call("Volume.copy", params)
        await progressed(two.asked, task_id, 1)
        await two.asked.call("Task.stop", {"taskID": task_id})
        assert (await two.asked.result(task_id))[:2] == ("cleanSuccess", Code.ABORTED)
        assert two.files() == before


async def test_a_copy_can_be_reverted_until_something_is_built_upon_it(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    before = two.files()
    template = (fresh(), fresh())
    task_id = await two.asked.call("Volume.copy", two.source.copy_params(image, volume, template, volType=6))
    assert await two.asked.result(task_id) == COPIED
    await two.asked.call("Task.revert", {"taskID": task_id})
    assert (await two.asked.result(task_id))[:2] == ("cleanSuccess", Code.ABORTED)
    assert two.files() == before
    task_id = await two.asked.call("Volume.copy", two.source.copy_params(image, volume, template, volType=6))
    assert await two.asked.result(task_id) == COPIED
    await chain(two.source, COW, upon=template)
    before = two.files()
    await two.asked.call("Task.revert", {"taskID": task_id})
    result, _, message = await two.asked.result(task_id)
    assert (result, f"is built upon a volume of image {template[0]}" in message) == ("cleanFailure", True)
    assert two.files() == before


async def test_a_domain_that_was_detached_is_no_source(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    path = two.source.images.parent / "dom_md" / "metadata"
    path.write_text(path.read_text().replace("EOF", "STATUS=DETACHED\nEOF"))
    result = await two.source.copy(image, volume, (fresh(), fresh()), dstSdUUID=two.target.id)
    assert result[:2] == ("cleanSuccess", Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL)
    assert two.target.files() == []
