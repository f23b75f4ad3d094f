"""Image.delete: what is overwritten, what else lies in the folder, and every way in which it is interrupted."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.agent import durable
from interlock.agent.effects import erasing
from interlock.verbs import Code, ImageDelete
from tests.agent.asked import Domain, asked, fresh
from tests.agent.verbs.dying import Death, carry_through, dying, failing_after
from tests.agent.verbs.images import MIB, RAW, contents, progressed

SUCCESS = ("success", 0, "3 jobs completed successfully")
CHUNK = 4096


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


async def holed(domain: Domain) -> tuple[str, Path]:
    """An image of one raw file of 8 MiB with data at its beginning, in its middle, and nowhere else."""
    image, volume = await domain.volume(volFormat=RAW, size=8 * MIB)
    path = domain.path(image, volume)
    descriptor = os.open(path, os.O_WRONLY)
    for place in (0, 5 * MIB):
        os.pwrite(descriptor, b"\xaa" * MIB, place)
    os.close(descriptor)
    return image, path


class Opened:
    """A file held open, which can be looked at when its name is gone."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self.blocks = self.now

    @property
    def now(self) -> int:
        """The room it takes, in 512-byte blocks."""
        return os.fstat(self.descriptor).st_blocks

    def close(self) -> tuple[bool, bool]:
        """Whether it still holds anything but zeros, and whether it takes more room than at first."""
        data = os.pread(self.descriptor, 8 * MIB, 0)
        grown = self.now > self.blocks
        os.close(self.descriptor)
        return any(data), grown


@pytest.mark.parametrize("is_erased", [True, False])
async def test_post_zero_overwrites_what_a_volume_holds_and_fills_no_holes(domain: Domain, is_erased: bool) -> None:
    image, path = await holed(domain)
    opened = Opened(path)
    assert await domain.delete(image, postZero=is_erased) == SUCCESS
    assert domain.files() == []
    assert opened.close() == (not is_erased, False)


async def test_progress_of_post_zero_rises(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_CHUNK_BYTES", MIB // 4)
    image, _ = await holed(domain)
    told: list[int] = []
    table = domain.asked.agent.table
    monkeypatch.setattr(table, "report_progress", lambda task_id, percent: told.append(percent))
    assert await domain.delete(image, postZero=True) == SUCCESS
    assert told == sorted(told)
    assert [percent for percent in told if 0 < percent < 100]


async def test_nothing_outside_the_image_is_touched_whatever_lies_in_its_folder(domain: Domain) -> None:
    image, path = await holed(domain)
    outside = domain.asked.root.parent / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "linked").write_bytes(b"kept")
    (outside / "hard").write_bytes(b"kept too")
    (outside / "folder" / "within").write_bytes(b"kept as well")
    folder = path.parent
    (folder / "link").symlink_to(outside / "linked")
    (folder / "folder").symlink_to(outside / "folder")
    (folder / "nowhere").symlink_to(outside / "absent")
    os.link(outside / "hard", folder / "hard")
    os.mkfifo(folder / "pipe")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").write_bytes(b"goes")
    (domain.images / f"_remove_{image}.link").symlink_to(outside / "folder")
    opened = Opened(folder / "deep" / "er" / "file")
    assert await domain.delete(image, postZero=True) == SUCCESS
    assert opened.close() == (False, False)
    assert domain.files() == [f"_remove_{image}.link"]
    kept = {path.name: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    assert kept == {"linked": b"kept", "hard": b"kept too", "within": b"kept as well"}


async def test_a_file_with_two_names_in_the_image_is_overwritten(domain: Domain) -> None:
    image, path = await holed(domain)
    os.link(path, path.with_name("again"))
    opened = Opened(path)
    assert await domain.delete(image, postZero=True) == SUCCESS
    assert opened.close() == (False, False)


async def test_a_stray_file_among_the_images_does_not_keep_an_image_from_being_deleted(domain: Domain) -> None:
    image, _ = await domain.volume()
    (domain.images / "stray").write_text("")
    assert await domain.delete(image) == SUCCESS
    assert domain.files() == ["stray"]


async def test_an_image_that_is_a_link_is_refused(domain: Domain) -> None:
    outside = domain.asked.root.parent / "outside"
    outside.mkdir()
    image = fresh()
    (domain.images / image).symlink_to(outside)
    result = await domain.delete(image, force=True)
    assert result[:2] == ("cleanSuccess", Code.IMAGE_NOT_OURS)
    assert (outside.is_dir(), domain.files()) == (True, [image])


async def test_overwriting_goes_on_under_the_next_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_CHUNK_BYTES", CHUNK)
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, path = await holed(domain)
        opened = Opened(path)
        task_id = await agent.call("Image.delete", {**domain.names(image), "postZero": True})
        await progressed(agent, task_id, 1)
    assert sorted(domain.images.iterdir()) == [domain.images / f"_remove_{image}.{task_id}"]
    monkeypatch.undo()
    async with asked(tmp_path) as agent:
        assert await agent.result(task_id) == SUCCESS
    assert domain.files() == []
    assert opened.close() == (False, False)


async def test_a_stop_after_the_removal_began_comes_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_CHUNK_BYTES", 16 * CHUNK)
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, _ = await holed(domain)
        task_id = await agent.call("Image.delete", {**domain.names(image), "postZero": True})
        await progressed(agent, task_id, 1)
        assert await agent.call("Task.stop", {"taskID": task_id}) is True
        assert await agent.result(task_id) == SUCCESS
        assert domain.files() == []


async def test_an_image_that_could_not_be_removed_whole_is_removed_by_the_next_try(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, path = await holed(domain)
    opened = Opened(path)

    def refuse(folder: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "remove_tree", refuse)
        result, code, message = await domain.delete(image)
        assert (result, code) == ("cleanFailure", Code.IMAGE_DELETE_ERROR)
        assert "Operation not permitted" in message
        assert "delete the image again" in message
    [left] = domain.images.iterdir()
    assert left.name.startswith(f"_remove_{image}.")
    assert await domain.delete(image, postZero=True) == SUCCESS
    assert domain.files() == []
    assert opened.close() == (False, False)
    assert (await domain.delete(image))[1] == Code.IMAGE_DOES_NOT_EXIST_IN_SD


async def test_what_a_failed_deletion_left_is_not_taken_for_an_image_by_an_undoing(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
    image = fresh()
    half = domain.images / f"_remove_{image}.{fresh()}"
    half.mkdir()
    (half / "half").write_text("")
    before = contents(domain)
    async with asked(tmp_path, setting=failing_after(ImageDelete, "hide")) as agent:
        result = await Domain(agent, domain.id).delete(image)
    assert result[:2] == ("cleanSuccess", Code.GENERAL)
    assert contents(domain) == before


@pytest.mark.parametrize("step", ["check", "hide"])
async def test_a_failure_leaves_the_image_as_it_was(tmp_path: Path, step: str) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, _ = await holed(domain)
    before = contents(domain)
    async with asked(tmp_path, setting=failing_after(ImageDelete, step)) as agent:
        result = await Domain(agent, domain.id).delete(image, postZero=True)
    assert result == ("cleanSuccess", 100, "value=the test wants it so abortedcode=100")
    assert contents(domain) == before


@pytest.mark.parametrize(
    "is_after", [pytest.param(False, id="before", marks=pytest.mark.long), pytest.param(True, id="after")]
)
async def test_a_deletion_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, path = await holed(domain)
    shutil.move(domain.images / image, tmp_path / "kept")
    for number in range(1, 100):
        shutil.copytree(tmp_path / "kept", domain.images / image)
        opened = Opened(path)
        death = Death(number, is_after)
        params = {**domain.names(image), "postZero": True}
        assert await carry_through(tmp_path, monkeypatch, dying(), death, "Image.delete", params) == SUCCESS, number
        assert domain.files() == []
        assert opened.close() == (False, False)
        if not death.has_come:
            break
    assert number > 5


@pytest.mark.parametrize(
    "is_after", [pytest.param(False, id="before", marks=pytest.mark.long), pytest.param(True, id="after")]
)
async def test_an_undone_deletion_survives_a_death_at_each_of_its_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, _ = await holed(domain)
    before = contents(domain)
    setting = failing_after(ImageDelete, "hide")
    for number in range(1, 100):
        death = Death(number, is_after)
        result = await carry_through(tmp_path, monkeypatch, setting, death, "Image.delete", domain.names(image))
        assert result[0] == "cleanSuccess", (number, result)
        assert contents(domain) == before
        if not death.has_come:
            break
    assert number > 2


async def test_a_template_with_children_is_not_deleted_though_its_description_is_lost(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        domain = await agent.domain()
        image, volume = await domain.volume()
        template = (fresh(), fresh())
        assert (await domain.copy(image, volume, template, volType=6))[0] == "success"
        result = await domain.create(fresh(), fresh(), srcImgUUID=template[0], srcVolUUID=template[1])
        assert result[0] == "success"
        (domain.images / template[0] / f"{template[1]}.meta").unlink()
        before = domain.files()
        assert (await domain.delete(template[0]))[:2] == ("cleanSuccess", Code.IMAGE_HAS_CHILDREN)
        assert domain.files() == before
