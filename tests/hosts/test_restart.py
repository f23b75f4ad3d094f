"""A coordinator that is opened again on the same file: what it asks hosts, under a new term."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from interlock.vdsm import ImageDelete
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call
from tests.agent.asked import asked, with_setting
from tests.agent.scripted import Script, programs
from tests.hosts.driving import SHORT, Driven, eventually, images
from tests.hosts.scripted import (
    CLEAR,
    DELETE,
    FORBID_OR_GET,
    MAKE,
    ScriptedHost,
    hosting,
    params_bytes,
    status,
)

RUNNING = status("running")


def terms(calls: list[Call]) -> list[str | None]:
    """The terms under which the calls were made."""
    return [call.headers.get("interlockTerm") for call in calls]


def term(driven: Driven, job_id: UUID) -> int:
    """The flow's term in the database."""
    [(term,)] = driven.rows("SELECT term FROM job WHERE id = ?", job_id.bytes)
    return int(term)


class Held:
    """Answers of a host that come only when the connection is gone."""

    def __init__(self, host: ScriptedHost, *, has_run: bool) -> None:
        self._host = host
        self._has_run = has_run
        self.calls: list[Call] = []
        self.go_on = asyncio.Event()

    async def __call__(self, call: Call) -> Any:
        self.calls.append(call)
        answer = await self._host.honest(call) if self._has_run else None
        await self.go_on.wait()
        return answer


@pytest.mark.hard_case(6)
@pytest.mark.parametrize("has_run", [True, False])
@pytest.mark.parametrize("method", [DELETE, MAKE])
async def test_a_start_under_way_is_adopted_or_sent_again_under_the_next_term(
    tmp_path: Path, method: str, has_run: bool
) -> None:
    driven = Driven(tmp_path)
    async with hosting() as host:
        held = Held(host, has_run=has_run)
        host.on[method] = held
        async with driven.opened():
            thing = await driven.thing(host.port)
            job = await (driven.delete(thing, images(1)) if method == DELETE else driven.make(thing))
            await eventually("it is sent", lambda: held.calls)
            assert term(driven, job.id) == 1
            held.go_on.set()
            host.cut()
        host.on.clear()
        async with driven.opened():
            root = await driven.coordinator.wait_ended(job.id, 20)
            assert root.result == "SUCCEEDED"
            await driven.all_cleared()
            assert term(driven, job.id) == 2
        [id] = driven.task_ids(job.id)
        assert host.asked(FORBID_OR_GET)[-1].params == {"taskID": id, "flow": str(job.id), "term": 2}
        assert terms(host.asked(FORBID_OR_GET))[-1] == "2"
        is_adopted = has_run and method == DELETE
        assert terms(host.asked(method))[-1] == ("1" if is_adopted else "2")
        assert len({params_bytes(frame) for frame in host.frames(method)}) == 1
        assert terms(host.asked(CLEAR)) == ["2"]
        assert host.effects[id] == 1
        assert set(host.effects.values()) == {1}
        assert host.tasks == {}


@pytest.mark.hard_case(6)
async def test_code_that_renders_arguments_otherwise_sends_those_that_were_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven = Driven(tmp_path)
    async with hosting() as host:
        held = Held(host, has_run=False)
        host.on[DELETE] = held
        async with driven.opened():
            thing = await driven.thing(host.port)
            job = await driven.delete(thing, images(1))
            await eventually("it is sent", lambda: held.calls)
            held.go_on.set()
            host.cut()
        host.on.clear()
        monkeypatch.setattr(ImageDelete, "wire_params", lambda verb: {"imageID": verb.imageID, "postZero": True})
        async with driven.opened():
            root = await driven.coordinator.wait_ended(job.id, 20)
            assert root.result == "SUCCEEDED"
            await driven.all_cleared()
            first, again = host.frames(DELETE)
            assert params_bytes(first) == params_bytes(again)
            await (await driven.delete(thing, images(1))).result(20)  # what is named from now on is rendered anew
            assert b'"postZero":true' in params_bytes(host.frames(DELETE)[-1])


async def test_a_start_that_was_never_sent_is_sent_under_the_next_term(tmp_path: Path) -> None:
    driven = Driven(tmp_path)
    async with hosting() as host:
        async with driven.opened():
            await host.shut()
            job = await driven.delete(await driven.thing(host.port), images(2))
            assert driven.tasks(job.id, "state, incarnation") == [("Initializing", None)] * 2
        await host.listen()
        async with driven.opened():
            await driven.coordinator.wait_ended(job.id, 20)
            await driven.all_cleared()
            assert driven.tasks(job.id) == [("Cleared", "SUCCEEDED")] * 2
        assert terms(host.asked(DELETE)) == ["2", "2"]
        assert host.asked(FORBID_OR_GET) == []


async def test_a_running_task_is_watched_on_and_its_start_not_repeated(tmp_path: Path) -> None:
    driven = Driven(tmp_path)
    async with hosting(new_task=RUNNING) as host:
        async with driven.opened():
            job = await driven.delete(await driven.thing(host.port), images(2))
            await driven.all_polling(job.id)
        ids = driven.task_ids(job.id)
        host.calls.clear()
        host.finish_all()
        async with driven.opened():
            root = await driven.coordinator.wait_ended(job.id, 20)
            assert root.result == "SUCCEEDED"
            await driven.all_cleared()
        assert {call.method for call in host.calls} == {"Host.getCapabilities", "Host.getAllTasksStatuses", CLEAR}
        assert sorted(call.params["taskID"] for call in host.asked(CLEAR)) == sorted(ids)
        assert terms(host.asked(CLEAR)) == ["2", "2"]


@pytest.mark.hard_case(3)
async def test_a_running_task_of_a_host_that_was_reinstalled_meanwhile_is_lost(tmp_path: Path) -> None:
    driven = Driven(tmp_path)
    async with hosting(new_task=RUNNING) as host:
        async with driven.opened():
            job = await driven.delete(await driven.thing(host.port), images(1))
            await driven.all_polling(job.id)
        host.forget()
        async with driven.opened():
            root = await driven.coordinator.wait_ended(job.id, 20)
            assert root.result == "FAILED"
            assert driven.tasks(job.id) == [("Cleared", "LOST")]
            assert len(driven.leftovers(job.id)) == 1
        assert len(host.asked(DELETE)) == 1


async def test_an_ended_task_of_an_open_flow_is_cleared_under_the_next_term(tmp_path: Path) -> None:
    driven = Driven(tmp_path)
    async with hosting(new_task=RUNNING) as host:
        held = Held(host, has_run=False)
        host.on[CLEAR] = held
        async with driven.opened():
            job = await driven.delete(await driven.thing(host.port), images(2))
            await driven.all_polling(job.id)
            first, _ = driven.task_ids(job.id)
            host.tasks[first] = status("finished", "success")
            await driven.states(job.id, ("Ended", "SUCCEEDED"), ("Polling", None))
            held.go_on.set()
            host.cut()
        host.on.clear()
        host.calls.clear()
        async with driven.opened():
            await driven.states(job.id, ("Cleared", "SUCCEEDED"), ("Polling", None))
            assert [(call.params["taskID"], *terms([call])) for call in host.asked(CLEAR)] == [(first, "2")]
            host.finish_all()
            await driven.coordinator.wait_ended(job.id, 20)
            await driven.all_cleared()


async def test_an_ended_task_of_an_ended_flow_is_cleared(tmp_path: Path) -> None:
    driven = Driven(tmp_path)
    async with hosting() as host:
        held = Held(host, has_run=False)
        host.on[CLEAR] = held
        async with driven.opened():
            job = await driven.delete(await driven.thing(host.port), images(1))
            await job.result(20)
            await eventually("clearing is under way", lambda: held.calls)
            assert driven.tasks(job.id) == [("Ended", "SUCCEEDED")]
            held.go_on.set()
            host.cut()
        host.on.clear()
        async with driven.opened():
            await driven.all_cleared()
        assert host.tasks == {}


@pytest.mark.parametrize("after_a_crash", [False, True])
async def test_a_clear_refused_five_times_is_given_up_and_done_by_the_next_engine(
    tmp_path: Path, after_a_crash: bool
) -> None:
    driven = Driven(tmp_path)
    async with hosting() as host:

        async def refusing(call: Call) -> Any:
            raise RpcError(410, "not done yet")

        host.on[CLEAR] = refusing
        async with driven.opened():
            thing = await driven.thing(host.port)
            job = await driven.delete(thing, images(1))
            await job.result(20)
            await driven.states(job.id, ("ClearFailed", "SUCCEEDED"))
            assert len(host.asked(CLEAR)) == 5
            assert driven.rows("SELECT status, result FROM job WHERE id = ?", job.id.bytes) == [
                ("FINISHED", "SUCCEEDED")
            ]
            assert driven.truth(thing) == "done"
            await (await driven.delete(thing, ())).result(20)  # its locks are free
            assert len(host.asked(CLEAR)) == 5
        host.on.clear()
        if after_a_crash:  # the engine did not say good-bye: what it leaves is on trial, also a flow that is over
            with closing(sqlite3.connect(driven.path, isolation_level=None)) as connection:
                connection.execute("UPDATE engines SET ended_at = NULL")
        async with driven.opened():
            await driven.all_cleared()
        assert len(host.asked(CLEAR)) == 6
        assert host.tasks == {}


async def test_not_now_is_no_refusal_to_clear(tmp_path: Path) -> None:
    async with hosting() as host, Driven(tmp_path).opened() as driven:

        async def busy(call: Call) -> Any:
            count = len(host.asked(CLEAR))
            if count <= 10:
                raise RpcError(99 if count <= 6 else 410, "no")
            return await host.honest(call)

        host.on[CLEAR] = busy
        job = await driven.delete(await driven.thing(host.port), images(1))
        await job.result(20)
        await driven.all_cleared()
        assert len(host.asked(CLEAR)) == 11


@pytest.mark.parametrize("is_recovering", [True, False])
async def test_what_a_silent_host_does_not_clear_is_cleared_by_the_next_engine(
    tmp_path: Path, is_recovering: bool
) -> None:
    """The end is told at once; clearing is not waited for, and not tried without end."""
    driven = Driven(tmp_path)
    async with hosting() as host:

        async def gone(call: Call) -> Any:
            if is_recovering:
                raise RpcError(99, "recovering")
            await host.shut()

        host.on[CLEAR] = gone
        async with driven.opened(SHORT):
            job = await driven.delete(await driven.thing(host.port), images(1))
            await job.result(20)
            await driven.states(job.id, ("ClearFailed", "SUCCEEDED"))
        host.on.clear()
        if not is_recovering:
            await host.listen()
        async with driven.opened():
            await driven.all_cleared()
        assert host.tasks == {}


@pytest.mark.hard_case(1)
async def test_a_late_start_of_the_older_term_is_refused_by_the_agent(tmp_path: Path) -> None:
    """Hard case 1, with the real agent: the former coordinator's request arrives after it was replaced."""
    script = Script()
    setting = with_setting(programs=programs(script.step("delete", is_no_return=True)))
    driven = Driven(tmp_path)
    async with asked(tmp_path, setting=setting) as real, hosting(agent=real.agent.handle) as host:
        on_its_way = Held(host, has_run=False)
        host.on[DELETE] = on_its_way
        async with driven.opened():
            job = await driven.delete(await driven.thing(host.port), images(1))
            await eventually("it is sent", lambda: on_its_way.calls)
            on_its_way.go_on.set()
            host.cut()
        late = on_its_way.calls[0]
        assert terms([late]) == ["1"]
        refusals: list[int] = []

        async def arrive() -> None:
            with pytest.raises(RpcError) as refused:
                await real.agent.handle(late)
            refusals.append(refused.value.code)

        async def after_the_late_one(call: Call) -> Any:
            await arrive()  # between the question and the second start
            assert script.log == []
            return await host.honest(call)

        host.on[DELETE] = after_the_late_one
        async with driven.opened():
            root = await driven.coordinator.wait_ended(job.id, 20)
            assert root.result == "SUCCEEDED"
            await arrive()
            await driven.all_cleared()
            await arrive()
        assert refusals == [4701, 4701, 4701]
        assert script.log == ["delete"]
        assert terms(host.asked(DELETE))[-1] == "2"
