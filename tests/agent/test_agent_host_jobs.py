"""Host jobs: started under the caller's id, told of by `Host.getJobs`, kept over restarts, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from interlock.agent.tasks.intake import Bounds
from interlock.agent.tasks.runner import Programs
from interlock.agent.tasks.steps import Program, Step
from interlock.verbs import Code, SdmMerge
from tests.agent.asked import Asked, asked, fresh, with_setting
from tests.agent.scripted import Script, failing

RANDOM = "5e1f7e56-4c2b-4b5e-9d4c-0c9a5d2f1b11"


def merging(script: Script) -> Programs:
    """SDM.merge carried out by one scripted step."""
    step: Step[Any] = script.step("merge")
    return {SdmMerge: Program((step,), lambda verb: ())}


def merge(job_id: str) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "subchain_info": {"sd_id": fresh(), "img_id": fresh(), "top_id": fresh(), "base_id": fresh()},
    }


async def started(agent: Asked, job_id: str | None = None) -> str:
    params = merge(job_id or fresh())
    assert await agent.call("SDM.merge", params) is True
    return str(params["job_id"])


async def jobs(agent: Asked, **params: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await agent.call("Host.getJobs", params)
    return found


def told(job_id: str, status: str, **more: Any) -> dict[str, Any]:
    return {"id": job_id, "status": status, "description": "merge_subchain", "job_type": "storage", **more}


async def test_a_job_is_told_of_from_its_start_to_its_end_and_after_a_restart(tmp_path: Path) -> None:
    script = Script()
    script.hold("merge")
    setting = with_setting(programs=merging(script))
    async with asked(tmp_path, setting=setting, workers=1) as agent:
        first = await started(agent)
        await script.began["merge"].wait()
        second = await started(agent, RANDOM)
        assert await jobs(agent) == {first: told(first, "running"), second: told(second, "pending")}
        script.gates["merge"].set()
        for job_id in (first, second):
            await agent.result(job_id)
    done = {job_id: told(job_id, "done", progress=100) for job_id in (first, second)}
    async with asked(tmp_path, setting=setting) as agent:
        assert await jobs(agent) == done
        assert await jobs(agent, job_ids=[second]) == {second: done[second]}
        assert await jobs(agent, job_type="storage", job_ids=[]) == done
        assert await jobs(agent, job_type="virt") == {}
    assert script.log == ["merge", "merge"]


async def test_a_job_is_begun_once_whatever_kind_of_uuid_its_id_is(tmp_path: Path) -> None:
    script = Script()
    async with asked(tmp_path, setting=with_setting(programs=merging(script))) as agent:
        params = merge(RANDOM)
        for _ in range(2):
            assert await agent.call("SDM.merge", params) is True
            await agent.result(RANDOM)
        assert (await agent.code("SDM.merge", merge(RANDOM)))[0] == Code.ADD_TASK
        assert await agent.call("Task.clear", {"taskID": RANDOM}) is True
        assert (await agent.code("SDM.merge", params))[0] == Code.TASK_CLEARED
    assert script.log == ["merge"]


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_job_that_fails_says_why_and_one_that_was_stopped_is_aborted(tmp_path: Path, is_stopped: bool) -> None:
    script = Script(fails={} if is_stopped else {"merge": failing(252, "broken")})
    if is_stopped:
        script.hold("merge")
    async with asked(tmp_path, setting=with_setting(programs=merging(script))) as agent:
        job_id = await started(agent)
        await script.began["merge"].wait()
        if is_stopped:
            await agent.call("Task.stop", {"taskID": job_id})
        await agent.result(job_id)
        error = {"code": 411, "message": "the task was stopped"} if is_stopped else {"code": 252, "message": "broken"}
        status = "aborted" if is_stopped else "failed"
        assert await jobs(agent) == {job_id: told(job_id, status, error=error)}


async def test_only_the_latest_jobs_that_are_done_are_told_of_and_no_other_can_be_begun_again(tmp_path: Path) -> None:
    script = Script()
    setting = with_setting(programs=merging(script), bounds=Bounds(host_jobs_done_max=2))
    async with asked(tmp_path, setting=setting) as agent:
        every = []
        for _ in range(4):
            every.append(await started(agent))
            await agent.result(every[-1])
        assert list(await jobs(agent)) == every[2:]
        assert (await agent.code("SDM.merge", merge(every[0])))[0] == Code.TASK_CLEARED


async def test_a_stock_host_tells_of_jobs_by_get_jobs_alone(tmp_path: Path) -> None:
    script = Script()
    async with asked(tmp_path, setting=with_setting(programs=merging(script)), stock=True) as agent:
        job_id = await started(agent, RANDOM)
        assert list(await jobs(agent)) == [job_id]
        assert await agent.call("Host.getAllTasksStatuses", {}) == {}
        assert await agent.call("Host.getAllTasksInfo", {}) == {}
        for method in ("Task.getStatus", "Task.stop", "Task.clear", "Task.revert"):
            assert (await agent.code(method, {"taskID": job_id}))[0] == Code.UNKNOWN_TASK


async def test_tasks_are_told_of_by_id_and_verb(tmp_path: Path) -> None:
    async with asked(tmp_path, setting=with_setting(programs=merging(Script()))) as agent:
        job_id = await started(agent)
        assert await agent.call("Host.getAllTasksInfo", {}) == {job_id: {"id": job_id, "verb": "SDM.merge"}}
        assert await agent.call("Host.getAllVmStats", {}) == []
