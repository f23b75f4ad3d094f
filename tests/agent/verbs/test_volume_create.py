"""Volume.create: room that is taken at once, chains, and every way in which it is interrupted or taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import interlock.agent.storage.domain
from interlock.agent import durable
from interlock.agent.durable import FsyncFailed
from interlock.agent.verbs import volume_create
from interlock.verbs import Code, VolumeCreate
from tests.agent.asked import Domain, asked, fresh
from tests.agent.verbs.dying import Death, Died, carry_through, dying, failing_after
from tests.agent.verbs.images import (
    COW,
    MIB,
    RAW,
    chain,
    change_meta,
    contents,
    fail_at_each_effect,
    image_info,
    metadata,
)

SUCCESS = ("success", 0, "4 jobs completed successfully")
UNDONE = ("cleanSuccess", 100, "value=the test wants it so abortedcode=100")


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


@pytest.mark.parametrize("kind", [RAW, COW])
async def test_the_initial_size_of_a_sparse_volume_takes_its_room_at_once(domain: Domain, kind: int) -> None:
    image, volume = await domain.volume(volFormat=kind, size=64 * MIB, initialSize=3 * MIB)
    stat = domain.path(image, volume).stat()
    assert 3 * MIB <= stat.st_blocks * 512 < 5 * MIB
    assert stat.st_size == (64 if kind == RAW else 3) * MIB
    assert image_info(domain.path(image, volume))["virtual-size"] == 64 * MIB
    target = (fresh(), fresh())
    assert (await domain.copy(image, volume, target))[0] == "success"  # which checks what it reads


async def test_a_preallocated_volume_takes_all_its_room_whatever_its_initial_size(domain: Domain) -> None:
    image, volume = await domain.volume(volFormat=RAW, preallocate=1, size=8 * MIB, initialSize=MIB)
    assert domain.path(image, volume).stat().st_blocks * 512 >= 8 * MIB


async def test_an_initial_size_that_finds_no_room_leaves_nothing(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, size_bytes: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(durable, "allocate", full)
    result = await domain.create(fresh(), fresh(), initialSize=4096)
    assert result[:2] == ("cleanSuccess", Code.NO_SPACE)
    assert domain.files() == []


async def test_a_chain_grows_at_its_leaf_only(domain: Domain) -> None:
    image, (base, middle, top) = await chain(domain, RAW, COW, COW)
    places = [metadata(domain, image, volume)["VOLTYPE"] for volume in (base, middle, top)]
    assert places == ["INTERNAL", "INTERNAL", "LEAF"]
    before = contents(domain)
    for parent in (base, middle):
        result = await domain.create(image, fresh(), size=8 * MIB, srcImgUUID=image, srcVolUUID=parent)
        assert result[:2] == ("cleanSuccess", Code.VOLUME_NON_SHAREABLE)
    assert contents(domain) == before


async def test_nothing_is_built_upon_a_volume_that_is_not_to_be_relied_on(domain: Domain) -> None:
    image, (base, top) = await chain(domain, COW, COW)
    change_meta(domain, image, base, LEGALITY="ILLEGAL")
    before = contents(domain)
    result = await domain.create(image, fresh(), size=8 * MIB, srcImgUUID=image, srcVolUUID=top)
    assert result[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
    assert contents(domain) == before


async def test_a_chain_gets_no_longer_than_it_can_be_read(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (interlock.agent.storage.domain, volume_create):
        monkeypatch.setattr(module, "CHAIN_MAX", 3)
    image, (*_, top) = await chain(domain, RAW, COW)
    last = fresh()
    assert await domain.create(image, last, size=4 * MIB, srcImgUUID=image, srcVolUUID=top) == SUCCESS
    read = await domain.asked.call("Volume.getInfo", {**domain.names(image), "volumeID": last})
    assert read["parent"] == top
    before = contents(domain)
    result = await domain.create(image, fresh(), size=4 * MIB, srcImgUUID=image, srcVolUUID=last)
    error = f"volume {last} ends a chain of 3 volumes, as long as one may be; merge some"
    assert result == ("cleanSuccess", 205, f"value={error} abortedcode=205")
    assert contents(domain) == before


@pytest.mark.parametrize("step", ["check", "make", "mark_parent", "publish"])
async def test_a_failure_leaves_all_as_it_was(tmp_path: Path, step: str) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (base,) = await chain(domain, COW)
    before = contents(domain)
    async with asked(tmp_path, setting=failing_after(VolumeCreate, step)) as agent:
        again = Domain(agent, domain.id)
        upon = {"srcImgUUID": image, "srcVolUUID": base}
        assert await again.create(image, fresh(), size=2 * MIB, **upon) == UNDONE
        assert await again.create(fresh(), fresh()) == UNDONE
    assert contents(domain) == before


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_full_disk_is_a_clean_failure(domain: Domain, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    image, (base,) = await chain(domain, COW)
    params = {"size": 2 * MIB, "srcImgUUID": image, "srcVolUUID": base, "initialSize": MIB}
    result, undone = await fail_at_each_effect(
        monkeypatch, lambda: domain.create(image, fresh(), **params), lambda: contents(domain), side
    )
    assert result == "success"
    assert undone > 6


async def reverted(domain: Domain, task_id: str) -> tuple[str, int, str]:
    await domain.asked.call("Task.revert", {"taskID": task_id})
    return await domain.asked.result(task_id)


async def test_a_volume_that_is_reverted_goes_and_its_parent_is_a_leaf_again(domain: Domain) -> None:
    image, (base,) = await chain(domain, COW)
    before = contents(domain)
    params = domain.create_params(image, fresh(), size=2 * MIB, srcImgUUID=image, srcVolUUID=base)
    task_id = await domain.asked.call("Volume.create", params)
    assert await domain.asked.result(task_id) == SUCCESS
    assert (await reverted(domain, task_id))[:2] == ("cleanSuccess", Code.ABORTED)
    assert contents(domain) == before


async def test_a_volume_upon_which_another_one_was_built_is_not_reverted(domain: Domain) -> None:
    image, (base,) = await chain(domain, COW)
    middle = fresh()
    params = domain.create_params(image, middle, size=2 * MIB, srcImgUUID=image, srcVolUUID=base)
    task_id = await domain.asked.call("Volume.create", params)
    assert await domain.asked.result(task_id) == SUCCESS
    assert await domain.create(image, fresh(), size=2 * MIB, srcImgUUID=image, srcVolUUID=middle) == SUCCESS
    before = contents(domain)
    result, _, message = await reverted(domain, task_id)
    assert result == "cleanFailure"
    assert f"is built upon volume {middle} of image {image}; remove it first" in message
    assert contents(domain) == before


async def test_reverting_a_volume_that_was_deleted_since_changes_nothing(domain: Domain) -> None:
    image, (base,) = await chain(domain, COW)
    volume = fresh()
    params = domain.create_params(image, volume, size=2 * MIB, srcImgUUID=image, srcVolUUID=base)
    task_id = await domain.asked.call("Volume.create", params)
    assert await domain.asked.result(task_id) == SUCCESS
    await domain.asked.result(await domain.asked.call("Volume.delete", {**domain.names(image), "volumeID": volume}))
    before = contents(domain)
    assert (await reverted(domain, task_id))[:2] == ("cleanSuccess", Code.ABORTED)
    assert contents(domain) == before


async def test_a_parent_whose_size_cannot_be_understood_is_named(domain: Domain) -> None:
    image, (parent,) = await chain(domain, COW)
    change_meta(domain, image, parent, CAP="many")
    code, message = (await domain.create(image, fresh(), srcImgUUID=image, srcVolUUID=parent))[1:]
    error = f"{domain.path(image, parent)}.meta has no number as CAP; restore it"
    assert (code, message) == (207, f"value={error} abortedcode=207")


async def test_a_description_that_was_left_behind_is_not_taken_for_that_of_the_new_volume(domain: Domain) -> None:
    image, (_, top) = await chain(domain, COW, COW)
    domain.path(image, top).unlink()
    before = contents(domain)
    code, message = (await domain.create(image, top))[1:]
    error = f"{domain.path(image, top)}.meta exists already; choose another volume id"
    assert (code, message) == (212, f"value={error} abortedcode=212")
    assert contents(domain) == before


async def test_a_volume_whose_agent_was_killed_just_after_the_last_rename_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
    image, volume, task_id = fresh(), fresh(), fresh()
    described = domain.images / image / f"{volume}.meta"
    fsync_folder, synced = durable.fsync_folder, list[Path]()

    def dying_there(path: Path) -> None:
        if described.exists():
            raise FsyncFailed(path, OSError(0, "the agent is dead"))
        fsync_folder(path)

    def syncing(path: Path) -> None:
        fsync_folder(path)
        synced.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "fsync_folder", dying_there)
        try:
            async with asked(tmp_path, setting=dying()) as agent:
                await agent.call("Volume.create", {**domain.create_params(image, volume), "taskID": task_id})
                await agent.result(task_id)
        except* Died:
            assert described.exists()
    monkeypatch.setattr(durable, "fsync_folder", syncing)
    async with asked(tmp_path, setting=dying()) as agent:
        assert await agent.result(task_id) == SUCCESS
    assert described.parent in synced


@pytest.mark.parametrize(
    "is_after", [pytest.param(False, id="before", marks=pytest.mark.long), pytest.param(True, id="after")]
)
async def test_it_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (parent,) = await chain(domain, COW)
    volumes = [parent]
    for number in range(1, 40):
        death = Death(number, is_after)
        params = domain.create_params(
            image, fresh(), size=2 * MIB, srcImgUUID=image, srcVolUUID=volumes[-1], initialSize=MIB
        )
        assert await carry_through(tmp_path, monkeypatch, dying(), death, "Volume.create", params) == SUCCESS, number
        volumes.append(params["volumeID"])
        assert domain.files() == sorted(
            [image, *(f"{image}/{each}{kind}" for each in volumes for kind in ("", ".meta"))]
        )
        assert [metadata(domain, image, each)["VOLTYPE"] for each in volumes[-2:]] == ["INTERNAL", "LEAF"]
        if not death.has_come:
            break
    assert 6 < number < 39


@pytest.mark.parametrize(
    "is_after", [pytest.param(False, id="before", marks=pytest.mark.long), pytest.param(True, id="after")]
)
async def test_undone_it_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (base,) = await chain(domain, COW)
    before = contents(domain)
    setting = failing_after(VolumeCreate, "publish")
    for number in range(1, 100):
        death = Death(number, is_after)
        params = domain.create_params(image, fresh(), size=2 * MIB, srcImgUUID=image, srcVolUUID=base)
        assert await carry_through(tmp_path, monkeypatch, setting, death, "Volume.create", params) == UNDONE, number
        assert contents(domain) == before
        if not death.has_come:
            break
    assert number > 10
