"""Merging a volume into the one below it: prepareMerge, SDM.merge, finalizeMerge, and what each of them refuses."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.verbs import Code
from tests.agent.asked import POOL, Domain, asked, fresh
from tests.agent.processes import running
from tests.agent.verbs.chains import Chain, chain, job, layers, shown, state, write
from tests.agent.verbs.images import COW, MIB, RAW, fail_at_each_effect, image_info, program, progressed

PREPARE, FINALIZE = "StoragePool.prepareMerge", "StoragePool.finalizeMerge"


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


async def pool_task(domain: Domain, method: str, subchain: dict[str, Any]) -> tuple[str, int, str]:
    task_id = await domain.asked.call(method, {"storagepoolID": POOL, "subchainInfo": subchain})
    return await domain.asked.result(task_id)


async def prepare(found: Chain, top: int = -1, **more: Any) -> tuple[str, int, str]:
    return await pool_task(found.domain, PREPARE, found.subchain(top, **more))


async def merge(found: Chain, top: int = -1, **more: Any) -> tuple[str, int, str]:
    return await job(found.domain.asked, "SDM.merge", subchain_info=found.subchain(top, **more))


async def finalize(found: Chain, top: int = -1, **more: Any) -> tuple[str, int, str]:
    return await pool_task(found.domain, FINALIZE, found.subchain(top, **more))


async def merge_all(found: Chain, top: int = -1) -> None:
    for one in (prepare, merge, finalize):
        result = await one(found, top)
        assert result[0] == "success", result


# Success


@pytest.mark.parametrize("base_format", [COW, RAW], ids=["cow", "raw"])
async def test_the_leaf_is_merged_and_its_base_is_the_leaf(domain: Domain, base_format: int) -> None:
    found = await chain(domain, base_format=base_format)
    base, top = found.volumes
    former, former_top = found.meta(base), found.meta(top)
    await merge_all(found)
    assert shown(found.path(base)) == layers(1, 2)
    assert found.meta(base) == {**former, "GEN": "1", "VOLTYPE": "LEAF"}
    assert found.meta(top) == {**former_top, "LEGALITY": "ILLEGAL"}
    result = await domain.create(found.image, fresh(), srcImgUUID=found.image, srcVolUUID=base)
    assert result[0] == "success"


async def test_a_volume_in_the_middle_is_merged_and_the_one_above_is_built_upon_its_base(domain: Domain) -> None:
    found = await chain(domain, 3)
    base, top, child = found.volumes
    before = {volume: found.meta(volume) for volume in found.volumes}
    await merge_all(found, 1)
    assert shown(found.path(child)) == layers(1, 1, 2)
    assert shown(found.path(base)) == layers(1, 2)
    header = image_info(found.path(child))
    assert (header["backing-filename"], header["backing-filename-format"]) == (base, "qcow2")
    assert found.meta(base) == {**before[base], "GEN": "1"}
    assert found.meta(top) == {**before[top], "LEGALITY": "ILLEGAL"}
    assert found.meta(child) == {**before[child], "PUUID": base}
    assert domain.files() == sorted(
        [found.image, *(f"{found.image}/{v}{end}" for v in before for end in ("", ".meta"))]
    )


@pytest.mark.parametrize(("length", "place"), [(2, "LEAF"), (3, "INTERNAL")], ids=["leaf", "middle"])
async def test_what_was_merged_away_is_deleted_and_a_whole_chain_is_left(
    domain: Domain, length: int, place: str
) -> None:
    found = await chain(domain, length)
    base, top, *above = found.volumes
    await merge_all(found, 1)
    task_id = await domain.asked.call("Volume.delete", {**domain.names(found.image), "volumeID": top})
    assert (await domain.asked.result(task_id))[0] == "success"
    assert await domain.asked.call("Image.getVolumes", domain.names(found.image)) == [base, *above]
    assert found.meta(base)["VOLTYPE"] == place
    copied = (fresh(), fresh())
    assert (await domain.copy(found.image, [base, *above][-1], copied))[0] == "success"
    assert shown(domain.path(*copied)) == layers(*[1] * (length - 1), 2)


async def test_what_was_merged_away_may_be_followed_by_the_next_merge(domain: Domain) -> None:
    found = await chain(domain, 3)
    base, middle, _ = found.volumes
    await merge_all(found)
    await merge_all(found, 1)
    assert shown(found.path(base)) == layers(1, 1, 2)
    assert (found.meta(base)["VOLTYPE"], found.meta(middle)["LEGALITY"]) == ("LEAF", "ILLEGAL")


@pytest.mark.parametrize("base_format", [COW, RAW], ids=["cow", "raw"])
async def test_a_smaller_base_is_made_as_large_as_its_top(domain: Domain, base_format: int) -> None:
    found = await chain(domain, 1, base_format=base_format)
    image, (base,) = found.image, found.volumes
    top = fresh()
    assert (await domain.create(image, top, size=3 * MIB, srcImgUUID=image, srcVolUUID=base))[0] == "success"
    write(domain.path(image, top), COW, 7, 2 * MIB, MIB)
    found = Chain(domain, image, (base, top))
    before = found.meta(base)
    assert (await merge(found))[:2] == ("cleanSuccess", Code.MERGE_SNAPSHOTS_ERROR)
    assert await prepare(found) == ("success", 0, "3 jobs completed successfully")
    assert image_info(found.path(base))["virtual-size"] == 3 * MIB
    assert found.meta(base) == {**before, "CAP": str(3 * MIB)}
    assert await merge(found) == ("success", 0, "4 jobs completed successfully")
    assert shown(found.path(base)) == layers(2).ljust(2 * MIB, b"\0") + b"\7" * MIB


async def test_a_preallocated_base_takes_the_room_that_it_grows_by(domain: Domain) -> None:
    image, base, top = fresh(), fresh(), fresh()
    assert (await domain.create(image, base, volFormat=RAW, preallocate=1))[0] == "success"
    assert (await domain.create(image, top, size=3 * MIB, srcImgUUID=image, srcVolUUID=base))[0] == "success"
    assert (await prepare(Chain(domain, image, (base, top))))[0] == "success"
    assert domain.path(image, base).stat().st_blocks >= 3 * MIB // 512


async def test_a_merge_may_be_done_again_before_it_is_final(domain: Domain) -> None:
    found = await chain(domain)
    base, top = found.volumes
    assert (await merge(found, base_generation=0))[0] == "success"
    write(found.path(top), COW, 9, 0, MIB // 4)
    assert (await merge(found, base_generation=1))[0] == "success"
    assert (await finalize(found))[0] == "success"
    assert found.meta(base)["GEN"] == "2"
    assert shown(found.path(base)) == b"\x09" * (MIB // 4) + b"\2" * (MIB // 2)


async def test_the_generation_begins_anew_after_the_last(domain: Domain) -> None:
    found = await chain(domain)
    found.describe(found.volumes[0], GEN="999")
    assert (await merge(found, base_generation=999))[0] == "success"
    assert found.meta(found.volumes[0])["GEN"] == "0"


# Refusals


@pytest.mark.parametrize("call", [prepare, merge, finalize])
@pytest.mark.parametrize("place", [0, 1], ids=["base", "top"])
async def test_a_shared_volume_is_not_merged(domain: Domain, call: Any, place: int) -> None:
    found = await chain(domain)
    found.describe(found.volumes[place], VOLTYPE="SHARED")
    before = state(domain)
    assert (await call(found))[:2] == ("cleanSuccess", Code.SHARED_VOLUME_NON_WRITABLE)
    assert state(domain) == before


@pytest.mark.parametrize("call", [prepare, merge, finalize])
async def test_a_base_that_is_an_empty_clone_is_not_merged_into_and_stays_illegal(domain: Domain, call: Any) -> None:
    found = await chain(domain)
    other = await domain.asked.domain()
    params = {**domain.names(found.image), "dstSdUUID": other.id}
    for method, more in (("Image.cloneStructure", {}), ("Image.syncData", {"syncType": "LEAF"})):
        task_id = await domain.asked.call(method, {**params, **more})
        assert (await domain.asked.result(task_id))[0] == "success"
    clone = Chain(other, found.image, found.volumes)
    before = state(other)
    assert (await call(clone))[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
    assert state(other) == before


async def test_a_base_of_a_failed_merge_that_was_copied_into_speaks_of_no_merge_any_more(domain: Domain) -> None:
    found, other = await chain(domain), await chain(domain, 1)
    base = found.volumes[0]
    found.describe(base, LEGALITY="ILLEGAL", MERGING=fresh())
    ends = {"source": other.endpoint(0), "destination": found.endpoint(0)}
    assert (await job(domain.asked, "SDM.copy_data", **ends))[0] == "success"
    assert found.meta(base)["LEGALITY"] == "LEGAL"
    assert "MERGING" not in found.meta(base)


async def test_a_top_that_was_extended_since_the_merge_is_not_final(domain: Domain) -> None:
    found = await chain(domain)
    base, top = found.volumes
    assert (await merge(found))[0] == "success"
    params = {**domain.names(found.image), "volumeID": top, "newSize": 2 * MIB}
    assert (await domain.asked.result(await domain.asked.call("Volume.extendSize", params)))[0] == "success"
    before = state(domain)
    assert (await finalize(found))[:2] == ("cleanSuccess", Code.MERGE_SNAPSHOTS_ERROR)
    assert state(domain) == before
    await merge_all(found)
    assert image_info(found.path(base))["virtual-size"] == 2 * MIB


@pytest.mark.parametrize("call", [prepare, merge, finalize])
async def test_an_illegal_top_is_not_merged_since_its_base_may_have_been_written(domain: Domain, call: Any) -> None:
    found = await chain(domain)
    await merge_all(found)
    found.describe(found.volumes[0], VOLTYPE="INTERNAL")
    before = state(domain)
    assert (await call(found))[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
    assert state(domain) == before


@pytest.mark.parametrize("call", [prepare, merge, finalize])
@pytest.mark.parametrize(
    "wrong", ["upside down", "grandparent", "description", "header", "base is leaf", "two children"]
)
async def test_volumes_that_are_not_parent_and_child_are_not_merged(domain: Domain, call: Any, wrong: str) -> None:
    found = await chain(domain, 3)
    base, middle, top = found.volumes
    match wrong:
        case "upside down":
            found = Chain(domain, found.image, (middle, base))
        case "grandparent":
            found = Chain(domain, found.image, (base, top))
        case "description":
            found.describe(top, PUUID=base)
        case "header":
            rebase = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", base, "-F", "qcow2", str(found.path(top))]
            subprocess.run(rebase, check=True)
        case "base is leaf":
            found.describe(middle, VOLTYPE="LEAF")
        case _:
            other = found.path(fresh())
            other.write_bytes(found.path(top).read_bytes())
            meta = found.domain.images / found.image / f"{top}.meta"
            other.with_name(f"{other.name}.meta").write_text(meta.read_text())
    before = state(domain)
    assert (await call(found))[:2] == ("cleanSuccess", Code.WRONG_CHAIN)
    assert state(domain) == before


@pytest.mark.parametrize("call", [prepare, merge])
async def test_a_base_of_another_generation_is_not_changed(domain: Domain, call: Any) -> None:
    found = await chain(domain)
    before = state(domain)
    error = f"volume {found.volumes[0]} is at generation 0, not 1: it was changed since; look anew"
    expected = ("cleanSuccess", 4712, f"value={error} abortedcode=4712")
    assert await call(found, base_generation=1) == expected
    assert state(domain) == before


async def test_what_was_not_merged_is_not_final(domain: Domain) -> None:
    found = await chain(domain)
    before = state(domain)
    assert (await finalize(found))[:2] == ("cleanSuccess", Code.MERGE_SNAPSHOTS_ERROR)
    assert state(domain) == before


@pytest.mark.parametrize(("place", "word"), [(1, "LEAF"), (2, "INTERNAL")], ids=["leaf below another", "middle on top"])
async def test_a_top_that_is_not_where_its_description_says_is_not_final(domain: Domain, place: int, word: str) -> None:
    found = await chain(domain, 3)
    assert (await merge(found, place))[0] == "success"
    found.describe(found.volumes[place], VOLTYPE=word)
    before = state(domain)
    assert (await finalize(found, place))[:2] == ("cleanSuccess", Code.WRONG_CHAIN)
    assert state(domain) == before


async def test_a_top_that_was_changed_since_the_merge_is_not_final(domain: Domain) -> None:
    found, other = await chain(domain), await chain(domain)
    assert (await merge(found))[0] == "success"
    copied = await job(
        domain.asked, "SDM.copy_data", source=other.endpoint(0), destination=found.endpoint(1, generation=0)
    )
    assert copied[0] == "success"
    assert (await finalize(found))[:2] == ("cleanSuccess", Code.MERGE_SNAPSHOTS_ERROR)


async def test_a_base_whose_description_gives_another_size_is_not_resized(domain: Domain) -> None:
    found = await chain(domain)
    found.describe(found.volumes[0], CAP="512")
    before = state(domain)
    assert (await prepare(found))[:2] == ("cleanSuccess", Code.VOLUME_METADATA_READ_ERROR)
    assert state(domain) == before


@pytest.mark.parametrize("call", [prepare, merge, finalize])
async def test_nothing_is_merged_in_a_detached_domain(domain: Domain, call: Any) -> None:
    found = await chain(domain)
    await domain.asked.call(
        "StorageDomain.detach", {"storagedomainID": domain.id, "storagepoolID": POOL, "force": True}
    )
    assert (await call(found))[:2] == ("cleanSuccess", Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL)


# Failures


FULL = '{ echo "qemu-img: write failed: No space left on device" >&2; exit 1; }'


async def growing(domain: Domain) -> Chain:
    """A base, and a top that is larger."""
    found = await chain(domain, 1)
    image, base, top = found.image, found.volumes[0], fresh()
    assert (await domain.create(image, top, size=3 * MIB, srcImgUUID=image, srcVolUUID=base))[0] == "success"
    return Chain(domain, image, (base, top))


async def test_a_base_that_cannot_grow_stays_as_it_is(tmp_path: Path) -> None:
    async with asked(tmp_path, qemu_img=program(tmp_path, f'[ "$1" = resize ] && {FULL}')) as agent:
        found = await growing(await agent.domain())
        before = state(found.domain)
        assert (await prepare(found))[:2] == ("cleanSuccess", Code.NO_SPACE)
        assert state(found.domain) == before


async def test_a_preparation_that_fails_anywhere_is_undone(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await growing(domain)
    base, _ = found.volumes

    def files() -> Any:
        return found.meta(base), image_info(found.path(base))["virtual-size"], shown(found.path(base)), domain.files()

    # info of the base; info of both and resize; info of the top and the description
    assert await fail_at_each_effect(monkeypatch, lambda: prepare(found), files, "before") == ("success", 6)


async def test_a_commit_that_fails_leaves_what_the_top_shows_and_is_done_again(tmp_path: Path) -> None:
    switch = tmp_path / "full"
    qemu_img = program(tmp_path, f'[ "$1" = commit ] && [ -e {switch} ] && {FULL}')
    async with asked(tmp_path, qemu_img=qemu_img) as agent:
        found = await chain(await agent.domain())
        base, top = found.volumes
        switch.touch()
        result, code, message = await merge(found)
        assert (result, code) == ("cleanFailure", Code.NO_SPACE)
        assert f"base {base} is ILLEGAL by itself, and read through top {top} nothing has changed" in message
        assert (found.meta(base)["LEGALITY"], found.meta(base)["GEN"]) == ("ILLEGAL", "0")
        assert shown(found.path(top)) == layers(1, 2)
        assert (await finalize(found))[:2] == ("cleanSuccess", Code.PREPARE_ILLEGAL_VOLUME)
        switch.unlink()
        assert (await merge(found, base_generation=0))[0] == "success"
        assert (found.meta(base)["LEGALITY"], found.meta(base)["GEN"]) == ("LEGAL", "1")
        assert "MERGING" not in found.meta(base)
        assert (await finalize(found))[0] == "success"


@pytest.mark.parametrize("legality", ["LEGAL", "ILLEGAL"])
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_merge_that_fails_before_it_commits_is_undone(
    domain: Domain, side: str, legality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await chain(domain)
    if legality == "ILLEGAL":  # as a merge that failed has left it
        found.describe(found.volumes[0], LEGALITY=legality, MERGING=fresh())
    undone = await fail_at_each_effect(monkeypatch, lambda: merge(found), lambda: state(domain), side)
    # info of both; the mark, unless it is there; then the commit's own folder
    assert undone == ("cleanFailure", {"LEGAL": 3, "ILLEGAL": 2}[legality])
    assert (await merge(found, base_generation=0))[0] == "success"
    assert shown(found.path(found.volumes[0])) == layers(1, 2)
    assert found.meta(found.volumes[0])["LEGALITY"] == "LEGAL"


@pytest.mark.parametrize("length", [2, 3], ids=["leaf", "middle"])
async def test_a_finalization_that_fails_anywhere_is_undone(
    domain: Domain, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await chain(domain, length)
    assert (await merge(found, 1))[0] == "success"
    undone = await fail_at_each_effect(monkeypatch, lambda: finalize(found, 1), lambda: state(domain), "before")
    assert undone == ("success", {2: 2, 3: 4}[length])
    assert shown(found.path(found.volumes[-1 if length == 3 else 0])) == layers(*[1] * (length - 1), 2)


# Stopping, restarting, reverting


SLOW_BYTES_PER_S = 1 << 18
#: An agent that ends leaves its child to the next one.
child_goes_on = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


async def under_way(found: Chain) -> str:
    """Starts a merge and returns once it has committed something."""
    agent, job_id = found.domain.asked, fresh()
    await agent.call("SDM.merge", {"job_id": job_id, "subchain_info": found.subchain()})
    await progressed(agent, job_id, 1)
    return job_id


@child_goes_on
async def test_a_commit_goes_on_over_a_restart_and_tells_its_progress(tmp_path: Path) -> None:
    async with asked(tmp_path, copy_rate_bytes_per_s=SLOW_BYTES_PER_S) as agent:
        found = await chain(await agent.domain())
        job_id = await under_way(found)
        assert found.meta(found.volumes[0])["LEGALITY"] == "ILLEGAL"
    async with asked(tmp_path, copy_rate_bytes_per_s=SLOW_BYTES_PER_S) as agent:
        assert (await agent.result(job_id))[0] == "success"
        assert shown(found.path(found.volumes[0])) == layers(1, 2)
        assert found.meta(found.volumes[0])["GEN"] == "1"


@child_goes_on
async def test_a_commit_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    async with asked(tmp_path, copy_rate_bytes_per_s=1 << 16) as agent:
        found = await chain(await agent.domain())
        job_id = await under_way(found)
    process = running(tmp_path / "state" / "jobs" / job_id / "commit-1")
    assert process is not None
    os.killpg(os.getpgid(process.pid), signal.SIGKILL)  # together with what would have told how it ended
    async with asked(tmp_path) as agent:
        assert (await agent.result(job_id))[0] == "success"
        assert shown(found.path(found.volumes[0])) == layers(1, 2)
        assert found.meta(found.volumes[0])["GEN"] == "1"


async def test_a_merge_that_has_begun_to_commit_is_not_stopped(tmp_path: Path) -> None:
    async with asked(tmp_path, copy_rate_bytes_per_s=SLOW_BYTES_PER_S) as agent:
        found = await chain(await agent.domain())
        job_id = await under_way(found)
        await agent.call("Task.stop", {"taskID": job_id})
        assert (await agent.result(job_id))[0] == "success"
        assert shown(found.path(found.volumes[0])) == layers(1, 2)


@pytest.mark.parametrize("length", [2, 3], ids=["leaf", "middle"])
async def test_what_is_final_is_not_reverted(domain: Domain, length: int) -> None:
    found = await chain(domain, length)
    assert (await merge(found, 1))[0] == "success"
    task_id = await domain.asked.call(FINALIZE, {"storagepoolID": POOL, "subchainInfo": found.subchain(1)})
    assert (await domain.asked.result(task_id))[0] == "success"
    before = state(domain)
    await domain.asked.call("Task.revert", {"taskID": task_id})
    result, _, message = await domain.asked.result(task_id)
    assert result == "cleanFailure"
    assert f"top {found.volumes[1]} stays out of the chain" in message
    assert state(domain) == before
