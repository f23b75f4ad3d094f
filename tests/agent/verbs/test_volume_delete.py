"""Volume.delete and Image.deleteVolumes: what goes, what is refused, and what becomes of the parents."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.agent import durable
from interlock.agent.effects import erasing
from interlock.verbs import Code, ImageDeleteVolumes, VolumeDelete
from tests.agent.asked import Domain, asked, fresh
from tests.agent.verbs.dying import Death, carry_through, dying, failing_after
from tests.agent.verbs.images import (
    COW,
    MIB,
    RAW,
    chain,
    change_meta,
    contents,
    fail_at_each_effect,
    metadata,
    progressed,
)

SUCCESS = ("success", 0, "4 jobs completed successfully")


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


async def delete(domain: Domain, image: str, *volumes: str, **more: Any) -> tuple[str, int, str]:
    """Deletes one volume by Volume.delete, several by Image.deleteVolumes."""
    if len(volumes) == 1:
        task_id = await domain.asked.call("Volume.delete", {**domain.names(image), "volumeID": volumes[0], **more})
    else:
        params = {**domain.names(image), "volumeList": list(volumes), **more}
        task_id = await domain.asked.call("Image.deleteVolumes", params)
    return await domain.asked.result(task_id)


def files_of(image: str, *volumes: str) -> list[str]:
    """What is below `images` if an image of these volumes is all there is."""
    return sorted([image, *(f"{image}/{volume}{kind}" for volume in volumes for kind in ("", ".meta"))])


def places(domain: Domain, image: str, *volumes: str) -> list[str]:
    return [metadata(domain, image, volume)["VOLTYPE"] for volume in volumes]


async def test_a_leaf_goes_and_its_parent_is_a_leaf_again(domain: Domain) -> None:
    image, (base, middle, top) = await chain(domain, COW, COW, COW)
    assert await delete(domain, image, top) == SUCCESS
    assert domain.files() == files_of(image, base, middle)
    assert places(domain, image, base, middle) == ["INTERNAL", "LEAF"]
    assert await domain.create(image, fresh(), size=6 * MIB, srcImgUUID=image, srcVolUUID=middle) == SUCCESS


async def test_several_volumes_go_at_once_in_whatever_order_they_are_named(domain: Domain) -> None:
    image, (base, middle, top) = await chain(domain, COW, COW, COW)
    assert await delete(domain, image, middle, top) == SUCCESS
    assert domain.files() == files_of(image, base)
    assert places(domain, image, base) == ["LEAF"]


async def test_the_last_volume_takes_the_folder_of_its_image_with_it(domain: Domain) -> None:
    image, volumes = await chain(domain, RAW, COW)
    assert await delete(domain, image, *volumes, *volumes) == SUCCESS
    assert domain.files() == []
    single, (volume,) = await chain(domain, COW)
    assert await delete(domain, single, volume) == SUCCESS
    assert domain.files() == []


async def test_a_volume_upon_which_one_stays_is_refused_and_nothing_is_changed(domain: Domain) -> None:
    image, (base, middle, top) = await chain(domain, COW, COW, COW)
    before = contents(domain)
    error = f"volume {top} is built upon volume {middle} of image {image}; remove it first"
    for volumes in ([middle], [base, middle]):
        assert await delete(domain, image, *volumes) == ("cleanSuccess", 204, f"value={error} abortedcode=204")
        assert contents(domain) == before


async def test_one_volume_that_does_not_exist_keeps_the_others_from_being_deleted(domain: Domain) -> None:
    image, (base, top) = await chain(domain, COW, COW)
    before, absent = contents(domain), fresh()
    error = f"volume {absent} does not exist in {domain.images / image}"
    for volumes, force in (([top, absent], False), ([base, absent, top], True), ([absent], True)):
        result = await delete(domain, image, *volumes, force=force)
        assert result == ("cleanSuccess", 201, f"value={error} abortedcode=201")
        assert contents(domain) == before
    assert (await delete(domain, fresh(), absent))[:2] == ("cleanSuccess", Code.VOLUME_DOES_NOT_EXIST)


async def test_force_removes_a_volume_upon_which_one_stays(domain: Domain) -> None:
    image, (base, middle, top) = await chain(domain, COW, COW, COW)
    assert await delete(domain, image, middle, force=True) == SUCCESS
    assert domain.files() == files_of(image, base, top)
    assert places(domain, image, base, top) == ["LEAF", "LEAF"]


async def test_a_template_upon_which_other_images_are_built_is_refused(domain: Domain) -> None:
    image, (volume,) = await chain(domain, COW)
    template = (fresh(), fresh())
    assert (await domain.copy(image, volume, template, volType=6))[0] == "success"
    child, top = fresh(), fresh()
    await domain.create(child, top, size=2 * MIB, srcImgUUID=template[0], srcVolUUID=template[1])
    before = contents(domain)
    result = await delete(domain, *template)
    assert result[:2] == ("cleanSuccess", Code.CANNOT_DELETE_VOLUME)
    assert f"volume {top} of another image is built upon" in result[2]
    assert contents(domain) == before
    assert await delete(domain, child, top) == SUCCESS
    assert await delete(domain, *template) == SUCCESS
    assert domain.files() == files_of(image, volume)


async def test_a_volume_whose_description_is_damaged_goes_by_force_only(domain: Domain) -> None:
    image, (base, top) = await chain(domain, COW, COW)
    (domain.images / image / f"{top}.meta").write_text("PUUID=")
    before = contents(domain)
    for volume in (top, base):
        result = await delete(domain, image, volume)
        assert result[:2] == ("cleanSuccess", Code.VOLUME_METADATA_READ_ERROR)
        assert contents(domain) == before
    assert await delete(domain, image, top, force=True) == SUCCESS
    assert domain.files() == files_of(image, base)


async def test_half_a_volume_goes_by_force_only(domain: Domain) -> None:
    image, (base, top) = await chain(domain, COW, COW)
    (domain.images / image / f"{top}.meta").unlink()
    assert (await delete(domain, image, top))[:2] == ("cleanSuccess", Code.VOLUME_DOES_NOT_EXIST)
    assert await delete(domain, image, top, force=True) == SUCCESS
    assert domain.files() == files_of(image, base)


async def test_a_parent_whose_name_climbs_out_of_the_image_is_not_written(domain: Domain) -> None:
    image, (volume,) = await chain(domain, COW)
    outside = domain.images / "outside.meta"
    outside.write_text("VOLTYPE=INTERNAL\nEOF\n")
    change_meta(domain, image, volume, PUUID="../outside")
    assert await delete(domain, image, volume, force=True) == SUCCESS
    assert outside.read_text() == "VOLTYPE=INTERNAL\nEOF\n"


async def test_what_was_being_made_of_a_volume_goes_with_it(domain: Domain) -> None:
    image, (volume,) = await chain(domain, COW)
    domain.path(image, f"{volume}.part").write_text("half")
    assert await delete(domain, image, volume) == SUCCESS
    assert domain.files() == []


async def test_a_link_in_place_of_a_volume_goes_by_force_and_what_it_leads_to_stays(domain: Domain) -> None:
    image, (volume,) = await chain(domain, RAW)
    outside = domain.asked.root.parent / "outside"
    outside.write_bytes(b"kept")
    domain.path(image, volume).unlink()
    domain.path(image, volume).symlink_to(outside)
    assert (await delete(domain, image, volume))[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)
    assert await delete(domain, image, volume, force=True, postZero=True) == SUCCESS
    assert (domain.files(), outside.read_bytes()) == ([], b"kept")


async def test_post_zero_overwrites_only_the_volumes_that_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_CHUNK_BYTES", 4096)
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (base, top) = await chain(domain, COW, COW)
        kept, opened = domain.path(image, base).read_bytes(), domain.path(image, top).open("rb")
        params = {**domain.names(image), "volumeID": top, "postZero": True}
        task_id = await agent.call("Volume.delete", params)
        await progressed(agent, task_id, 1)
        assert await agent.call("Image.getVolumes", domain.names(image)) == [base]
    monkeypatch.undo()
    async with asked(tmp_path) as agent:
        assert await agent.result(task_id) == SUCCESS
    with opened:
        assert not any(opened.read())
    assert domain.path(image, base).read_bytes() == kept
    assert domain.files() == files_of(image, base)


async def test_a_removal_that_fails_says_what_is_left_and_the_image_is_whole(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, (base, top) = await chain(domain, COW, COW)

    def refuse(folder: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "remove_tree", refuse)
        result, code, message = await delete(domain, image, top)
    assert (result, code) == ("cleanFailure", Code.CANNOT_DELETE_VOLUME)
    [left] = [path for path in domain.images.iterdir() if path.name != image]
    assert str(left) in message
    assert places(domain, image, base) == ["LEAF"]
    assert await domain.create(image, fresh(), size=4 * MIB, srcImgUUID=image, srcVolUUID=base) == SUCCESS
    assert (await domain.delete(image))[0] == "success"
    assert domain.files() == []


async def test_what_a_given_up_task_left_is_in_nobodys_way(domain: Domain) -> None:
    image, (base, top) = await chain(domain, COW, COW)
    left = domain.images / f"_remove_{image}.{fresh()}"
    left.mkdir()
    for name in (top, f"{top}.meta"):
        os.rename(domain.path(image, name), left / name)
    assert await domain.asked.call("Image.getVolumes", domain.names(image)) == [base]
    assert await delete(domain, image, base) == SUCCESS
    assert sorted(path.name for path in domain.images.iterdir()) == [left.name]


@pytest.mark.parametrize("step", ["check", "hide", "release_parents"])
@pytest.mark.parametrize("is_list", [False, True], ids=["volume", "volumes"])
async def test_a_failure_leaves_all_as_it_was(tmp_path: Path, step: str, is_list: bool) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (_, middle, top) = await chain(domain, COW, COW, COW)
    before = contents(domain)
    verb = ImageDeleteVolumes if is_list else VolumeDelete
    async with asked(tmp_path, setting=failing_after(verb, step)) as agent:
        result = await delete(Domain(agent, domain.id), image, top, *([middle] if is_list else []))
    assert result == ("cleanSuccess", 100, "value=the test wants it so abortedcode=100")
    assert contents(domain) == before


@pytest.mark.parametrize(("side", "undone"), [("before", 6), ("after", 6)])
async def test_a_full_disk_is_a_clean_failure(
    domain: Domain, monkeypatch: pytest.MonkeyPatch, side: str, undone: int
) -> None:
    image, (_, middle, top) = await chain(domain, COW, COW, COW)
    ended = await fail_at_each_effect(
        monkeypatch, lambda: delete(domain, image, middle, top), lambda: contents(domain), side
    )
    assert ended == ("cleanFailure", undone)  # a folder, two renames for each, a description


@pytest.mark.parametrize(
    "is_after", [pytest.param(False, id="before", marks=pytest.mark.long), pytest.param(True, id="after")]
)
async def test_a_deletion_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (base, *volumes) = await chain(domain, COW, COW, COW)
    shutil.move(domain.images / image, tmp_path / "kept")
    for number in range(1, 100):
        shutil.copytree(tmp_path / "kept", domain.images / image, dirs_exist_ok=True)
        death = Death(number, is_after)
        params = {**domain.names(image), "volumeList": volumes, "postZero": True}
        result = await carry_through(tmp_path, monkeypatch, dying(), death, "Image.deleteVolumes", params)
        assert result == SUCCESS, number
        assert domain.files() == files_of(image, base)
        assert places(domain, image, base) == ["LEAF"]
        if not death.has_come:
            break
    assert number > 10


@pytest.mark.parametrize(
    "is_after", [pytest.param(False, id="before", marks=pytest.mark.long), pytest.param(True, id="after")]
)
async def test_an_undone_deletion_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (_, *volumes) = await chain(domain, COW, COW, COW)
    before = contents(domain)
    setting = failing_after(ImageDeleteVolumes, "release_parents")
    for number in range(1, 100):
        death = Death(number, is_after)
        params = {**domain.names(image), "volumeList": volumes}
        result = await carry_through(tmp_path, monkeypatch, setting, death, "Image.deleteVolumes", params)
        assert result[0] == "cleanSuccess", (number, result)
        assert contents(domain) == before
        if not death.has_come:
            break
    assert number > 10
