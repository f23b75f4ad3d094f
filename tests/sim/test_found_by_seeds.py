"""What seeds have found wrong in the product, each made small."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from interlock.core.facts import TaskEnded
from interlock.model.states import Outcome, TaskState
from interlock.wire.server import Call
from tests.hosts.driving import Driven, eventually, failure_of, images
from tests.hosts.scripted import FORBID_OR_GET, STATUSES, hosting, status


async def test_a_task_whose_start_was_stored_while_it_was_asked_about_was_watched_by_nobody(tmp_path: Path) -> None:
    """The time of a task is over while the answer to its start is on its way to the row: the host is asked for the
    task, and says what the row says by then. That was no news, and nobody looked at the task any more."""
    async with hosting(new_task=status("running")) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(job.id)
        [id] = driven.task_ids(job.id)
        actor: Any = driven.coordinator._engine._actor  # Any: its watches are nobody else's concern
        watch = actor._watches[driven.node]
        watched = await eventually("it is watched", lambda: watch._running.get(UUID(id)))
        asked, stored = asyncio.Event(), asyncio.Event()

        async def answered_late(call: Call) -> Any:
            asked.set()
            await stored.wait()
            return await host.honest(call)

        host.on[FORBID_OR_GET] = answered_late
        former = replace(watched.task, state=TaskState.INITIALIZING, host_task_id=None, stopping="its time was over")
        watch.take(former, watched.term, fresh=False)
        await asked.wait()
        watch.take(replace(former, state=TaskState.POLLING, host_task_id=id), watched.term, fresh=False)
        stored.set()
        await failure_of(job)  # it was stopped, and somebody saw that


async def test_a_look_that_came_back_after_a_task_had_ended_left_it_uncleared(tmp_path: Path) -> None:
    """A task's time passes while its end is on its way to the row: it is looked at once more, and that look is answered
    after the end was stored. Told of the end again, the watch forgot that the task was to be cleared."""
    async with hosting(new_task=status("running")) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(job.id)
        [id] = driven.task_ids(job.id)
        actor: Any = driven.coordinator._engine._actor  # Any: its watches are nobody else's concern
        watch = actor._watches[driven.node]
        asked, stored = asyncio.Event(), asyncio.Event()

        async def answered_late(call: Call) -> Any:
            asked.set()
            await stored.wait()
            return await host.honest(call)

        host.on[STATUSES] = answered_late
        await asked.wait()
        host.finish_all()
        watched = watch._running[UUID(id)]
        watch._drop(watched.task, TaskEnded(UUID(id), Outcome.SUCCEEDED, host_state="finished"))
        watch.take(replace(watched.task, stopping="its time was over"), watched.term, fresh=False)
        await job.result(20)
        stored.set()
        await driven.all_cleared()
