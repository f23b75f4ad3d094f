"""Host jobs driven by the coordinator: by task calls where the host has the extension, by `Host.getJobs` otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from interlock.agent.serving.agent import Agent, opened
from interlock.agent.settings.config import AgentConfig
from interlock.wire.server import Call
from tests.agent.asked import with_setting
from tests.agent.scripted import Script, failing
from tests.agent.test_agent_host_jobs import merging
from tests.hosts.driving import Driven, eventually, failure_of
from tests.hosts.scripted import STATUS, hosting

MERGE = "SDM.merge"
GET_JOBS = "Host.getJobs"
KINDS = pytest.mark.parametrize("stock", [False, True], ids=["extension", "stock"])


@asynccontextmanager
async def agent(folder: Path, script: Script, *, stock: bool) -> AsyncIterator[Agent]:
    (root := folder / "storage").mkdir(exist_ok=True)
    config = AgentConfig(name="h", state_dir=folder / "agent", storage_roots=(root,), stock=stock)
    setting = with_setting(programs=merging(script))
    async with opened(config, publish=lambda status: None, setting=setting) as opened_agent:
        opened_agent.recover()
        yield opened_agent


@KINDS
async def test_a_job_is_watched_to_its_success(tmp_path: Path, stock: bool) -> None:
    script, job_id = Script(), str(uuid4())
    script.hold("merge")
    async with (
        agent(tmp_path, script, stock=stock) as real,
        hosting(stock=stock, agent=real.handle) as host,
        Driven(tmp_path).opened() as driven,
    ):
        thing = await driven.thing(host.port)
        job = await driven.merge(thing, job_id)
        await driven.all_polling(job.id)
        looked = GET_JOBS if stock else STATUS
        await eventually("it is looked at while it runs", lambda: stock is False or host.asked(looked))
        script.gates["merge"].set()
        await job.result(20)
        await driven.all_cleared()
        assert driven.tasks(job.id, "state, outcome, host_task_id") == [("Cleared", "SUCCEEDED", job_id)]
        assert driven.truth(thing) == "done"
        assert [call.params["job_id"] for call in host.asked(MERGE)] == [job_id]
        assert (len(host.asked(GET_JOBS)) > 0) is stock
    assert script.log == ["merge"]


@KINDS
async def test_a_job_that_failed_fails_its_command_with_the_hosts_words(tmp_path: Path, stock: bool) -> None:
    script = Script(fails={"merge": failing(252, "broken")})
    async with (
        agent(tmp_path, script, stock=stock) as real,
        hosting(stock=stock, agent=real.handle) as host,
        Driven(tmp_path).opened() as driven,
    ):
        job = await driven.merge(await driven.thing(host.port), str(uuid4()))
        failure = await failure_of(job)
        assert failure.causes[0].code == 252
        assert "broken" in failure.message
        assert driven.tasks(job.id)[0][1] == "FAILED"


async def test_a_job_whose_start_was_lost_is_found_by_its_own_id_and_runs_once(tmp_path: Path) -> None:
    script = Script()
    async with (
        agent(tmp_path, script, stock=False) as real,
        hosting(agent=real.handle) as host,
        Driven(tmp_path).opened() as driven,
    ):

        async def lost(call: Call) -> Any:
            del host.on[MERGE]
            await real.handle(call)
            host.cut()

        host.on[MERGE] = lost
        job = await driven.merge(await driven.thing(host.port), str(uuid4()))
        await job.result(20)
        assert len(host.asked(MERGE)) == 1
        await driven.all_cleared()
    assert script.log == ["merge"]


@pytest.mark.parametrize("odd", [None, [], {"status": "lost"}, {"status": "done", "progress": 101}], ids=repr)
async def test_a_job_of_which_a_stock_host_says_nonsense_is_asked_about_again(tmp_path: Path, odd: Any) -> None:
    script, job_id = Script(), str(uuid4())
    async with (
        agent(tmp_path, script, stock=True) as real,
        hosting(stock=True, agent=real.handle) as host,
        Driven(tmp_path).opened() as driven,
    ):

        async def nonsense(call: Call) -> Any:
            if len(host.asked(GET_JOBS)) >= 3:
                del host.on[GET_JOBS]
            return {job_id: odd}

        host.on[GET_JOBS] = nonsense
        job = await driven.merge(await driven.thing(host.port), job_id)
        await job.result(20)
        assert len(host.asked(GET_JOBS)) > 3
