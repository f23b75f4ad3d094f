"""SDM.copy_data: an existing volume becomes a copy of another one, whole and at once, or stays as it was."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.verbs import Code
from tests.agent.asked import Asked, Domain, asked, fresh
from tests.agent.verbs.chains import Chain, chain, job, layers, shown, state, write
from tests.agent.verbs.images import COW, MIB, RAW, fail_at_each_effect, image_info, program, progress, progressed

SUCCESS = ("success", 0, "5 jobs completed successfully")
SLOW_BYTES_PER_S = 1 << 18
#: An agent that ends leaves its child to the next one.
child_goes_on = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


async def copy(agent: Asked, source: dict[str, Any], destination: dict[str, Any]) -> tuple[str, int, str]:
    return await job(agent, "SDM.copy_data", source=source, destination=destination)


async def empty(domain: Domain, **more: Any) -> Chain:
    """A volume with nothing in it."""
    image, volume = await domain.volume(**more)
    return Chain(domain, image, (volume,))


# Success


@pytest.mark.parametrize("preallocate", [1, 2], ids=["preallocated", "sparse"])
@pytest.mark.parametrize(("source_format", "format"), [(COW, RAW), (RAW, RAW)], ids=["cow", "raw"])
async def test_a_raw_volume_becomes_what_the_source_shows(
    domain: Domain, source_format: int, format: int, preallocate: int
) -> None:
    source = await chain(domain, base_format=source_format)
    target = await empty(domain, volFormat=format, preallocate=preallocate)
    assert await copy(domain.asked, source.endpoint(), target.endpoint()) == SUCCESS
    path = target.path(target.volumes[0])
    assert (image_info(path)["format"], shown(path)) == ("raw", layers(1, 2))
    assert (path.stat().st_blocks >= MIB // 512) == (preallocate == 1)


async def test_a_volume_without_a_parent_becomes_all_that_the_source_shows(domain: Domain) -> None:
    source, target = await chain(domain, 3), await empty(domain, desc="mine")
    volume = target.volumes[0]
    before = target.meta(volume)
    assert await copy(domain.asked, source.endpoint(), target.endpoint(generation=0)) == SUCCESS
    assert shown(target.path(volume)) == layers(1, 1, 2)
    assert "backing-filename" not in image_info(target.path(volume))
    assert target.meta(volume) == {**before, "GEN": "1"}
    assert len(domain.files()) == 7 + 3


async def test_a_volume_with_a_parent_becomes_what_the_source_holds_above_its_own(domain: Domain) -> None:
    source, target = await chain(domain), await chain(domain)
    base, top = target.volumes
    write(target.path(top), COW, 9, 0, MIB)
    assert await copy(domain.asked, source.endpoint(1), target.endpoint(1)) == SUCCESS
    assert shown(target.path(top)) == layers(1, 2)
    assert image_info(target.path(top))["backing-filename"] == base
    mapped = subprocess.run(
        ["qemu-img", "map", "--output=json", str(target.path(top))], check=True, capture_output=True
    ).stdout
    assert mapped.count(b'"depth": 0, "present": true') == 1  # nothing of the base was copied into it


async def test_a_volume_with_a_parent_shows_a_source_that_has_none(domain: Domain) -> None:
    source, target = await chain(domain, 1), await chain(domain)
    top = target.volumes[1]
    assert await copy(domain.asked, source.endpoint(), target.endpoint(1)) == SUCCESS
    assert shown(target.path(top)) == layers(2)


@pytest.mark.parametrize("format", [COW, RAW], ids=["cow", "raw"])
async def test_a_larger_volume_keeps_its_size(domain: Domain, format: int) -> None:
    source, target = await chain(domain), await empty(domain, size=3 * MIB, volFormat=format)
    volume = target.volumes[0]
    assert await copy(domain.asked, source.endpoint(), target.endpoint()) == SUCCESS
    assert (image_info(target.path(volume))["virtual-size"], target.meta(volume)["CAP"]) == (3 * MIB, str(3 * MIB))
    assert shown(target.path(volume)) == layers(1, 2)


async def test_an_empty_clone_in_another_domain_is_filled_and_is_legal(domain: Domain) -> None:
    source, other = await chain(domain), await domain.asked.domain()
    cloned = {**domain.names(source.image), "dstSdUUID": other.id}
    assert (await domain.asked.result(await domain.asked.call("Image.cloneStructure", cloned)))[0] == "success"
    target = Chain(other, source.image, source.volumes)
    for place in (0, 1):
        assert await copy(domain.asked, source.endpoint(place), target.endpoint(place)) == SUCCESS
    assert shown(target.path(target.volumes[1])) == layers(1, 2)
    for volume in source.volumes:
        assert target.meta(volume) == {**source.meta(volume), "DOMAIN": other.id, "GEN": "1"}


async def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    async with asked(tmp_path, copy_rate_bytes_per_s=1 << 19) as agent:
        domain = await agent.domain()
        source, target = await chain(domain), await empty(domain)
        await agent.call("SDM.copy_data", params(source, target, job_id := fresh()))
        seen = await progress(agent, job_id)
        assert seen == sorted(seen)
        assert 0 < seen[-1] < 100
        assert (await agent.call("Host.getJobs", {}))[job_id]["progress"] == 100


def params(source: Chain, target: Chain, job_id: str) -> dict[str, Any]:
    return {"job_id": job_id, "source": source.endpoint(), "destination": target.endpoint()}


# Refusals


async def test_another_generation_is_not_overwritten(domain: Domain) -> None:
    source, target = await chain(domain), await empty(domain)
    before = state(domain)
    error = f"volume {target.volumes[0]} is at generation 0, not 5: it was changed since; look anew"
    expected = ("cleanSuccess", 4712, f"value={error} abortedcode=4712")
    assert await copy(domain.asked, source.endpoint(), target.endpoint(generation=5)) == expected
    found = await copy(domain.asked, source.endpoint(generation=1), target.endpoint())
    assert found[:2] == ("cleanSuccess", Code.GENERATION_MISMATCH)
    assert state(domain) == before


async def test_a_copy_that_was_done_is_told_by_the_generation(domain: Domain) -> None:
    source, target = await chain(domain), await empty(domain)
    assert await copy(domain.asked, source.endpoint(), target.endpoint(generation=0)) == SUCCESS
    again = await copy(domain.asked, source.endpoint(), target.endpoint(generation=0))
    assert again[:2] == ("cleanSuccess", Code.GENERATION_MISMATCH)


def hostile(found: Chain) -> None:
    path = found.path(found.volumes[-1])
    path.unlink()
    subprocess.run(
        ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", str(path), "1M"], check=True
    )


def link(found: Chain) -> None:
    path = found.path(found.volumes[-1])
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def illegal_base(found: Chain) -> None:
    found.describe(found.volumes[0], LEGALITY="ILLEGAL")


Spoil = Callable[[Chain], None]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda found: found.describe(found.volumes[-1], LEGALITY="ILLEGAL"), Code.PREPARE_ILLEGAL_VOLUME),
        (illegal_base, Code.PREPARE_ILLEGAL_VOLUME),
        (lambda found: found.path(found.volumes[0]).unlink(), Code.VOLUME_DOES_NOT_EXIST),
        (hostile, Code.IMAGE_NOT_OURS),
        (link, Code.IMAGE_NOT_OURS),
        (lambda found: found.describe(found.volumes[-1], FORMAT="RAW"), Code.VOLUME_COPY_ERROR),
    ],
    ids=["illegal", "illegal base", "no base", "hostile", "link", "larger"],
)
async def test_a_bad_source_is_refused(domain: Domain, spoil: Spoil, code: Code) -> None:
    source, target = await chain(domain), await empty(domain, size=512)
    spoil(source)
    before = state(domain)
    assert (await copy(domain.asked, source.endpoint(), target.endpoint()))[:2] == ("cleanSuccess", code)
    assert state(domain) == before


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda found: found.describe(found.volumes[-1], VOLTYPE="SHARED"), Code.SHARED_VOLUME_NON_WRITABLE),
        (lambda found: found.path(found.volumes[1]).unlink(), Code.VOLUME_DOES_NOT_EXIST),
        (hostile, Code.IMAGE_NOT_OURS),
        (link, Code.IMAGE_NOT_OURS),
    ],
    ids=["shared", "absent", "hostile", "link"],
)
async def test_a_bad_destination_is_refused(domain: Domain, spoil: Spoil, code: Code) -> None:
    source, target = await chain(domain), await chain(domain)
    spoil(target)
    before = state(domain)
    assert (await copy(domain.asked, source.endpoint(), target.endpoint()))[:2] == ("cleanSuccess", code)
    assert state(domain) == before


async def test_a_volume_is_not_copied_into_one_that_it_is_built_upon(domain: Domain) -> None:
    source = await chain(domain, 3)
    before = state(domain)
    for place in (0, 1):
        result = await copy(domain.asked, source.endpoint(), source.endpoint(place))
        assert result[:2] == ("cleanSuccess", Code.WRONG_CHAIN)
    assert state(domain) == before


@pytest.mark.parametrize("which", ["source", "destination"])
async def test_nothing_is_copied_from_or_into_a_detached_domain(domain: Domain, which: str) -> None:
    other = await domain.asked.domain()
    source, target = await chain(domain), await empty(other)
    detached = domain if which == "source" else other
    names = {"storagedomainID": detached.id, "storagepoolID": fresh(), "force": True}
    assert await domain.asked.call("StorageDomain.detach", names) is True
    before = state(domain), state(other)
    result = await copy(domain.asked, source.endpoint(), target.endpoint())
    assert result[:2] == ("cleanSuccess", Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL)
    assert (state(domain), state(other)) == before


# Failures, stopping, restarting


@pytest.mark.parametrize("verb", ["convert", "check", "resize"])
async def test_a_program_that_finds_the_disk_full_leaves_the_volume_as_it_was(tmp_path: Path, verb: str) -> None:
    full = f'[ "$1" = {verb} ] && {{ echo "No space left on device" >&2; exit 1; }}'
    async with asked(tmp_path, qemu_img=program(tmp_path, full)) as agent:
        domain = await agent.domain()
        source, target = await chain(domain), await empty(domain, size=3 * MIB)
        before = state(domain)
        result = await copy(agent, source.endpoint(), target.endpoint())
        assert result == ("cleanSuccess", 4706, "value=No space left on device abortedcode=4706")
        assert state(domain) == before


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.long), "after"])
async def test_a_copy_that_fails_anywhere_leaves_the_volume_as_it_was(
    domain: Domain, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = await chain(domain), await empty(domain)

    async def run() -> tuple[str, int, str]:
        return await copy(domain.asked, source.endpoint(), target.endpoint())

    # check: info of both; copy: three folders, a file and a spawn ...; verify: info, check, info; describe: a write
    result, undone = await fail_at_each_effect(monkeypatch, run, lambda: state(domain), side)
    assert (result, undone > 10) == ("cleanFailure", True)  # at last, with the rename of the data


async def test_a_stopped_copy_leaves_the_volume_as_it_was(tmp_path: Path) -> None:
    async with asked(tmp_path, copy_rate_bytes_per_s=SLOW_BYTES_PER_S) as agent:
        domain = await agent.domain()
        source, target = await chain(domain), await empty(domain)
        before = state(domain)
        await agent.call("SDM.copy_data", params(source, target, job_id := fresh()))
        await progressed(agent, job_id, 1)
        await agent.call("Task.stop", {"taskID": job_id})
        result = await agent.result(job_id)
        assert result == ("cleanSuccess", 411, "value=the task was stopped abortedcode=411")
        assert (await agent.call("Host.getJobs", {}))[job_id]["status"] == "aborted"
        assert state(domain) == before


@child_goes_on
async def test_a_copy_goes_on_over_a_restart(tmp_path: Path) -> None:
    async with asked(tmp_path, copy_rate_bytes_per_s=SLOW_BYTES_PER_S) as agent:
        domain = await agent.domain()
        source, target = await chain(domain), await empty(domain)
        await agent.call("SDM.copy_data", params(source, target, job_id := fresh()))
        await progressed(agent, job_id, 1)
    part = target.path(f"{target.volumes[0]}.part")
    before = part.stat().st_ino
    async with asked(tmp_path) as agent:
        assert await agent.result(job_id) == SUCCESS
        assert target.path(target.volumes[0]).stat().st_ino == before  # it was not begun anew
        assert shown(target.path(target.volumes[0])) == layers(1, 2)
        assert target.meta(target.volumes[0])["GEN"] == "1"
