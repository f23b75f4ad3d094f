"""Events only hurry a look: a coordinator that misses them, or its connection, asks and is right."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from interlock.agent.serving.agent import opened
from interlock.agent.settings.config import AgentConfig
from interlock.verbs import TaskStatus
from tests.agent.asked import with_setting
from tests.agent.scripted import Script, failing, programs
from tests.hosts.driving import Driven, eventually, images
from tests.hosts.scripted import CAPABILITIES, STATUSES, hosting, status

TASKS = 40


@pytest.mark.hard_case(26)
async def test_with_two_events_of_three_lost_and_the_connection_cut_every_end_is_right(tmp_path: Path) -> None:
    script, chance = Script(), random.Random(7)
    script.hold("work")
    (root := tmp_path / "storage").mkdir()
    config = AgentConfig(name="h", state_dir=tmp_path / "agent", storage_roots=(root,), workers=4)
    told, lost = [], []

    def publish(news: TaskStatus) -> None:
        if chance.random() < 2 / 3:
            lost.append(news.taskID)
        else:
            told.append(news.taskID)
            host.tell(news.taskID, news.to_wire())

    setting = with_setting(programs=programs(script.step("work")))
    async with (
        opened(config, publish=publish, setting=setting) as agent,
        hosting(agent=agent.handle) as host,
        Driven(tmp_path).opened() as driven,
    ):
        agent.recover()
        good, bad = await driven.thing(host.port), await driven.thing(host.port)
        job = await driven.delete(good, images(TASKS))
        await driven.all_polling(job.id)
        host.cut()
        script.gates["work"].set()
        await job.result(20)
        script.fails["work"] = failing(256, "no")
        failing_job = await driven.delete(bad, images(TASKS))
        host.cut()
        await driven.coordinator.wait_ended(failing_job.id, 20)
        await driven.all_cleared()
        assert driven.tasks(job.id) == [("Cleared", "SUCCEEDED")] * TASKS
        assert driven.tasks(failing_job.id) == [("Cleared", "FAILED")] * TASKS
        assert script.log.count("work") == 2 * TASKS
        assert (len(lost) > TASKS, len(told) > 0) == (True, True)


async def test_after_each_reconnect_all_tasks_are_read_at_once(tmp_path: Path) -> None:
    async with hosting(new_task=status()) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(3))
        await driven.all_polling(job.id)
        for _ in range(3):
            seen = len(host.calls)
            host.cut()
            await eventually("it asks again", lambda seen=seen: len(host.calls) >= seen + 2)  # type: ignore[misc]
            methods = [call.method for call in host.calls[seen:]]
            first = methods.index(CAPABILITIES)  # a look may have been under way when the connection broke
            assert methods[first + 1] == STATUSES
        host.finish_all()
        await job.result(20)
