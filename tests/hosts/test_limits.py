"""A limit of a host: so many tasks under way on it, so many starts within a time; the others are not sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from interlock import Ref
from interlock.coordinator.configured import ConfiguredLimits
from interlock.coordinator.host_room import HostRoom
from interlock.coordinator.watched import Watched
from interlock.core.facts import Fact, TaskHeldBack
from interlock.model.errors import DatabaseLost
from interlock.model.limits import LimitRecord, of_host
from interlock.model.records import TaskRecord
from interlock.model.replacing import replace
from interlock.model.states import Outcome, TaskState
from interlock.store.queries import tasks
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call
from tests.coordinator.test_deadlines import Jumping
from tests.hosts.driving import Driven, eventually, failure_of, images
from tests.hosts.scripted import DELETE, DONE, ScriptedHost, hosting, status
from tests.store.rows import HOST, PLACEHOLDER

RUNNING = status("running")


async def finish_one_by_one(host: ScriptedHost, count: int, at_most: int) -> None:
    """Ends what runs as soon as so many do, until all have been started; never have more run at once."""
    for done in range(count):
        wanted = min(at_most, count - done)
        await until_running(host, wanted)
        assert len(host.asked(DELETE)) <= done + at_most
        host.tasks[running(host)[0]] = dict(DONE)


async def until_running(host: ScriptedHost, count: int) -> None:
    await eventually(f"{count} run", lambda: len(running(host)) == count)


def running(host: ScriptedHost) -> list[str]:
    return [id for id, told in host.tasks.items() if told["taskState"] == "running"]


@pytest.mark.parametrize("stock", [False, True])
async def test_no_more_than_the_limit_are_under_way_and_the_rest_follow(tmp_path: Path, stock: bool) -> None:
    async with hosting(new_task=RUNNING, stock=stock) as host, Driven(tmp_path).opened() as driven:
        thing = await driven.thing(host.port)
        await driven.coordinator.set_limit(f"host:{driven.node.id}", at_most=2, by="ada")
        job = await driven.delete(thing, images(5))
        await finish_one_by_one(host, 5, at_most=2)
        await job.result(20)
        await driven.all_cleared()
        told = driven.rows("SELECT message FROM audit_log WHERE kind = 'task_held_back' ORDER BY id")
        assert [message.split(" waits: ")[1] for (message,) in told] == [
            f"limit host:{driven.node.id}: 2 of 2 run; {ahead} come before" for ahead in range(3)
        ]


@pytest.mark.parametrize("stock", [False, True])
async def test_what_was_held_back_was_never_sent_and_the_count_is_kept_over_a_restart(
    tmp_path: Path, stock: bool
) -> None:
    driven = Driven(tmp_path)
    async with hosting(new_task=RUNNING, stock=stock) as host:
        async with driven.opened():
            thing = await driven.thing(host.port)
            first = await driven.delete(thing, images(1))  # so that the host's journal is known beforehand
            await driven.all_polling(first.id)
            host.finish_all()
            await first.result(20)
            await driven.all_cleared()
            host.calls.clear()
            await driven.coordinator.set_limit(f"host:{driven.node.id}", at_most=1, by="ada")
            job = await driven.delete(thing, images(3))
            await eventually("one is watched", lambda: ("Polling", None) in driven.tasks(job.id))
        async with driven.opened():
            await finish_one_by_one(host, 3, at_most=1)
            await driven.coordinator.wait_ended(job.id, 20)
            assert driven.tasks(job.id, "outcome") == [("SUCCEEDED",)] * 3
            assert len(host.asked(DELETE)) == 3


async def test_starts_within_a_window_were_forgotten_where_the_database_was_gone_as_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven, asked = Driven(tmp_path), list[Ref[Any]]()
    starts_on = tasks.starts_on

    def gone_at_first(connection: Connection, host: Ref[Any], since: int) -> list[int]:
        asked.append(host)
        if len(asked) == 1:
            raise DatabaseLost("gone")
        return starts_on(connection, host, since)

    async with hosting(new_task=RUNNING) as host:
        async with driven.opened():
            thing = await driven.thing(host.port)
            await driven.coordinator.set_limit(f"host:{driven.node.id}", starts_max=1, window_s=3600.0, by="ada")
            first = await driven.delete(thing, images(1))
            await driven.all_polling(first.id)
            host.finish_all()
            await first.result(20)
            await driven.all_cleared()
        monkeypatch.setattr(tasks, "starts_on", gone_at_first)
        async with driven.opened():
            await driven.delete(thing, images(1))
            await eventually(
                "the second is held back",
                lambda: [each["held_back_tasks"] for each in driven.coordinator.hosts()] == [1],
            )
        assert len(asked) == 2
        assert len(host.asked(DELETE)) == 1


async def test_a_limit_that_is_removed_lets_all_be_sent(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        thing = await driven.thing(host.port)
        await driven.coordinator.set_limit(f"host:{driven.node.id}", at_most=0, by="ada")
        job = await driven.delete(thing, images(3))
        [told] = await eventually(
            "all are held back",
            lambda: [each for each in driven.coordinator.hosts() if each["held_back_tasks"] == 3],
        )
        assert (told["running_tasks"], host.asked(DELETE)) == (0, [])
        await driven.coordinator.remove_limit(f"host:{driven.node.id}", by="ada")
        await driven.all_polling(job.id)
        host.finish_all()
        await job.result(20)


async def test_another_priority_moves_what_its_host_holds_back(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        things = [await driven.thing(host.port) for _ in range(3)]
        await driven.coordinator.set_limit(f"host:{driven.node.id}", at_most=1, by="ada")
        jobs = [await driven.delete(things[0], images(1))]
        await until_running(host, 1)
        for thing in things[1:]:
            jobs.append(await driven.delete(thing, images(1)))
        await eventually("two wait", lambda: [1 for told in driven.coordinator.hosts() if told["held_back_tasks"] == 2])
        await driven.coordinator.set_priority(jobs[2].id, 10, by="ada")
        for number in (0, 2, 1):
            await until_running(host, 1)
            assert running(host) == driven.task_ids(jobs[number].id)
            host.tasks[running(host)[0]] = dict(DONE)
            await jobs[number].result(20)


async def test_a_start_that_the_host_refuses_takes_no_room_for_ever(tmp_path: Path) -> None:
    async def refusing(call: Call) -> Any:
        raise RpcError(500, "no such image")

    async with hosting() as host, Driven(tmp_path).opened() as driven:
        thing = await driven.thing(host.port)
        await driven.coordinator.set_limit(f"host:{driven.node.id}", at_most=1, by="ada")
        host.on[DELETE] = refusing
        await failure_of(await driven.delete(thing, images(1)))
        del host.on[DELETE]
        await (await driven.delete(thing, images(1))).result(20)


class Room:
    """The room of a host under one limit, and what it told."""

    def __init__(self, **limit: Any) -> None:
        self.clock = Jumping()
        self.told: list[tuple[UUID, Fact]] = []
        record = LimitRecord(
            of_host(HOST), limit.get("at_most"), limit.get("starts_max"), limit.get("window_us"), "", 0
        )
        self.room = HostRoom(HOST, ConfiguredLimits([record]), self.clock, lambda *told: self.told.append(told))

    def admitted(self, *to_do: Watched) -> list[UUID]:
        return [each.task.id for each in self.room.admit(to_do)]


def a_task(number: int, rank: int = 0, **fields: Any) -> Watched:
    task: TaskRecord = replace(PLACEHOLDER, id=UUID(int=number), host=HOST, incarnation=None, **fields)
    return Watched(task, 1, True, 0.0, 0.0, rank)


def test_the_first_in_line_is_sent_first_and_what_was_bound_before_is_not_held_back() -> None:
    room = Room(at_most=2)
    bound = a_task(9)
    bound.task = replace(bound.task, incarnation="j")
    room.room.note(bound)
    late, early = a_task(1, rank=5), a_task(2, rank=-5)
    assert room.admitted(late, early, bound) == [bound.task.id, early.task.id]
    assert room.admitted(late) == []
    assert [fact for _, fact in room.told] == [
        TaskHeldBack(late.task.id, f"limit {of_host(HOST)}: 2 of 2 run; 0 come before")
    ], "it is told once"
    early.task = replace(early.task, state=TaskState.ENDED, outcome=Outcome.SUCCEEDED)
    room.room.note(early)
    assert room.admitted(late) == [late.task.id]


def test_a_window_counts_what_was_started_before_this_engine() -> None:
    room = Room(starts_max=2, window_us=60_000_000)
    room.room.started_before([room.clock.now_us() - 30_000_000])
    first, second = a_task(1), a_task(2)
    assert room.admitted(first, second) == [first.task.id]
    room.clock.by_us = 20_000_000
    assert room.admitted(second) == []
    room.clock.by_us = 31_000_000
    assert room.admitted(second) == [second.task.id]
