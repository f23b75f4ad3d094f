"""Volume.extendSize: larger in file and description alike, or as before."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.verbs import Code, VolumeExtendSize
from tests.agent.asked import Domain, asked
from tests.agent.processes import until
from tests.agent.verbs.dying import Death, carry_through, dying, failing_after
from tests.agent.verbs.images import (
    COW,
    MIB,
    RAW,
    chain,
    change_meta,
    contents,
    fail_at_each_effect,
    image_info,
    is_same,
    metadata,
    outlives,
    program,
)

SUCCESS = ("success", 0, "4 jobs completed successfully")
#: Of a task whose child was never begun, although it was about to be.
INTERRUPTED = ("cleanSuccess", Code.INTERRUPTED)
UNDONE = ("cleanSuccess", 100, "value=the test wants it so abortedcode=100")


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


async def start(domain: Domain, image: str, volume: str, size: int) -> str:
    params = {**domain.names(image), "volumeID": volume, "newSize": size}
    task_id: str = await domain.asked.call("Volume.extendSize", params)
    return task_id


async def extend(domain: Domain, image: str, volume: str, size: int) -> tuple[str, int, str]:
    return await domain.asked.result(await start(domain, image, volume, size))


def sizes(domain: Domain, image: str, volume: str) -> tuple[int, str]:
    """What the file has and what the description says."""
    return image_info(domain.path(image, volume))["virtual-size"], metadata(domain, image, volume)["CAP"]


@pytest.mark.parametrize("kind", [RAW, COW])
async def test_a_leaf_is_made_larger_and_keeps_what_it_holds(domain: Domain, kind: int) -> None:
    image, (volume,) = await chain(domain, kind)
    former = domain.images / "former"
    shutil.copy(domain.path(image, volume), former)
    meta = metadata(domain, image, volume)
    assert await extend(domain, image, volume, 5 * MIB) == SUCCESS
    assert image_info(domain.path(image, volume))["virtual-size"] == 5 * MIB
    assert is_same(former, domain.path(image, volume))  # which takes what is new for zeros
    former.unlink()
    assert metadata(domain, image, volume) == {**meta, "CAP": str(5 * MIB)}
    assert domain.files() == [image, f"{image}/{volume}", f"{image}/{volume}.meta"]


async def test_the_leaf_of_a_chain_is_made_larger_without_its_parent(domain: Domain) -> None:
    image, (base, top) = await chain(domain, RAW, COW)
    assert await extend(domain, image, top, 10 * MIB) == SUCCESS
    assert sizes(domain, image, top) == (10 * MIB, str(10 * MIB))
    assert sizes(domain, image, base) == (4 * MIB, str(4 * MIB))
    assert image_info(domain.path(image, top))["backing-filename"] == base


@pytest.mark.parametrize(("preallocate", "is_allocated"), [(1, True), (2, False)])
async def test_what_is_new_takes_its_room_at_once_if_all_of_the_volume_does(
    domain: Domain, preallocate: int, is_allocated: bool
) -> None:
    image, volume = await domain.volume(volFormat=RAW, preallocate=preallocate)
    assert await extend(domain, image, volume, 4 * MIB) == SUCCESS
    stat = domain.path(image, volume).stat()
    assert stat.st_size == 4 * MIB
    assert (stat.st_blocks * 512 >= 4 * MIB) is is_allocated


async def test_a_size_is_rounded_up_to_whole_sectors(domain: Domain) -> None:
    for kind in (RAW, COW):
        image, volume = await domain.volume(volFormat=kind)
        assert await extend(domain, image, volume, 2 * MIB + 1) == SUCCESS
        assert sizes(domain, image, volume) == (2 * MIB + 512, str(2 * MIB + 512))


async def test_the_size_that_it_has_is_a_success_without_effect(domain: Domain) -> None:
    for kind in (RAW, COW):
        image, volume = await domain.volume(volFormat=kind)
        before = contents(domain)
        assert await extend(domain, image, volume, MIB) == SUCCESS
        assert contents(domain) == before


async def test_a_volume_never_shrinks(domain: Domain) -> None:
    image, volume = await domain.volume()
    before = contents(domain)
    error = f"volume {volume} has {MIB} bytes, more than {MIB - 512}; it never shrinks"
    assert await extend(domain, image, volume, MIB - 512) == (
        "cleanSuccess",
        232,
        f"value={error} abortedcode=232",
    )
    assert contents(domain) == before


async def test_only_a_leaf_that_is_to_be_relied_on_is_extended(domain: Domain) -> None:
    image, (base, top) = await chain(domain, COW, COW)
    template, (shared,) = await chain(domain, COW)
    change_meta(domain, template, shared, VOLTYPE="SHARED")
    illegal, (unsure,) = await chain(domain, COW)
    change_meta(domain, illegal, unsure, LEGALITY="ILLEGAL")
    lying, (liar,) = await chain(domain, RAW)
    change_meta(domain, lying, liar, FORMAT="COW")
    before = contents(domain)
    found = [
        (await extend(domain, *names, 16 * MIB))[:2]
        for names in ((image, base), (template, shared), (illegal, unsure), (lying, liar), (image, illegal))
    ]
    assert found == [
        ("cleanSuccess", Code.INTERNAL_VOLUME_NON_WRITABLE),
        ("cleanSuccess", Code.SHARED_VOLUME_NON_WRITABLE),
        ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME),
        ("cleanSuccess", Code.IMAGE_NOT_OURS),
        ("cleanSuccess", Code.VOLUME_DOES_NOT_EXIST),
    ]
    assert contents(domain) == before
    assert await extend(domain, image, top, 16 * MIB) == SUCCESS


async def test_a_size_that_no_file_can_have_is_a_clean_failure(domain: Domain) -> None:
    for kind in (RAW, COW):
        image, volume = await domain.volume(volFormat=kind)
        before = contents(domain)
        assert (await extend(domain, image, volume, 8 << 60))[:2] == ("cleanSuccess", Code.VOLUME_EXTENDING_ERROR)
        assert contents(domain) == before


async def test_a_program_that_finds_the_disk_full_half_way_is_a_clean_failure(tmp_path: Path) -> None:
    """As far as it came, the file is cut to its former size."""
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, volume = await domain.volume(volFormat=RAW, preallocate=1)
    before = contents(domain)
    broken = program(
        tmp_path,
        'case "$*" in *--shrink*) ;; resize*)',
        'for each; do file=$size; size=$each; done; truncate -s 2M "$file"',
        'echo "qemu-img: No space left on device" >&2; exit 1;; esac',
    )
    async with asked(tmp_path, qemu_img=broken) as agent:
        result = await extend(Domain(agent, domain.id), image, volume, 4 * MIB)
    assert result == ("cleanSuccess", 4706, "value=qemu-img: No space left on device abortedcode=4706")
    assert contents(domain) == before


@pytest.mark.parametrize("kind", [RAW, COW])
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_full_disk_is_a_clean_failure(
    domain: Domain, monkeypatch: pytest.MonkeyPatch, kind: int, side: str
) -> None:
    image, (volume,) = await chain(domain, kind)
    result, undone = await fail_at_each_effect(
        monkeypatch, lambda: extend(domain, image, volume, 4 * MIB), lambda: contents(domain), side
    )
    assert result == "cleanFailure"  # only the rename of the description cannot be undone, and it needs no room
    assert undone > 5


async def test_a_stop_in_the_middle_leaves_the_former_size(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (volume,) = await chain(domain, COW)
    before = contents(domain)
    slow = held_after_resizing(tmp_path)
    async with asked(tmp_path, qemu_img=slow) as agent:
        task_id = await start(Domain(agent, domain.id), image, volume, 4 * MIB)
        await until((tmp_path / "resized").exists, "the file has its new size")
        await agent.call("Task.stop", {"taskID": task_id})
        assert await agent.result(task_id) == ("cleanSuccess", 411, "value=the task was stopped abortedcode=411")
    assert contents(domain) == before


@outlives
async def test_the_child_is_found_again_by_the_next_agent(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (volume,) = await chain(domain, COW)
    slow = held_after_resizing(tmp_path)
    async with asked(tmp_path, qemu_img=slow) as agent:
        task_id = await start(Domain(agent, domain.id), image, volume, 4 * MIB)
        await until((tmp_path / "resized").exists, "the file has its new size")
    assert sizes(domain, image, volume) == (4 * MIB, str(2 * MIB))
    (tmp_path / "go").touch()
    async with asked(tmp_path) as agent:
        assert await agent.result(task_id) == SUCCESS
    assert sizes(domain, image, volume) == (4 * MIB, str(4 * MIB))
    assert (tmp_path / "resized").read_text() == "once\n"


def held_after_resizing(folder: Path) -> str:
    """A qemu-img that makes an image larger and stays until told to go."""
    return program(
        folder,
        'case "$*" in *--shrink*) ;; resize*)',
        f'qemu-img "$@" || exit; echo once >>"{folder}/resized"',
        f'for _ in $(seq 600); do [ -e "{folder}/go" ] && exit; sleep 0.1; done; exit 1;; esac',
    )


@pytest.mark.parametrize("step", ["check", "prepare", "extend"])
@pytest.mark.parametrize("kind", [RAW, COW])
async def test_a_failure_leaves_all_as_it_was(tmp_path: Path, step: str, kind: int) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (volume,) = await chain(domain, kind)
    before = contents(domain)
    async with asked(tmp_path, setting=failing_after(VolumeExtendSize, step)) as agent:
        assert await extend(Domain(agent, domain.id), image, volume, 4 * MIB) == UNDONE
    assert contents(domain) == before


async def test_a_description_that_was_left_behind_its_file_is_set_right(domain: Domain) -> None:
    image, (volume,) = await chain(domain, COW)
    change_meta(domain, image, volume, CAP=str(MIB))
    left = domain.path(image, f"{volume}.meta.next")
    left.write_text("of a task that was given up")
    assert await extend(domain, image, volume, 2 * MIB) == SUCCESS
    assert sizes(domain, image, volume) == (2 * MIB, str(2 * MIB))
    assert not left.exists()


async def test_a_volume_that_was_extended_is_not_cut_again(domain: Domain) -> None:
    """Somebody may have written what was new."""
    image, (volume,) = await chain(domain, COW)
    task_id = await start(domain, image, volume, 4 * MIB)
    assert await domain.asked.result(task_id) == SUCCESS
    code, _ = await domain.asked.code("Task.revert", {"taskID": task_id})
    assert (code, sizes(domain, image, volume)) == (Code.TRANSITION, (4 * MIB, str(4 * MIB)))


@outlives
@pytest.mark.parametrize(
    "is_after", [pytest.param(False, id="before", marks=pytest.mark.long), pytest.param(True, id="after")]
)
async def test_it_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (volume,) = await chain(domain, COW)
    before = contents(domain)
    shutil.move(domain.images / image, tmp_path / "kept")
    for number in range(1, 100):
        shutil.copytree(tmp_path / "kept", domain.images / image, dirs_exist_ok=True)
        death = Death(number, is_after)
        params = {**domain.names(image), "volumeID": volume, "newSize": 4 * MIB}
        result = await carry_through(tmp_path, monkeypatch, dying(), death, "Volume.extendSize", params)
        if result[:2] == INTERRUPTED:
            assert contents(domain) == before, number
        else:
            assert result == SUCCESS, number
            assert sizes(domain, image, volume) == (4 * MIB, str(4 * MIB))
            assert domain.files() == [image, f"{image}/{volume}", f"{image}/{volume}.meta"]
        if not death.has_come:
            break
    assert number > 10


@outlives
@pytest.mark.long
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
async def test_undone_it_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, (volume,) = await chain(domain, COW)
    before = contents(domain)
    setting = failing_after(VolumeExtendSize, "extend")
    for number in range(1, 100):
        death = Death(number, is_after)
        params = {**domain.names(image), "volumeID": volume, "newSize": 4 * MIB}
        result = await carry_through(tmp_path, monkeypatch, setting, death, "Volume.extendSize", params)
        assert result == UNDONE or result[:2] == INTERRUPTED, number
        assert contents(domain) == before
        if not death.has_come:
            break
    assert number > 10
