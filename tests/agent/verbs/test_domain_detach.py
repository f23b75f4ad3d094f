"""StorageDomain.detach, and taking a creation back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.verbs import Code
from tests.agent.asked import POOL, Domain, asked, fresh
from tests.agent.verbs.chains import state
from tests.agent.verbs.images import failing_effect


@pytest.fixture
async def domain(tmp_path: Path) -> AsyncIterator[Domain]:
    async with asked(tmp_path) as agent:
        yield await agent.domain()


def params(domain: Domain, **more: Any) -> dict[str, Any]:
    return {"storagedomainID": domain.id, "storagepoolID": POOL, **more}


def metadata(domain: Domain) -> dict[str, str]:
    lines = (domain.images.parent / "dom_md" / "metadata").read_text().splitlines()
    assert lines[-1] == "EOF"
    return dict(line.split("=", 1) for line in lines[:-1])


async def detach(domain: Domain, **more: Any) -> Any:
    return await domain.asked.call("StorageDomain.detach", params(domain, **more))


async def test_no_work_is_done_on_a_detached_domain(domain: Domain) -> None:
    before, task_id = metadata(domain), fresh()
    assert await detach(domain, taskID=task_id) is True
    assert metadata(domain) == {**before, "STATUS": "DETACHED", "DETACHED_BY": task_id}
    result = await domain.create(fresh(), fresh())
    assert result[:2] == ("cleanSuccess", Code.STORAGE_DOMAIN_NOT_MEMBER_OF_POOL)
    assert domain.files() == []


async def test_a_domain_with_images_is_detached_only_by_force(domain: Domain) -> None:
    image, _ = await domain.volume()
    before = state(domain)
    error = f"storage domain {domain.id} has 1 images, such as {image}; move or delete them first, or use force"
    expected = (Code.STORAGE_DOMAIN_NOT_EMPTY, error)
    assert await domain.asked.code("StorageDomain.detach", params(domain)) == expected
    assert state(domain) == before
    assert await detach(domain, force=True) is True
    assert metadata(domain)["STATUS"] == "DETACHED"


async def test_what_is_half_made_or_half_removed_is_no_image(domain: Domain) -> None:
    for name in (f"_new_{fresh()}", f"_remove_{fresh()}.{fresh()}"):
        (domain.images / name).mkdir()
    assert await detach(domain) is True


async def test_a_domain_is_detached_again_without_effect(domain: Domain) -> None:
    await detach(domain)
    before = state(domain)
    assert await detach(domain) is True
    assert state(domain) == before


async def test_a_domain_that_is_not_there_is_not_detached(domain: Domain) -> None:
    absent = Domain(domain.asked, fresh())
    code, _ = await domain.asked.code("StorageDomain.detach", params(absent))
    assert code == Code.STORAGE_DOMAIN_DOES_NOT_EXIST


async def test_a_detachment_is_reverted(domain: Domain) -> None:
    before, task_id = state(domain), fresh()
    await detach(domain, taskID=task_id)
    await domain.asked.call("Task.revert", {"taskID": task_id})
    assert (await domain.asked.result(task_id))[0] == "cleanSuccess"
    assert state(domain) == before
    assert (await domain.create(fresh(), fresh()))[0] == "success"


async def test_reverting_a_detachment_without_effect_does_not_undo_the_one_that_had_it(domain: Domain) -> None:
    await detach(domain)
    before, task_id = state(domain), fresh()
    await detach(domain, taskID=task_id)
    await domain.asked.call("Task.revert", {"taskID": task_id})
    await domain.asked.result(task_id)
    assert state(domain) == before


async def test_a_domain_whose_description_cannot_be_written_stays_attached(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(domain)
    with failing_effect(monkeypatch, 1, "before"):
        code, _ = await domain.asked.code("StorageDomain.detach", params(domain))
    assert code == Code.NO_SPACE
    assert state(domain) == before


# StorageDomain.create


def create_params(domain: Domain, **more: Any) -> dict[str, Any]:
    return {"storagedomainID": fresh(), "domainName": "d", "typeArgs": str(domain.asked.root), **more}


async def test_a_creation_that_fails_anywhere_leaves_nothing(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):  # three folders, the description, the name
        with failing_effect(monkeypatch, number, "before") as seen:
            code, _ = await domain.asked.code("StorageDomain.create", create_params(domain))
        assert (code, [path.name for path in domain.asked.root.iterdir()]) == (Code.NO_SPACE, [domain.id]), seen


async def test_a_creation_is_reverted(domain: Domain) -> None:
    task_id = fresh()
    assert await domain.asked.call("StorageDomain.create", create_params(domain, taskID=task_id)) is True
    await domain.asked.call("Task.revert", {"taskID": task_id})
    assert (await domain.asked.result(task_id))[0] == "cleanSuccess"
    assert [path.name for path in domain.asked.root.iterdir()] == [domain.id]


async def test_a_creation_is_not_reverted_once_images_are_in_the_domain(domain: Domain) -> None:
    task_id = fresh()
    made = create_params(domain, taskID=task_id)
    await domain.asked.call("StorageDomain.create", made)
    filled = Domain(domain.asked, made["storagedomainID"])
    await filled.volume()
    before = state(filled)
    await domain.asked.call("Task.revert", {"taskID": task_id})
    result, _, message = await domain.asked.result(task_id)
    assert result == "cleanFailure"
    assert f"images are in storage domain {filled.id} by now; delete them first" in message
    assert state(filled) == before
