"""Image.move on real files: what it makes, what it refuses, and that a failure leaves both domains as they were."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.agent import durable
from interlock.verbs import BLANK_ID, Code
from tests.agent.asked import Domain, fresh
from tests.agent.verbs.images import (
    COPY,
    COW,
    MIB,
    MOVE,
    RAW,
    Gate,
    Two,
    chain,
    change_meta,
    fail_at_each_effect,
    image_info,
    is_same,
    metadata,
    outlives,
    program,
    progress,
    progressed,
    shows,
    two_domains,
)

COPIED = ("success", 0, "5 jobs completed successfully")
MOVED = ("success", 0, "7 jobs completed successfully")


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with two_domains(tmp_path) as found:
        yield found


def shown(domain: Domain, image: str, volumes: list[str], kinds: tuple[int, ...]) -> list[str]:
    return [shows(domain.path(image, volume), kind) for volume, kind in zip(volumes, kinds, strict=True)]


@pytest.mark.parametrize("kinds", [(COW,), (RAW,), (COW, COW, COW), (RAW, COW)])
async def test_a_copied_image_shows_the_same_at_every_volume(two: Two, kinds: tuple[int, ...]) -> None:
    image, volumes = await chain(two.source, *kinds)
    expected = shown(two.source, image, volumes, kinds)
    before, _ = two.files()
    assert await two.run("Image.move", image, operation=COPY) == COPIED
    assert two.files()[0] == before
    assert shown(two.target, image, volumes, kinds) == expected
    assert two.target.files() == two.source.files()
    assert list((two.asked.root.parent / "state" / "jobs").iterdir()) == []


async def test_a_copy_is_described_as_its_source_but_for_the_domain(two: Two) -> None:
    image, volumes = await chain(two.source, RAW, COW)
    change_meta(two.source, image, volumes[1], GEN="7", CTIME="1234")
    await two.run("Image.move", image, operation=COPY)
    for volume in volumes:
        assert metadata(two.target, image, volume) == {**metadata(two.source, image, volume), "DOMAIN": two.target.id}
    assert metadata(two.target, image, volumes[1])["PUUID"] == volumes[0]


async def test_a_copied_chain_holds_at_each_volume_only_what_is_its_own(two: Two) -> None:
    image, (base, middle, top) = await chain(two.source, COW, COW, COW, mib=4)
    await two.run("Image.move", image, operation=COPY)
    assert image_info(two.target.path(image, top))["backing-filename"] == middle
    assert image_info(two.target.path(image, middle))["backing-filename"] == base
    for volume in (base, middle, top):
        info = image_info(two.target.path(image, volume))
        assert (info["virtual-size"], info["actual-size"] < 5 * MIB) == (24 * MIB, True)


@pytest.mark.parametrize(("preallocate", "is_full"), [(1, True), (2, False)])
async def test_a_raw_copy_takes_its_room_as_the_source_does(two: Two, preallocate: int, is_full: bool) -> None:
    image, volume = await two.source.volume(volFormat=RAW, size=4 * MIB, preallocate=preallocate)
    assert await two.run("Image.move", image, operation=COPY) == COPIED
    status = two.target.path(image, volume).stat()
    assert (status.st_size, status.st_blocks * 512 >= 4 * MIB) == (4 * MIB, is_full)


async def test_a_moved_image_is_gone_from_its_domain(two: Two) -> None:
    image, volumes = await chain(two.source, COW, COW)
    other, _ = await chain(two.source, COW)
    expected = shown(two.source, image, volumes, (COW, COW))
    assert await two.run("Image.move", image, operation=MOVE) == MOVED
    assert {name.split("/")[0] for name in two.source.files()} == {other}
    assert shown(two.target, image, volumes, (COW, COW)) == expected


async def test_the_source_is_overwritten_before_it_is_removed_if_that_is_asked_for(two: Two, tmp_path: Path) -> None:
    image, (volume,) = await chain(two.source, RAW)
    with two.source.path(image, volume).open("rb") as held:  # open, it can still be read when it has no name
        assert await two.run("Image.move", image, operation=MOVE, postZero=True) == MOVED
        assert held.read() == bytes(2 * MIB)
    assert two.source.files() == []
    assert shows(two.target.path(image, volume), RAW) != ""


async def test_an_image_upon_a_template_goes_only_where_the_template_is(two: Two) -> None:
    plain, (volume,) = await chain(two.source, COW)
    template = (fresh(), fresh())
    assert (await two.source.copy(plain, volume, template, volType=6))[0] == "success"
    image, (top,) = await chain(two.source, COW, upon=template)
    before = two.files()
    result = await two.run("Image.move", image, operation=COPY)
    error = (
        f"volume {template[1]} of image {template[0]}, upon which the image is built, does not exist in domain "
        f"{two.target.id}; copy that image there first"
    )
    assert result == ("cleanSuccess", 201, f"value={error} abortedcode=201")
    assert two.files() == before
    assert await two.run("Image.move", template[0], operation=COPY) == COPIED
    assert await two.run("Image.move", image, operation=MOVE) == MOVED
    assert image_info(two.target.path(image, top))["backing-filename"] == f"../{template[0]}/{template[1]}"
    assert metadata(two.target, template[0], template[1])["VOLTYPE"] == "SHARED"


async def test_a_template_with_children_is_copied_and_not_moved(two: Two) -> None:
    plain, (volume,) = await chain(two.source, COW)
    template = (fresh(), fresh())
    await two.source.copy(plain, volume, template, volType=6)
    _, (top,) = await chain(two.source, COW, upon=template)
    before = two.files()
    result = await two.run("Image.move", template[0], operation=MOVE)
    error = f"volume {top} is built upon image {template[0]} of domain {two.source.id}; remove it first"
    assert result == ("cleanSuccess", 204, f"value={error} abortedcode=204")
    assert two.files() == before
    assert await two.run("Image.move", template[0], operation=COPY) == COPIED


@pytest.mark.parametrize("way", ["moved", "replaced"])
async def test_an_image_that_came_upon_a_template_while_that_was_copied_keeps_it(tmp_path: Path, way: str) -> None:
    gate = Gate(tmp_path)
    async with two_domains(tmp_path, qemu_img=gate.qemu_img) as two:
        plain, (volume,) = await chain(two.source, COW)
        template = (fresh(), fresh())
        for domain in (two.source, two.target):
            await two.source.copy(plain, volume, template, volType=6, dstSdUUID=domain.id)
        child, (top,) = await chain(two.source, COW, upon=template)
        gate.shut()
        if way == "moved":
            third = await two.asked.domain()
            params = {**two.target.names(template[0]), "dstSdUUID": third.id, "operation": MOVE}
            task_id = await two.asked.call("Image.move", params)
        else:
            task_id = await two.start("Image.move", template[0], operation=COPY, force=True)
        await gate.reached()
        assert await two.run("Image.move", child, operation=COPY) == COPIED
        before = two.target.files()
        gate.open()
        error = f"volume {top} has been built upon image {template[0]} of domain {two.target.id}; remove it first"
        assert await two.asked.result(task_id) == ("cleanSuccess", 204, f"value={error} abortedcode=204")
        assert {name for name in two.target.files() if "_new_" not in name} == {
            name for name in before if "_new_" not in name
        }
        assert is_same(two.source.path(child, top), two.target.path(child, top))


@pytest.mark.parametrize("method", ["Image.move", "Image.cloneStructure"])
async def test_the_names_of_the_volumes_are_durable_before_the_image_has_its_name(
    two: Two, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, volumes = await chain(two.source, COW, COW)
    made = two.target.images / f"_new_{image}"
    durably = set[str]()
    fsync_folder, rename = durable.fsync_folder, durable.rename

    def syncing(path: Path) -> None:
        fsync_folder(path)
        if path == made:
            durably.update(each.name for each in path.iterdir())

    def renaming(source: Path, target: Path) -> None:
        if source == made:
            assert durably >= set(volumes)
        rename(source, target)

    monkeypatch.setattr(durable, "fsync_folder", syncing)
    monkeypatch.setattr(durable, "rename", renaming)
    result = await two.run(method, image, **({"operation": COPY} if method == "Image.move" else {}))
    assert result[0] == "success"
    assert durably >= set(volumes)


async def test_an_image_that_is_there_already_is_replaced_only_by_force(two: Two) -> None:
    image, (base, top) = await chain(two.source, COW, COW)
    assert await two.run("Image.move", image, operation=COPY) == COPIED
    result, _, _ = await two.target.create(image, fresh(), srcImgUUID=image, srcVolUUID=top, size=4 * MIB)
    assert result == "success"
    before = two.files()
    error = f"image {image} exists in domain {two.target.id} already; delete it first"
    assert await two.run("Image.move", image, operation=COPY) == (
        "cleanSuccess",
        265,
        f"value={error} abortedcode=265",
    )
    assert two.files() == before
    assert await two.run("Image.move", image, operation=COPY, force=True) == MOVED
    assert two.target.files() == [
        image,
        *sorted(f"{image}/{each}{end}" for each in (base, top) for end in ("", ".meta")),
    ]


async def test_force_does_not_replace_what_others_are_built_upon(two: Two) -> None:
    plain, (volume,) = await chain(two.source, COW)
    template = (fresh(), fresh())
    await two.source.copy(plain, volume, template, volType=6)
    await two.run("Image.move", template[0], operation=COPY)
    await chain(two.target, COW, upon=template)
    before = two.files()
    assert (await two.run("Image.move", template[0], operation=COPY, force=True))[:2] == (
        "cleanSuccess",
        Code.IMAGE_HAS_CHILDREN,
    )
    assert two.files() == before


async def test_force_replaces_nothing_where_nothing_is(two: Two) -> None:
    image, volumes = await chain(two.source, COW)
    assert await two.run("Image.move", image, operation=COPY, force=True) == MOVED
    assert is_same(two.source.path(image, volumes[0]), two.target.path(image, volumes[0]))


async def test_an_image_that_is_not_there(two: Two) -> None:
    image = fresh()
    error = f"Image does not exist in domain: image={image}, domain={two.source.id}"
    assert await two.run("Image.move", image, operation=COPY) == ("cleanSuccess", 268, f"value={error} abortedcode=268")
    assert two.target.files() == []


async def broken_two_leaves(two: Two, image: str, volumes: list[str]) -> None:
    change_meta(two.source, image, volumes[1], PUUID=BLANK_ID)


async def broken_no_base(two: Two, image: str, volumes: list[str]) -> None:
    two.source.path(image, volumes[0]).unlink()
    two.source.path(image, f"{volumes[0]}.meta").unlink()


async def broken_no_file(two: Two, image: str, volumes: list[str]) -> None:
    two.source.path(image, volumes[0]).unlink()


async def broken_undescribed(two: Two, image: str, volumes: list[str]) -> None:
    two.source.path(image, fresh()).touch()


async def broken_no_volumes(two: Two, image: str, volumes: list[str]) -> None:
    for path in (two.source.images / image).iterdir():
        path.unlink()


async def broken_ring(two: Two, image: str, volumes: list[str]) -> None:
    change_meta(two.source, image, volumes[0], PUUID=volumes[1])


async def broken_other_parent(two: Two, image: str, volumes: list[str]) -> None:
    change_meta(two.source, image, volumes[0], PUUID=fresh())


@pytest.mark.parametrize(
    ("breaking", "fact"),
    [
        (broken_two_leaves, "it has 2 leaves"),
        (broken_no_base, "does not exist in"),
        (broken_no_file, "does not exist in"),
        (broken_undescribed, "has no description"),
        (broken_no_volumes, "it has no volumes"),
        (broken_ring, "it has 0 leaves"),
        (broken_other_parent, "name different parents"),
    ],
    ids=["two leaves", "no base", "no file", "undescribed", "no volumes", "ring", "other parent"],
)
async def test_an_image_that_is_no_chain_is_refused(two: Two, breaking: Any, fact: str) -> None:
    image, volumes = await chain(two.source, COW, COW)
    await breaking(two, image, volumes)
    before = two.files()
    result, code, message = await two.run("Image.move", image, operation=MOVE)
    assert (result, code, fact in message) == ("cleanSuccess", Code.IMAGE_IS_NOT_LEGAL_CHAIN, True), message
    assert two.files() == before


async def test_an_illegal_volume_is_no_source(two: Two) -> None:
    image, volumes = await chain(two.source, COW, COW)
    change_meta(two.source, image, volumes[0], LEGALITY="ILLEGAL")
    before = two.files()
    result = await two.run("Image.move", image, operation=COPY)
    error = f"volume {volumes[0]} in {two.source.images / image} is ILLEGAL and no source; fill or remove it"
    assert result == ("cleanSuccess", 227, f"value={error} abortedcode=227")
    assert two.files() == before


async def test_a_link_in_place_of_a_volume_is_refused(two: Two) -> None:
    image, (volume,) = await chain(two.source, RAW)
    path = two.source.path(image, volume)
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert (await two.run("Image.move", image, operation=COPY))[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)
    assert two.target.files() == []


@pytest.mark.parametrize("method", ["Image.move", "Image.syncData", "Volume.copy"])
async def test_a_header_that_qemu_img_reads_otherwise_is_refused(tmp_path: Path, method: str) -> None:
    async with two_domains(tmp_path) as two:
        image, (volume,) = await chain(two.source, COW)
        if method == "Image.syncData":
            await two.run("Image.cloneStructure", image)
    told = '{"virtual-size": 2097152, "backing-filename": "/etc/shadow"}'
    misreading = program(tmp_path, f"[ \"$1\" = info ] && {{ echo '{told}'; exit 0; }}")
    async with two_domains(tmp_path, qemu_img=misreading) as two:
        before = two.files()
        if method == "Volume.copy":
            result = await two.source.copy(image, volume, (fresh(), fresh()))
        else:
            result = await two.run(method, image, **({"operation": COPY} if method == "Image.move" else {}))
        error = f"{two.source.path(image, volume)}: its header and qemu-img name different parents"
        assert result == ("cleanSuccess", 4705, f"value={error} abortedcode=4705")
        assert two.files() == before


@pytest.mark.parametrize("method", ["Image.move", "Image.syncData", "Volume.copy"])
async def test_every_copy_is_bounded_in_its_rate_and_its_memory(tmp_path: Path, method: str) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=4 * MIB) as two:
        image, (volume,) = await chain(two.source, COW, mib=8)
        if method == "Image.syncData":
            await two.run("Image.cloneStructure", image)
        calls = {
            "Image.move": two.params(image, operation=COPY),
            "Image.syncData": two.params(image),
            "Volume.copy": two.source.copy_params(image, volume, (fresh(), fresh())),
        }
        task_id = await two.asked.call(method, calls[method])
        await progressed(two.asked, task_id, 1)
        (child,) = (tmp_path / "state" / "jobs" / task_id).iterdir()
        process = Path("/proc") / (child / "stat").read_text().split()[0]
        command = (process / "cmdline").read_bytes().split(b"\0")
        limits = {line[:26].strip(): line[26:].split() for line in (process / "limits").read_text().splitlines()}
        assert command[command.index(b"-r") + 1] == b"4194304"
        assert limits["Max data size"][:2] == ["2147483648", "2147483648"]
        await two.asked.call("Task.stop", {"taskID": task_id})
        assert (await two.asked.result(task_id))[1] == Code.ABORTED


async def test_other_files_in_the_folder_are_left_behind(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    two.source.path(image, f"{volume}.part").write_text("of a task that was given up")
    assert await two.run("Image.move", image, operation=MOVE) == MOVED
    assert two.target.files() == [image, f"{image}/{volume}", f"{image}/{volume}.meta"]
    assert two.source.files() == []


async def test_what_an_earlier_attempt_left_aside_is_in_nobodys_way(two: Two) -> None:
    image, (volume,) = await chain(two.source, COW)
    left = two.target.images / f"_new_{image}"
    left.mkdir()
    (left / fresh()).write_text("half a volume")
    assert await two.run("Image.move", image, operation=COPY) == COPIED
    assert two.target.files() == [image, f"{image}/{volume}", f"{image}/{volume}.meta"]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (['[ "$1" = convert ] && case "$*" in *{top}*) echo "it broke" >&2; exit 3;; esac'], Code.MOVE_IMAGE_ERROR),
        (['[ "$1" = convert ] && { echo "No space left on device" >&2; exit 1; }'], Code.NO_SPACE),
        (['[ "$1" = check ] && { echo "Leaked cluster" >&2; exit 3; }'], Code.VOLUME_COPY_ERROR),
    ],
    ids=["second copy", "full disk", "check"],
)
async def test_a_copy_that_fails_leaves_both_domains_as_they_were(tmp_path: Path, lines: list[str], code: Code) -> None:
    async with two_domains(tmp_path) as two:
        image, volumes = await chain(two.source, COW, COW)
    failing = program(tmp_path, *(line.replace("{top}", volumes[1]) for line in lines))
    async with two_domains(tmp_path, qemu_img=failing) as two:
        before = two.files()
        assert (await two.run("Image.move", image, operation=MOVE))[:2] == ("cleanSuccess", code)
        assert two.files() == before


def whole(domain: Domain) -> list[str]:
    """What is not being removed."""
    return [name for name in domain.files() if not name.startswith("_remove_")]


@pytest.mark.long
@pytest.mark.parametrize("side", ["before", "after"])
async def test_whatever_fails_before_the_source_is_removed_is_undone(
    two: Two, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    image, _ = await chain(two.source, COW, COW)
    await two.run("Image.move", image, operation=COPY)
    assert (await two.target.create(image, fresh(), volFormat=RAW))[0] == "success"  # what `force` replaces differs

    async def run() -> tuple[str, int, str]:
        return await two.run("Image.move", image, operation=MOVE, force=True)

    result, undone = await fail_at_each_effect(monkeypatch, run, two.files, side)
    assert (result, undone > 15) == ("cleanFailure", True)
    assert (len(whole(two.target)), whole(two.source)) == (5, [])


async def test_a_move_that_is_stopped_leaves_both_domains_as_they_were(tmp_path: Path) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=4 * MIB) as two:
        image, _ = await chain(two.source, COW, COW, mib=8)
        before = two.files()
        task_id = await two.start("Image.move", image, operation=MOVE)
        await progressed(two.asked, task_id, 1)
        assert await two.asked.call("Task.stop", {"taskID": task_id}) is True
        assert await two.asked.result(task_id) == (
            "cleanSuccess",
            Code.ABORTED,
            "value=the task was stopped abortedcode=411",
        )
        assert two.files() == before


async def test_the_progress_is_over_all_volumes_and_never_goes_back(tmp_path: Path) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=16 * MIB) as two:
        image, _ = await chain(two.source, COW, COW, COW, mib=8)
        task_id = await two.start("Image.move", image, operation=COPY)
        seen = await progress(two.asked, task_id)
        assert seen == sorted(seen)
        assert [any(low < percent <= high for percent in seen) for low, high in ((0, 33), (33, 66), (66, 99))] == [
            True,
            True,
            True,
        ]


@outlives
async def test_an_agent_that_comes_back_goes_on_with_the_copy(tmp_path: Path) -> None:
    async with two_domains(tmp_path, copy_rate_bytes_per_s=8 * MIB) as two:
        image, volumes = await chain(two.source, COW, COW, mib=8)
        expected = shown(two.source, image, volumes, (COW, COW))
        task_id = await two.start("Image.move", image, operation=MOVE)
        await progressed(two.asked, task_id, 10)
        identity = (tmp_path / "state" / "jobs" / task_id / volumes[0] / "stat").read_bytes()
    async with two_domains(tmp_path) as two:
        await progressed(two.asked, task_id, 10)
        assert (tmp_path / "state" / "jobs" / task_id / volumes[0] / "stat").read_bytes() == identity
        assert await two.asked.result(task_id) == MOVED
        assert shown(two.target, image, volumes, (COW, COW)) == expected
        assert two.source.files() == []


async def test_a_copy_can_be_reverted(two: Two) -> None:
    image, _ = await chain(two.source, COW, COW)
    before = two.files()
    task_id = await two.start("Image.move", image, operation=COPY)
    assert await two.asked.result(task_id) == COPIED
    await two.asked.call("Task.revert", {"taskID": task_id})
    assert (await two.asked.result(task_id))[:2] == ("cleanSuccess", Code.ABORTED)
    assert two.files() == before


async def test_a_copy_that_is_more_than_its_source_by_now_is_not_reverted(two: Two) -> None:
    image, (_, top) = await chain(two.source, COW, COW)
    task_id = await two.start("Image.move", image, operation=COPY)
    assert await two.asked.result(task_id) == COPIED
    newer = fresh()
    await two.target.create(image, newer, srcImgUUID=image, srcVolUUID=top, size=4 * MIB)
    before = two.files()
    await two.asked.call("Task.revert", {"taskID": task_id})
    result, _, message = await two.asked.result(task_id)
    assert (result, f"has more than its source by now ({newer})" in message) == ("cleanFailure", True)
    assert two.files() == before


async def test_a_copy_that_is_the_only_one_by_now_is_not_reverted(two: Two) -> None:
    image, _ = await chain(two.source, COW, COW)
    task_id = await two.start("Image.move", image, operation=COPY)
    assert await two.asked.result(task_id) == COPIED
    await two.source.delete(image)
    before = two.files()
    await two.asked.call("Task.revert", {"taskID": task_id})
    assert (await two.asked.result(task_id))[0] == "cleanFailure"
    assert two.files() == before


async def test_a_domain_that_was_detached_is_refused(two: Two) -> None:
    image, _ = await chain(two.source, COW)
    for domain in (two.target, two.source):
        path = domain.images.parent / "dom_md" / "metadata"
        former = path.read_text()
        path.write_text(former.replace("EOF", "STATUS=DETACHED\nEOF"))
        before = two.files()
        result, code, message = await two.run("Image.move", image, operation=COPY)
        assert (result, code) == ("cleanSuccess", Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL)
        assert message.startswith(f"value=storage domain {domain.id} was detached")
        assert two.files() == before
        path.write_text(former)
