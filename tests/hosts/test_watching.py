"""How a host is watched: its cost, and what its answers may and may not decide."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from interlock.coordinator.watched import Patience
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call
from tests.hosts.driving import Driven, eventually, failure_of, images
from tests.hosts.scripted import CLEAR, DELETE, DONE, STATUS, STATUSES, ScriptedHost, hosting, status

RUNNING = status("running")


async def looks(host: ScriptedHost, count: int) -> None:
    """Waits until the host was looked at that often from now on, each look answered."""
    seen = len(host.asked(STATUSES)) + count
    await eventually(f"{count} looks", lambda: len(host.asked(STATUSES)) > seen)


@pytest.mark.parametrize("count", [1, 200])
async def test_a_look_is_one_call_however_many_tasks_run(tmp_path: Path, count: int) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(count))
        await driven.all_polling(job.id)
        await looks(host, 2)
        host.calls.clear()
        await looks(host, 5)
        assert {call.method for call in host.calls} == {STATUSES}
        host.finish_all()
        await job.result(20)
        await driven.all_cleared()
        assert len(host.asked(CLEAR)) == count
        assert host.asked(STATUS) == []
        assert host.tasks == {}


@pytest.mark.hard_case(26)
async def test_an_event_hurries_a_look_and_is_not_believed(tmp_path: Path) -> None:
    rare = Patience(poll_s_min=60.0, poll_s_max=60.0)
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened(rare) as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(job.id)
        await eventually("the look after the start", lambda: host.asked(STATUSES))
        [id] = driven.task_ids(job.id)
        host.tell(id, {"taskID": id, **DONE})  # a lie
        await eventually("the event hurried a look", lambda: len(host.asked(STATUSES)) == 2)
        host.tasks[id] = status("running", progress=7)
        host.tell(id, {})
        await eventually(
            "what was asked is stored", lambda: driven.tasks(job.id, "state, progress") == [("Polling", 7)]
        )
        host.tasks[id] = DONE
        host.tell("of nobody", {"huge": "x" * 1000})
        await job.result(20)
        assert len(host.asked(STATUSES)) == 4


@pytest.mark.hard_case(4)
async def test_a_look_that_began_before_the_start_was_answered_is_no_verdict(tmp_path: Path) -> None:
    """Hard case 4: what it does not show may be younger than it."""
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        first = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(first.id)
        start_gate, look_gate, looking = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def late_start(call: Call) -> Any:
            await start_gate.wait()
            return await host.honest(call)

        async def old_statuses(call: Call) -> Any:
            seen = dict(host.tasks)
            looking.set()
            await look_gate.wait()
            return seen

        host.on = {DELETE: late_start}
        node = driven.node
        thing = await driven.thing(host.port)
        driven.node = node
        second = await driven.delete(thing, images(1))
        await eventually("the start is under way", lambda: len(host.asked(DELETE)) == 2)
        host.on[STATUSES] = old_statuses
        async with asyncio.timeout(20):
            await looking.wait()
        start_gate.set()
        await driven.all_polling(second.id)
        del host.on[STATUSES]
        look_gate.set()
        await looks(host, 3)
        assert driven.tasks(second.id) == [("Polling", None)]
        assert host.asked(STATUS) == []
        host.finish_all()
        await first.result(20)
        await second.result(20)


@pytest.mark.hard_case(4)
async def test_absence_needs_the_targeted_question_and_99_is_no_answer(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(1))
        await driven.all_polling(job.id)
        [id] = driven.task_ids(job.id)

        async def nothing(call: Call) -> Any:
            return {}

        async def recovering(call: Call) -> Any:
            raise RpcError(99, "Recovering from crash or initializing")

        host.on = {STATUSES: nothing}
        await eventually("the host is asked for the task", lambda: len(host.asked(STATUS)) > 3)
        assert driven.tasks(job.id) == [("Polling", None)]  # the targeted answer knows it
        host.on[STATUS] = recovering
        asked = len(host.asked(STATUS))
        await eventually("the host is asked again", lambda: len(host.asked(STATUS)) > asked + 3)
        assert driven.tasks(job.id) == [("Polling", None)]
        del host.tasks[id], host.on[STATUS]
        failure = await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "LOST")]
        assert failure.message == f"Image.delete was lost: {driven.node} does not know task {id}; it may have run"
        assert [row[1] for row in driven.leftovers(job.id)] == [str(driven.node)]
        assert driven.truth(thing) == "failed"


@pytest.mark.parametrize("code", [99, 100, -32603, 1 << 70])
async def test_a_look_that_is_refused_judges_nothing(tmp_path: Path, code: int) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(job.id)

        async def refusing(call: Call) -> Any:
            raise RpcError(code, "no")

        host.on[STATUSES] = refusing
        await looks(host, 4)
        assert driven.tasks(job.id) == [("Polling", None)]
        assert len(host.came_at) == 1
        host.on.clear()
        host.finish_all()
        await job.result(20)


@pytest.mark.parametrize(
    ("result", "left"), [("cleanFailure", "failed and was not rolled back: said by the host"), ("cleanSuccess", "")]
)
async def test_code_0_is_no_success(tmp_path: Path, result: str, left: str) -> None:
    async with hosting(new_task=status("finished", result, code=0)) as host, Driven(tmp_path).opened() as driven:
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(1))
        failure = await failure_of(job)
        [id] = driven.task_ids(job.id)
        assert failure.message == f"Image.delete failed on {driven.node}: said by the host"
        assert driven.truth(thing) == "failed"
        reasons = [row[3] for row in driven.leftovers(job.id)]
        assert reasons == ([f"Image.delete on {driven.node} {left}"] if left else [])
        assert failure.causes[0].leftover is bool(left)
        assert (failure.causes[0].remedy or "").endswith(f"then clear leftover {id}" if left else "")
        await driven.all_cleared()
        assert len(host.asked(CLEAR)) == 1


async def test_finished_without_a_result_is_of_unknown_fate(tmp_path: Path) -> None:
    async with hosting(new_task=status("finished", "")) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await failure_of(job)
        assert driven.tasks(job.id) == [("Cleared", "UNKNOWN")]
        assert len(driven.leftovers(job.id)) == 1


async def test_progress_never_goes_back(tmp_path: Path) -> None:
    async with hosting(new_task=status("running", progress=10)) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        [id] = await eventually("it is planned", lambda: driven.task_ids(job.id))
        shown = "SELECT t.progress, s.progress, j.progress FROM async_tasks t, step s, job j"
        shown += " WHERE s.id = t.id AND j.id = t.flow_id AND t.flow_id = ?"
        for said, stored in [(10, 10), (55, 55), (20, 55), (0, 55), (None, 55), (56, 56)]:
            host.tasks[id] = status("running", progress=said, message=f"{said} %")
            await looks(host, 2)
            await eventually(f"{stored} %", lambda: driven.rows(shown, job.id.bytes) == [(stored,) * 3])  # noqa: B023
        host.tasks[id] = status("aborting", progress=4)
        await eventually("it aborts", lambda: driven.tasks(job.id, "host_state, progress") == [("aborting", 56)])
        host.finish_all(progress=3)
        await job.result(20)
        assert driven.rows(shown, job.id.bytes) == [(100, 100, 100)]


async def test_tasks_that_are_not_ours_change_nothing(tmp_path: Path) -> None:
    """A host's answers are about its own tasks; what makes no sense among others' is theirs."""
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(2))
        await driven.all_polling(job.id)
        before = driven.rows("SELECT * FROM async_tasks")
        strangers: dict[str, Any] = {str(uuid4()): DONE, str(uuid4()): status("exploded"), "": None, "x" * 9999: [1]}

        async def crowded(call: Call) -> Any:
            return strangers | host.tasks

        host.on[STATUSES] = crowded
        await looks(host, 3)
        assert driven.rows("SELECT * FROM async_tasks") == before
        first, _ = driven.task_ids(job.id)
        host.tasks[first] = DONE
        await eventually("our task is judged", lambda: driven.tasks(job.id)[0] == ("Cleared", "SUCCEEDED"))
        assert {call.params["taskID"] for call in host.asked(CLEAR)} == {first}
        host.finish_all()
        await job.result(20)


HUGE = "\ud800\x00" + "x" * 100_000
GARBAGE: dict[str, Any] = {
    "nothing": None,
    "a word": "finished",
    "a list": [1, 2],
    "an empty object": {},
    "that of another task": status("finished", "success") | {"taskID": "0199aa00-0000-7000-8000-000000000000"},
    "an unknown state": status("exploded"),
    "an unknown result": status("finished", "perhaps"),
    "a state that is a number": status() | {"taskState": 7},
    "a code that is no number": status("finished", "success") | {"code": "many"},
    "a code beyond any": status("finished", "success") | {"code": 1 << 80},
    "a progress beyond 100": status("running", progress=101),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_a_status_that_makes_no_sense_judges_nothing(tmp_path: Path, garbage: Any) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        thing = await driven.thing(host.port)
        job = await driven.delete(thing, images(2))
        await driven.all_polling(job.id)
        odd, good = driven.task_ids(job.id)
        host.tasks |= {odd: garbage, good: DONE}
        await eventually("the other is judged", lambda: driven.tasks(job.id)[1] == ("Cleared", "SUCCEEDED"))
        await looks(host, 2)
        assert driven.tasks(job.id)[0] == ("Polling", None)
        host.tasks[odd] = DONE
        await job.result(20)
        assert driven.truth(thing) == "done"


LISTS: dict[str, Any] = {
    "nothing": None,
    "true": True,
    "a word": "x",
    "an empty list": [],
    "a list": [{}],
    "another object": {"tasks": {}},
    "a number": 10**400,
    "5 MB": "x" * (5 << 20),
}


@pytest.mark.parametrize("garbage", LISTS.values(), ids=LISTS)
async def test_statuses_that_make_no_sense_judge_nothing(tmp_path: Path, garbage: Any) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(job.id)

        async def odd(call: Call) -> Any:
            return garbage

        host.on[STATUSES] = odd
        await looks(host, 2)
        assert driven.tasks(job.id) == [("Polling", None)]
        host.on.clear()
        host.finish_all()
        await job.result(20)


async def test_words_that_no_row_can_hold_are_made_to_fit(tmp_path: Path) -> None:
    async with hosting(new_task=RUNNING) as host, Driven(tmp_path).opened() as driven:
        job = await driven.delete(await driven.thing(host.port), images(1))
        await driven.all_polling(job.id)
        host.tasks = {id: status("running", progress=1, message=HUGE) for id in host.tasks}
        await eventually("progress", lambda: driven.tasks(job.id, "progress") == [(1,)])
        host.tasks = {id: status("finished", "cleanSuccess", message=HUGE) for id in host.tasks}
        failure = await failure_of(job)
        [(message,)] = driven.tasks(job.id, "message")
        assert len(message) <= 2000
        assert message.startswith("\\ud800\\x00xxx")
        assert message in failure.message
