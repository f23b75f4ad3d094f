"""StoragePool.spmStart, spmStop, getSpmStatus: the role, and how often it was taken."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.verbs import Code
from tests.agent.asked import POOL, Asked, asked, fresh

FREE = {"spmId": -1, "spmStatus": "Free", "spmLver": -1}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Asked]:
    async with asked(tmp_path) as agent:
        yield agent


async def status(agent: Asked, pool: str = POOL) -> Any:
    return await agent.call("StoragePool.getSpmStatus", {"storagepoolID": pool})


async def start(agent: Asked, pool: str = POOL) -> str:
    """Takes the role; the task's id."""
    task_id: str = await agent.call("StoragePool.spmStart", {"storagepoolID": pool, "prevID": -1, "prevLver": -1})
    assert await agent.result(task_id) == ("success", 0, "1 jobs completed successfully")
    return task_id


async def stop(agent: Asked, pool: str = POOL) -> Any:
    return await agent.call("StoragePool.spmStop", {"storagepoolID": pool})


async def clear(agent: Asked, *tasks: str) -> None:
    for task_id in tasks:
        await agent.call("Task.clear", {"taskID": task_id})


async def test_the_role_is_taken_given_up_and_counted(agent: Asked) -> None:
    assert await status(agent) == FREE
    for count in (1, 2):
        task_id = await start(agent)
        assert await status(agent) == {"spmId": 1, "spmStatus": "SPM", "spmLver": count}
        await clear(agent, task_id)
        assert await stop(agent) is True
        assert await status(agent) == {"spmId": -1, "spmStatus": "Free", "spmLver": count}


async def test_pools_are_told_apart(agent: Asked) -> None:
    await start(agent)
    assert await status(agent, fresh()) == FREE


async def test_a_host_that_has_the_role_keeps_its_count(agent: Asked) -> None:
    await start(agent)
    await start(agent)
    assert (await status(agent))["spmLver"] == 1


async def test_the_role_outlives_the_agent(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        await clear(agent, await start(agent))
    async with asked(tmp_path) as agent:
        assert await status(agent) == {"spmId": 1, "spmStatus": "SPM", "spmLver": 1}
        await stop(agent)
    async with asked(tmp_path) as agent:
        await start(agent)
        assert (await status(agent))["spmLver"] == 2


async def test_a_host_without_the_role_cannot_give_it_up(agent: Asked) -> None:
    params = {"storagepoolID": POOL}
    error = f"the host does not manage pool {POOL}; nothing is to be stopped"
    assert await agent.code("StoragePool.spmStop", params) == (Code.NOT_SPM, error)


async def test_the_role_is_kept_while_tasks_of_the_pool_were_not_cleared(agent: Asked) -> None:
    started, elsewhere = await start(agent), await start(agent, fresh())
    params = {"storagepoolID": POOL}
    error = f"pool {POOL} has 1 tasks that were not cleared, such as {started}; "
    assert await agent.code("StoragePool.spmStop", params) == (
        Code.IS_SPM,
        error + "the host goes on managing it: clear them first",
    )
    assert (await status(agent))["spmStatus"] == "SPM"
    await clear(agent, started)
    assert await stop(agent) is True
    assert (await agent.status(elsewhere))["taskResult"] == "success"


async def test_giving_it_up_is_answered_again_under_its_id(agent: Asked) -> None:
    await clear(agent, await start(agent))
    params = {"storagepoolID": POOL, "taskID": fresh()}
    assert await agent.call("StoragePool.spmStop", params) is True
    await start(agent)
    assert await agent.call("StoragePool.spmStop", params) is True
    assert (await status(agent))["spmStatus"] == "SPM"


async def test_a_role_that_cannot_be_written_is_not_taken(agent: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("interlock.agent.durable.write_whole", no_space)
        task_id = await agent.call("StoragePool.spmStart", {"storagepoolID": POOL})
        assert (await agent.result(task_id))[:2] == ("cleanFailure", Code.NO_SPACE)
    assert await status(agent) == FREE


async def test_a_damaged_memory_is_named(agent: Asked, tmp_path: Path) -> None:
    await start(agent)
    path = tmp_path / "state" / "pools" / POOL
    path.write_text("{")
    code, error = await agent.code("StoragePool.getSpmStatus", {"storagepoolID": POOL})
    assert (code, error) == (Code.GENERAL, f"{path} is damaged; remove it, and the starts are counted anew")
