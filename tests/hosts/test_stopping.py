"""Tasks that are to stop, and tasks that stall: what their hosts are asked, and what becomes of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from interlock import Job, Outcome
from interlock.core.facts import CommandOverdue
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call
from tests.hosts.driving import QUICK, SHORT, Driven, eventually, failure_of, images
from tests.hosts.scripted import DELETE, DONE, FORBID_OR_GET, STATUSES, STOP, ScriptedHost, hosting, status

RUNNING = status("running")
KINDS = pytest.mark.parametrize("stock", [False, True], ids=["extension", "stock"])
#: a host that was asked to stop a task is not waited for
IMPATIENT = replace(QUICK, stop_s=0.2)


async def running(driven: Driven, host: ScriptedHost, count: int = 1) -> Job[None]:
    """A job whose tasks the host has begun."""
    job = await driven.delete(await driven.thing(host.port), images(count))
    await driven.all_polling(job.id)
    return job


def methods(host: ScriptedHost) -> list[str]:
    return [call.method for call in host.calls]


async def to_stop(driven: Driven, job: Job[Any]) -> None:
    """Waits until the wish is stored."""
    await eventually("it is to stop", lambda: all(row != (None,) for row in driven.tasks(job.id, "stopping")))


@KINDS
async def test_a_task_is_asked_about_then_stopped_and_leaves_nothing(tmp_path: Path, stock: bool) -> None:
    async with hosting(stock=stock, new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await running(driven, host, 3)
        before = len(host.calls)
        driven.time_is_over(job)
        failure = await failure_of(job)
        assert driven.tasks(job.id, "outcome, host_result, code") == [("STOPPED", "cleanSuccess", 411)] * 3
        await driven.all_cleared()
        assert STATUSES in methods(host)[before : methods(host).index(STOP)]
        assert len(host.asked(STOP)) == 3
        assert {call.headers.get("interlockTerm") for call in host.asked(STOP)} == {None if stock else "1"}
        assert driven.leftovers(job.id) == []
        assert failure.has(Outcome.STOPPED)
        assert failure.message.startswith("the time of delete was over")
        assert [cause.remedy for cause in failure.causes] == ["see what took so long, or give it more time"] * 4
        assert host.tasks == {}


@KINDS
async def test_a_task_that_the_host_does_not_end_is_of_unknown_fate(tmp_path: Path, stock: bool) -> None:
    async with hosting(stock=stock, new_task=RUNNING) as host, Driven(tmp_path).opened(IMPATIENT) as driven:

        async def yes_and_no(call: Call) -> Any:
            return True

        host.on[STOP] = yes_and_no
        job = await running(driven, host)
        driven.time_is_over(job)
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        [(_, where, _, reason, _)] = driven.leftovers(job.id)
        assert where == str(driven.node)
        assert reason.endswith(f"{driven.node} was asked to stop it and has not ended it within 0.2 s")
        assert len(host.asked(STOP)) == 1
        assert driven.rows("SELECT count(*) FROM entity_locks WHERE leftover_id IS NOT NULL") == [(1,)]


async def test_a_host_that_will_not_stop_a_task_is_quoted(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened(IMPATIENT) as driven:

        async def no(call: Call) -> Any:
            raise RpcError(410, "not this one")

        host.on[STOP] = no
        job = await running(driven, host)
        driven.time_is_over(job)
        await failure_of(job)
        [(_, _, _, reason, _)] = driven.leftovers(job.id)
        assert reason.endswith("has not ended it within 0.2 s (not this one)")


async def test_a_stop_without_an_answer_is_asked_again(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:

        async def cut_at_first(call: Call) -> Any:
            if len(host.asked(STOP)) == 1:
                host.cut()
                return None
            if len(host.asked(STOP)) == 2:
                raise RpcError(99, "recovering")
            return await host.honest(call)

        host.on[STOP] = cut_at_first
        job = await running(driven, host)
        driven.time_is_over(job)
        await failure_of(job)
        assert driven.tasks(job.id, "outcome") == [("STOPPED",)]
        assert len(host.asked(STOP)) == 3


@pytest.mark.hard_case(28)
async def test_a_task_that_has_ended_meanwhile_is_not_stopped_and_its_success_counts(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await running(driven, host)
        go_on, looks = asyncio.Event(), len(host.asked(STATUSES))

        async def late(call: Call) -> Any:
            seen = dict(host.tasks)
            if not go_on.is_set():
                await go_on.wait()
            return seen

        host.on[STATUSES] = late
        await eventually("a look is under way", lambda: len(host.asked(STATUSES)) > looks)
        driven.time_is_over(job)
        await to_stop(driven, job)
        host.finish_all()
        go_on.set()  # what that look tells is older than the wish to stop
        await job.result(20)
        assert host.asked(STOP) == []
        assert driven.tasks(job.id, "outcome") == [("SUCCEEDED",)]
        assert driven.rows("SELECT has_warnings FROM command_entities WHERE id = ?", job.id.bytes) == [(1,)]


async def test_what_was_never_sent_is_stopped_without_the_host(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        await host.shut()
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(2))
        driven.time_is_over(job)
        await failure_of(job)
        assert driven.tasks(job.id, "state, outcome, incarnation") == [("Cleared", "STOPPED", None)] * 2
        assert driven.leftovers(job.id) == []
        await host.listen()
        await (await driven.delete(thing, images(1))).result(20)
        assert len(host.asked(DELETE)) == 1


async def test_what_runs_on_a_host_that_is_silent_is_of_unknown_fate_and_was_not_stopped(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened(SHORT) as driven:
        job = await running(driven, host)
        await host.shut()
        driven.time_is_over(job)
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        assert len(driven.leftovers(job.id)) == 1
        assert host.asked(STOP) == []


@pytest.mark.hard_case(27)
async def test_a_process_that_slept_does_not_take_that_for_a_delay_of_the_host(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened(replace(QUICK, stop_s=60.0)) as driven:

        async def not_yet(call: Call) -> Any:
            return True

        host.on[STOP] = not_yet
        job = await running(driven, host)
        driven.time_is_over(job)
        await eventually("it was asked", lambda: host.asked(STOP))
        [watch] = driven.coordinator._supervision.acting._watches.values()
        watch._looked_s -= 3600.0
        looks = len(host.asked(STATUSES))
        await eventually("it was looked at again", lambda: len(host.asked(STATUSES)) > looks + 2)
        assert driven.tasks(job.id) == [("Polling", None)]
        await host.shut()
        del host.on[STOP]
        await host.listen()  # a connection later it is asked again
        await failure_of(job)
        assert driven.tasks(job.id, "outcome") == [("STOPPED",)]
        assert len(host.asked(STOP)) == 2


@pytest.mark.parametrize("has_run", [True, False])
async def test_a_start_without_an_answer_is_closed_for_good_or_stopped(tmp_path: Path, has_run: bool) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:

        async def no_answer(call: Call) -> Any:
            if has_run:
                await host.honest(call)
            await host.shut()
            raise RpcError(-32603, "gone")

        host.on[DELETE] = no_answer
        job = await driven.delete(await driven.thing(host.port), images(1))
        await eventually("it was sent", lambda: host.asked(DELETE))
        driven.time_is_over(job)
        await to_stop(driven, job)
        del host.on[DELETE]
        assert driven.tasks(job.id) == [("Initializing", None)]
        await host.listen()
        await failure_of(job)
        [id] = driven.task_ids(job.id)
        assert driven.tasks(job.id) in ([("Ended", "STOPPED")], [("Cleared", "STOPPED")])
        assert driven.leftovers(job.id) == []
        assert [call.params["forGood"] for call in host.asked(FORBID_OR_GET)] == [True]
        assert len(host.asked(STOP)) == has_run
        assert host.closed == (set() if has_run else {id})
        assert (len(host.asked(DELETE)), host.effects[id]) == (1, has_run)
        await driven.all_cleared()


async def test_a_start_without_an_answer_on_a_stock_host_is_of_unknown_fate(tmp_path: Path) -> None:
    async with hosting(stock=True, new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:

        async def no_answer(call: Call) -> Any:
            await host.shut()

        host.on[DELETE] = no_answer
        job = await driven.delete(await driven.thing(host.port), images(1))
        await eventually("it was sent", lambda: host.asked(DELETE))
        driven.time_is_over(job)
        await to_stop(driven, job)
        await host.listen()
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        assert len(driven.leftovers(job.id)) == 1


async def test_the_wish_to_stop_outlives_the_coordinator(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host:
        driven = Driven(tmp_path)

        async def recovering(call: Call) -> Any:
            raise RpcError(99, "recovering")

        host.on[STOP] = recovering
        async with driven.opened():
            job = await running(driven, host)
            driven.time_is_over(job)
            await eventually("it was asked", lambda: host.asked(STOP))
        assert driven.tasks(job.id) == [("Polling", None)]
        del host.on[STOP]
        before = len(host.calls)
        async with driven.opened():
            await driven.coordinator.wait_ended(job.id, 20)
            assert driven.tasks(job.id, "outcome") == [("STOPPED",)]
            await driven.all_cleared()
            since = methods(host)[before:]
            assert since.index(STATUSES) < since.index(STOP)
            assert {call.headers["interlockTerm"] for call in host.calls[before:] if call.method == STOP} == {"2"}


async def test_a_job_of_a_stock_host_cannot_be_stopped(tmp_path: Path) -> None:
    async with hosting(stock=True) as host, Driven(tmp_path).opened(IMPATIENT) as driven:

        async def told(call: Call) -> Any:
            return {job_id: {"id": job_id, "status": "running"}}

        async def begun(call: Call) -> Any:
            return True

        job_id = str(uuid4())
        host.on |= {"SDM.merge": begun, "Host.getJobs": told}
        job = await driven.merge(await driven.thing(host.port), job_id)
        await driven.all_polling(job.id)
        driven.time_is_over(job)
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        [(_, _, _, reason, _)] = driven.leftovers(job.id)
        assert reason.endswith(f"has not ended it within 0.2 s (there is no task {job_id})")


async def test_a_synchronous_call_that_is_under_way_says_its_true_end(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        go_on = asyncio.Event()

        async def slow(call: Call) -> Any:
            await go_on.wait()
            return await host.honest(call)

        host.on["StorageDomain.create"] = slow
        job = await driven.make(await driven.thing(host.port))
        await eventually("it was sent", lambda: host.asked("StorageDomain.create"))
        driven.time_is_over(job)
        await to_stop(driven, job)
        go_on.set()
        await job.result(20)
        assert driven.tasks(job.id, "outcome") == [("SUCCEEDED",)]
        await driven.all_cleared()


async def test_a_task_that_makes_no_progress_is_told_once_and_again_when_it_does(tmp_path: Path) -> None:
    patience = replace(QUICK, stalled_s=0.2)
    async with hosting(new_task=status(progress=7)) as host, Driven(tmp_path).opened(patience) as driven:
        job = await running(driven, host)
        told = "SELECT kind FROM audit_log WHERE kind IN ('task_stalled', 'task_went_on') ORDER BY seq"
        await eventually("it is told", lambda: driven.rows(told) == [("task_stalled",)])
        [(stalled_at,)] = driven.tasks(job.id, "stalled_at")
        assert stalled_at is not None
        looks = len(host.asked(STATUSES))
        await eventually("it was looked at often", lambda: len(host.asked(STATUSES)) > looks + 10)
        assert driven.rows(told) == [("task_stalled",)]
        host.tasks = {id: status(progress=8) for id in host.tasks}
        await eventually("it goes on", lambda: driven.rows(told)[:2] == [("task_stalled",), ("task_went_on",)])
        host.tasks = {id: dict(DONE) for id in host.tasks}
        await job.result(20)
        assert driven.tasks(job.id, "stalled_at, outcome") == [(None, "SUCCEEDED")]


async def test_a_stall_is_not_told_again_by_the_next_engine(tmp_path: Path) -> None:
    patience = replace(QUICK, stalled_s=0.1)
    async with hosting(new_task=status(progress=7)) as host:
        driven = Driven(tmp_path)
        told = "SELECT kind FROM audit_log WHERE kind IN ('task_stalled', 'task_went_on') ORDER BY seq"
        async with driven.opened(patience):
            job = await running(driven, host)
            await eventually("it is told", lambda: driven.rows(told) == [("task_stalled",)])
        async with driven.opened(patience):
            looks = len(host.asked(STATUSES))
            await eventually("it was looked at often", lambda: len(host.asked(STATUSES)) > looks + 10)
            assert driven.rows(told) == [("task_stalled",)]
            host.finish_all()
            await driven.coordinator.wait_ended(job.id, 20)


async def test_a_deadline_of_a_flow_that_is_over_means_nothing(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await job.result(20)
        driven.coordinator._engine.tell(job.id, CommandOverdue(job.id))
        await driven.all_cleared()
        assert host.asked(STOP) == []
