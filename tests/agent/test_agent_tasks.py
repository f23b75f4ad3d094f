"""Tasks: identity, fencing, stopping, clearing, bounds, and what a restart makes of each kind of step."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from interlock.agent.durable import FsyncFailed
from interlock.agent.journal.ledger import Ledger
from interlock.agent.records import Failure, HostTask
from interlock.agent.serving.door import BODY_BYTES_MAX
from interlock.agent.task_machine import Inner
from interlock.agent.tasks.children import Children
from interlock.agent.tasks.intake import TASKS_MAX, Bounds
from interlock.agent.tasks.steps import Program, Step, StepKind, Work
from interlock.sim.forgetful_files import ForgetfulFiles
from interlock.verbs import Code, ImageDelete, TaskStatus
from tests.agent.asked import POOL, WAIT_S, Asked, asked, fresh, headers, with_setting
from tests.agent.held_files import HeldFiles
from tests.agent.leaving import left
from tests.agent.processes import until
from tests.agent.scripted import Script, failing, programs

DOMAIN = fresh()


def delete(task_id: str | None = None, image: str | None = None) -> dict[str, Any]:
    named = {"storagepoolID": POOL, "storagedomainID": DOMAIN, "imageID": image or fresh()}
    return named if task_id is None else {**named, "taskID": task_id}


async def soon(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, WAIT_S)


async def start(agent: Asked, **headers_of: Any) -> str:
    task_id: str = await agent.call("Image.delete", delete(fresh()), **headers_of)
    return task_id


# Identity


async def test_the_callers_id_is_the_tasks_id_and_the_same_call_finds_the_same_task(tmp_path: Path) -> None:
    script = Script()
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        task_id = fresh()
        params = delete(task_id)
        assert await agent.call("Image.delete", params) == task_id
        assert await agent.call("Image.delete", {**params, "force": False}) == task_id  # its default
        assert (await agent.result(task_id))[0] == "success"
        assert await agent.call("Image.delete", params) == task_id
        assert script.log == ["a"]


async def test_the_same_id_with_other_arguments_flow_or_verb_is_error_405(tmp_path: Path) -> None:
    script = Script()
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        params, flow = delete(fresh()), fresh()
        await agent.call("Image.delete", params, headers(flow, 1))
        refused = (
            Code.ADD_TASK,
            f"task {params['taskID']} is known with another verb, flow or other arguments; choose another id",
        )
        assert await agent.code("Image.delete", {**params, "force": True}, headers(flow, 1)) == refused
        assert await agent.code("Image.delete", params, headers(fresh(), 1)) == refused
        domain = {"storagedomainID": DOMAIN, "domainName": "d", "typeArgs": "/srv"}
        create = {**domain, "taskID": params["taskID"]}
        assert await agent.code("StorageDomain.create", create, headers(flow, 1)) == refused
        await agent.result(params["taskID"])
        assert script.log == ["a"]


async def test_a_synchronous_verb_is_recorded_too_and_answers_the_same_again(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        task_id = fresh()
        params = {"storagedomainID": fresh(), "domainName": "d", "typeArgs": str(agent.root)}
        for _ in range(2):
            assert await agent.call("StorageDomain.create", {**params, "taskID": task_id}) is True
        bad = {**params, "taskID": fresh()}
        first = await agent.code("StorageDomain.create", bad)
        assert first[0] == Code.STORAGE_DOMAIN_ALREADY_EXISTS
        assert await agent.code("StorageDomain.create", bad) == first
        results = await agent.call("Host.getAllTasks", {})
        assert {known: (task["verb"], task["taskResult"]) for known, task in results.items()} == {
            task_id: ("StorageDomain.create", "success"),
            bad["taskID"]: ("StorageDomain.create", "cleanSuccess"),
        }


async def test_a_synchronous_verb_without_an_id_leaves_no_task_behind(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        await agent.domain()
        assert await agent.call("Host.getAllTasks", {}) == {}


@pytest.mark.parametrize(
    "bad", ["", "x", 7, None, "0190a0b0-0000-4000-8000-00000000000a", "0190A0B0-0000-7000-8000-00000000000A"]
)
async def test_an_id_must_be_ordered_by_time(tmp_path: Path, bad: object) -> None:
    async with asked(tmp_path, setting=with_setting(programs=programs())) as agent:
        code, message = await agent.code("Image.delete", {**delete(), "taskID": bad})
        assert (code, "taskID: must be a UUID of version 7" in message) == (-32602, True)


# Terms


async def test_a_term_older_than_the_flows_highest_is_refused_and_starts_nothing(tmp_path: Path) -> None:
    script, flow = Script(), fresh()
    setting = with_setting(programs=programs(script.step("a")))
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await agent.call("Image.delete", delete(fresh()), headers(flow, 5))
        await agent.result(task_id)
    async with asked(tmp_path, setting=setting) as agent:  # the term is remembered durably
        refused = (
            Code.TERM_TOO_OLD,
            f"flow {flow}: term 4 is older than 5; another engine owns the flow by now",
        )
        late = fresh()
        assert await agent.code("Image.delete", delete(late), headers(flow, 4)) == refused
        assert await agent.code("Task.stop", {"taskID": task_id}, headers(flow, 4)) == refused
        assert await agent.code("Task.clear", {"taskID": task_id}, headers(flow, 4)) == refused
        forbid = {"taskID": late, "flow": flow, "term": 4}
        assert await agent.code("Task.forbidOrGet", forbid) == refused
        assert await agent.code("Task.getStatus", {"taskID": late}) == (
            Code.UNKNOWN_TASK,
            f"task {late} is not known here",
        )
        assert await agent.call("Image.delete", delete(late), headers(flow, 5)) == late
        await agent.result(late)
    assert script.log == ["a", "a"]


@pytest.mark.hard_case(1)
async def test_the_term_of_a_call_that_was_refused_survives_a_crash(tmp_path: Path) -> None:
    script, files, flow = Script(), ForgetfulFiles(), fresh()
    setting = with_setting(programs=programs(script.step("a")), bounds=Bounds(unfinished_max=0))
    async with asked(tmp_path, setting=replace(setting, files=files)) as agent:
        refused = await agent.code("Image.delete", delete(fresh()), headers(flow, 5))
        assert refused[0] == Code.RESOURCE_EXHAUSTED
        disk = files.history[-1].least()
    async with asked(tmp_path, setting=replace(setting, files=ForgetfulFiles.after_crash(disk))) as agent:
        assert await agent.code("Image.delete", delete(fresh()), headers(flow, 4)) == (
            Code.TERM_TOO_OLD,
            f"flow {flow}: term 4 is older than 5; another engine owns the flow by now",
        )


def of_generation(number: int, flow: str, term: int) -> dict[str, str]:
    return headers(flow, term) | {"interlockCluster": DOMAIN, "interlockGeneration": str(number)}


@pytest.mark.hard_case(19)
async def test_a_coordinator_whose_place_a_restored_backup_has_taken_is_refused_also_after_a_crash(
    tmp_path: Path,
) -> None:
    script, files = Script(), ForgetfulFiles()
    setting = with_setting(programs=programs(script.step("a")))
    old_words = f"cluster {DOMAIN}: generation 1 is older than 7; a backup was restored since, "
    async with asked(tmp_path, setting=replace(setting, files=files)) as agent:
        kept = delete(fresh())
        assert await agent.call("Image.delete", kept, of_generation(1, fresh(), 1)) == kept["taskID"]
        flow = fresh()
        forbidden, newer = {"taskID": fresh(), "flow": flow, "term": 3}, of_generation(7, flow, 3)
        assert (await agent.code("Task.forbidOrGet", forbidden, newer))[0] == Code.UNKNOWN_TASK
        for method, params in (("Image.delete", delete(fresh())), ("Task.stop", {"taskID": kept["taskID"]})):
            code, words = await agent.code(method, params, of_generation(1, fresh(), 9))
            assert (code, words.startswith(old_words)) == (Code.GENERATION_TOO_OLD, True)
        disk = files.history[-1].least()
    async with asked(tmp_path, setting=replace(setting, files=ForgetfulFiles.after_crash(disk))) as agent:
        refused = await agent.code("Image.delete", delete(fresh()), of_generation(1, fresh(), 9))
        assert refused[0] == Code.GENERATION_TOO_OLD
        only_asked = {"interlockCluster": DOMAIN, "interlockGeneration": "9"}
        assert isinstance(await agent.call("Host.getAllTasksStatuses", {}, only_asked), dict)
        refused = await agent.code("Image.delete", delete(fresh()), of_generation(7, fresh(), 9))
        assert refused[0] == Code.GENERATION_TOO_OLD
        others = delete(fresh())  # who has no database of ours is not concerned
        assert await agent.call("Image.delete", others, headers(fresh(), 1)) == others["taskID"]


@pytest.mark.parametrize("bad", [("x", "1"), (DOMAIN, "-1"), (DOMAIN, "one"), (DOMAIN, None), (None, "1")])
async def test_a_cluster_that_makes_no_sense_is_refused(tmp_path: Path, bad: tuple[str | None, str | None]) -> None:
    named = zip(("interlockCluster", "interlockGeneration"), bad, strict=True)
    sent = headers(fresh(), 1) | {name: value for name, value in named if value is not None}
    async with asked(tmp_path, setting=with_setting(programs=programs())) as agent:
        assert (await agent.code("Image.delete", delete(fresh()), sent))[0] == -32602


async def test_a_newer_term_takes_a_known_task_over(tmp_path: Path) -> None:
    script, flow, params = Script(), fresh(), delete(fresh())
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        for term in (1, 2):
            assert await agent.call("Image.delete", params, headers(flow, term)) == params["taskID"]
        assert (await agent.code("Image.delete", params, headers(flow, 1)))[0] == Code.TERM_TOO_OLD


@pytest.mark.parametrize("bad", [("x", "1"), (DOMAIN, "-1"), (DOMAIN, "one"), (DOMAIN, "9" * 30), (DOMAIN, None)])
async def test_headers_that_make_no_sense_are_refused(tmp_path: Path, bad: tuple[str, str | None]) -> None:
    sent = {"interlockFlow": bad[0]} | ({"interlockTerm": bad[1]} if bad[1] is not None else {})
    async with asked(tmp_path, setting=with_setting(programs=programs())) as agent:
        assert (await agent.code("Image.delete", delete(fresh()), sent))[0] == -32602


# forbidOrGet


@pytest.mark.hard_case(1)
async def test_an_unknown_id_is_closed_to_older_terms_and_open_to_newer_ones(tmp_path: Path) -> None:
    script, flow, task_id = Script(), fresh(), fresh()
    setting = with_setting(programs=programs(script.step("a")))
    question = {"taskID": task_id, "flow": flow, "term": 3}
    unknown = (Code.UNKNOWN_TASK, f"task {task_id} is not known here")
    params = delete(task_id)
    async with asked(tmp_path, setting=setting) as agent:
        assert await agent.code("Task.forbidOrGet", question) == unknown
        assert await agent.code("Task.forbidOrGet", question) == unknown
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.code("Image.delete", params, headers(flow, 2)))[0] == Code.TERM_TOO_OLD
        by_another = await agent.code("Image.delete", params, headers(fresh(), 2))
        assert by_another == (
            Code.START_FORBIDDEN,
            f"task {task_id} may be started only by term 3 or a newer one, not by term 2",
        )
        assert await agent.code("Image.delete", params) == (
            Code.START_FORBIDDEN,
            f"task {task_id} may be started only by term 3 or a newer one, not by no term",
        )
        assert script.log == []
        assert await agent.call("Image.delete", params, headers(flow, 3)) == task_id
        assert (await agent.result(task_id))[0] == "success"


async def test_an_unknown_id_can_be_closed_for_good(tmp_path: Path) -> None:
    script, flow, task_id = Script(), fresh(), fresh()
    setting = with_setting(programs=programs(script.step("a")))
    question = {"taskID": task_id, "flow": flow, "term": 3, "forGood": True}
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.code("Task.forbidOrGet", question))[0] == Code.UNKNOWN_TASK
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.code("Task.forbidOrGet", question))[0] == Code.UNKNOWN_TASK  # which still means: never ran
        for term in (3, 4, 2**62):
            sent = headers(flow, term)
            assert (await agent.code("Image.delete", delete(task_id), sent))[0] == Code.START_FORBIDDEN
        other = await agent.call("Image.delete", delete(fresh()), headers(flow, 2**62))
        await agent.ended(other)
    assert script.log == ["a"]


async def test_an_id_that_has_run_and_is_forgotten_is_not_said_never_to_have_run(tmp_path: Path) -> None:
    script, flow = Script(), fresh()
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        task_id = await agent.call("Image.delete", delete(fresh()), headers(flow, 1))
        question = {"taskID": task_id, "flow": flow, "term": 1, "forGood": True}
        status = await agent.ended(task_id)
        assert await agent.call("Task.forbidOrGet", question) == status
        await agent.call("Task.clear", {"taskID": task_id}, headers(flow, 1))
        assert (await agent.code("Task.forbidOrGet", question))[0] == Code.TASK_CLEARED


async def test_a_known_id_is_answered_with_its_status(tmp_path: Path) -> None:
    script, flow = Script(), fresh()
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        task_id = await agent.call("Image.delete", delete(fresh()), headers(flow, 1))
        status = await agent.ended(task_id)
        answer = await agent.call("Task.forbidOrGet", {"taskID": task_id, "flow": flow, "term": 2})
        assert answer == status
        assert status == {
            "taskID": task_id,
            "taskState": "finished",
            "taskResult": "success",
            "code": 0,
            "message": "1 jobs completed successfully",
            "progress": 100,
            "incarnation": agent.agent.incarnation,
        }


# Stop and clear


async def test_a_task_that_waits_is_stopped_at_once_and_never_runs(tmp_path: Path) -> None:
    script, image = Script(), fresh()
    script.hold("a")
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        running = await agent.call("Image.delete", delete(fresh(), image))
        waiting = await agent.call("Image.delete", delete(fresh(), image))
        await soon(script.began["a"].wait())
        assert await soon(agent.call("Task.stop", {"taskID": waiting})) is True
        status = await agent.status(waiting)
        assert (status["taskState"], status["taskResult"], status["code"], status["message"]) == (
            "finished",
            "cleanSuccess",
            411,
            "value=the task was stopped abortedcode=411",
        )
        script.gates["a"].set()
        assert (await agent.result(running))[0] == "success"
        assert script.log == ["a"]


async def test_a_running_task_is_stopped_and_undone_latest_first(tmp_path: Path) -> None:
    script = Script()
    script.hold("b")
    steps = programs(script.step("a"), script.step("b"), script.step("c"))
    async with asked(tmp_path, setting=with_setting(programs=steps)) as agent:
        task_id = await start(agent)
        await soon(script.began["b"].wait())
        assert (await agent.status(task_id))["message"] == "running job 2 of 3"
        assert await agent.call("Task.stop", {"taskID": task_id}) is True
        assert (await agent.result(task_id))[:2] == ("cleanSuccess", 411)
        assert await agent.call("Task.stop", {"taskID": task_id}) is True
        assert script.log == ["a", "b", "undo b", "undo a"]
        assert [status.taskState.value for status in agent.told] == ["running", "aborting", "cleaning", "finished"]


async def test_after_a_step_of_no_return_a_stop_comes_too_late(tmp_path: Path) -> None:
    script = Script()
    last = script.step("b", is_no_return=True)

    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a"), last))) as agent:
        script.hold("a")
        task_id = await start(agent)
        await soon(script.began["a"].wait())
        script.gates.pop("a").set()
        await soon(script.began["b"].wait())
        assert await agent.call("Task.stop", {"taskID": task_id}) is True
        assert (await agent.result(task_id))[0] == "success"


async def test_a_failure_after_a_step_of_no_return_is_not_clean(tmp_path: Path) -> None:
    script = Script(fails={"b": failing(256, "it stayed")})
    steps = programs(script.step("a"), script.step("b", is_no_return=True))
    async with asked(tmp_path, setting=with_setting(programs=steps)) as agent:
        task_id = await start(agent)
        assert await agent.result(task_id) == ("cleanFailure", 256, "value=it stayed abortedcode=256")
        assert script.log == ["a", "b"]


async def test_an_undoing_that_fails_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    script = Script(fails={"c": failing(200, "broken"), "undo b": OSError(5, "bad disk")})
    steps = programs(script.step("a"), script.step("b"), script.step("c"))
    async with asked(tmp_path, setting=with_setting(programs=steps)) as agent:
        task_id = await start(agent)
        message = "value=broken; undoing 'b' failed: [Errno 5] bad disk abortedcode=200"
        assert await agent.result(task_id) == ("cleanFailure", 200, message)
        assert script.log == ["a", "b", "c", "undo c", "undo b", "undo a"]


@pytest.mark.hard_case(2)
async def test_a_task_is_cleared_when_done_and_its_id_is_used_up(tmp_path: Path) -> None:
    script, params = Script(), delete(fresh())
    script.hold("a")
    task = {"taskID": params["taskID"]}
    setting = with_setting(programs=programs(script.step("a")))
    async with asked(tmp_path, setting=setting) as agent:
        await agent.call("Image.delete", params)
        await soon(script.began["a"].wait())
        code, message = await agent.code("Task.clear", task)
        assert code == Code.STATE_ERROR
        assert message == f"task {params['taskID']} is running; only a task that is done can be cleared"
        script.gates["a"].set()
        await agent.result(params["taskID"])
        assert await agent.call("Task.clear", task) is True
        assert await agent.call("Host.getAllTasksStatuses", {}) == {}
    async with asked(tmp_path, setting=setting) as agent:
        for question in ("Task.clear", "Task.stop", "Task.getStatus", "Task.getInfo"):
            assert (await agent.code(question, task))[0] == Code.UNKNOWN_TASK
        assert await agent.code("Image.delete", params) == (
            Code.TASK_CLEARED,
            f"task {params['taskID']} was run and cleared; it is never run again: choose another id",
        )
        forbid = {**task, "flow": fresh(), "term": 9}
        assert (await agent.code("Task.forbidOrGet", forbid))[0] == Code.UNKNOWN_TASK
        assert (await agent.code("Image.delete", params, headers(forbid["flow"], 9)))[0] == Code.TASK_CLEARED
    assert script.log == ["a"]


async def test_a_task_that_is_cleared_before_its_end_is_durable_takes_nobody_along(tmp_path: Path) -> None:
    script, files = Script(), HeldFiles()
    script.hold("a")
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")), files=files)) as agent:
        task_id = await start(agent)
        await soon(script.began["a"].wait())
        files.hold()
        script.gates.pop("a").set()
        await files.waits()
        clearing = asyncio.ensure_future(agent.call("Task.clear", {"taskID": task_id}))
        await asyncio.sleep(0)
        files.let_go()
        assert await clearing is True
        assert (await agent.result(await start(agent)))[0] == "success"


async def test_a_full_host_says_of_a_cleared_task_that_it_was_cleared(tmp_path: Path) -> None:
    script, params = Script(), delete(fresh())
    setting = with_setting(programs=programs(script.step("a")), bounds=Bounds(unfinished_max=1))
    async with asked(tmp_path, setting=setting) as agent:
        await agent.call("Image.delete", params)
        await agent.result(params["taskID"])
        await agent.call("Task.clear", {"taskID": params["taskID"]})
        script.hold("a")
        await start(agent)
        assert (await agent.code("Image.delete", delete(fresh())))[0] == Code.RESOURCE_EXHAUSTED
        assert (await agent.code("Image.delete", params))[0] == Code.TASK_CLEARED
        script.gates["a"].set()


async def test_a_job_folder_that_cannot_be_removed_takes_nobody_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, cleared = Script(), threading.Event()

    def forget(children: Children, task_id: str) -> None:
        assert cleared.wait(WAIT_S)
        raise OSError("the folder is busy")

    monkeypatch.setattr(Children, "forget", forget)
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        task_id = fresh()
        (tmp_path / "state" / "jobs" / task_id / "copy").mkdir(parents=True)
        await agent.call("Image.delete", delete(task_id))
        assert (await agent.result(task_id))[0] == "success"
        await agent.call("Task.clear", {"taskID": task_id})
        cleared.set()
        assert (await agent.result(await start(agent)))[0] == "success"


async def test_a_synchronous_call_that_is_made_again_while_its_task_is_cleared_is_refused(tmp_path: Path) -> None:
    files, task_id, flow = HeldFiles(), fresh(), fresh()
    async with asked(tmp_path, setting=with_setting(files=files)) as agent:
        params = {"storagedomainID": fresh(), "domainName": "d", "typeArgs": str(agent.root), "taskID": task_id}
        assert await agent.call("StorageDomain.create", params, headers(flow, 1)) is True
        files.hold()
        again = asyncio.ensure_future(agent.code("StorageDomain.create", params, headers(flow, 2)))
        await files.waits()
        clearing = asyncio.ensure_future(agent.call("Task.clear", {"taskID": task_id}))
        await asyncio.sleep(0)
        files.let_go()
        assert await clearing is True
        assert (await again)[0] == Code.TASK_CLEARED


@pytest.mark.hard_case(2)
async def test_an_id_older_than_the_oldest_remembered_tombstone_is_refused(tmp_path: Path) -> None:
    script = Script()
    setting = with_setting(programs=programs(script.step("a")), ledger=lambda: Ledger(closed_max=2))
    never_used, *ids = [fresh() for _ in range(5)]
    async with asked(tmp_path, setting=setting) as agent:
        for task_id in ids:
            await agent.call("Image.delete", delete(task_id))
            await agent.result(task_id)
            await agent.call("Task.clear", {"taskID": task_id})
    async with asked(tmp_path, setting=setting) as agent:
        for task_id in (never_used, ids[0], ids[1]):
            code, message = await agent.code("Image.delete", delete(task_id))
            assert code == Code.TASK_ID_TOO_OLD
            assert f"older than {ids[1]}" in message
        for task_id in ids[2:]:
            assert (await agent.code("Image.delete", delete(task_id)))[0] == Code.TASK_CLEARED
        assert await agent.result(await start(agent)) == ("success", 0, "1 jobs completed successfully")
    assert script.log == ["a"] * 5


# Bounds and failures


async def test_a_full_host_starts_nothing(tmp_path: Path) -> None:
    script = Script()
    script.hold("a")
    setting = with_setting(programs=programs(script.step("a")), bounds=Bounds(unfinished_max=2, tasks_max=3))
    async with asked(tmp_path, setting=setting) as agent:
        first, second = await start(agent), await start(agent)
        assert await agent.code("Image.delete", delete(fresh())) == (
            Code.RESOURCE_EXHAUSTED,
            "the host has 2 unfinished tasks already; try again when some are done and cleared",
        )
        script.gates["a"].set()
        await agent.result(first)
        await agent.result(second)
        await agent.result(await start(agent))
        code, message = await agent.code("Image.delete", delete(fresh()))
        assert (code, message.startswith("the host has 3 tasks already")) == (Code.RESOURCE_EXHAUSTED, True)
        await agent.call("Task.clear", {"taskID": first})
        await agent.result(await start(agent))


async def test_no_more_tasks_run_at_once_than_there_are_workers(tmp_path: Path) -> None:
    script = Script()
    script.hold("a")
    setting = with_setting(programs=programs(script.step("a")))
    async with asked(tmp_path, setting=setting, workers=2) as agent:
        ids = [await start(agent) for _ in range(5)]
        await soon(script.began["a"].wait())
        for _ in range(100):
            await asyncio.sleep(0)
        assert script.log == ["a", "a"]
        script.gates["a"].set()
        for task_id in ids:
            await agent.result(task_id)
        assert script.log == ["a"] * 5


async def test_a_lock_that_does_not_come_free_is_a_clean_failure(tmp_path: Path) -> None:
    script, image = Script(), fresh()
    script.hold("a")
    setting = with_setting(programs=programs(script.step("a")), lock_timeout_s=0.01)
    async with asked(tmp_path, setting=setting) as agent:
        await agent.call("Image.delete", delete(fresh(), image))
        result, code, message = await agent.result(await agent.call("Image.delete", delete(fresh(), image)))
        assert (result, code) == ("cleanSuccess", Code.RESOURCE_TIMEOUT)
        assert "was not free within 0.01 s" in message


async def test_a_mistake_in_a_step_fails_its_own_task_only(tmp_path: Path) -> None:
    script = Script(fails={"a": ZeroDivisionError()})
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        task_id = await start(agent)
        error = f"ZeroDivisionError in the agent; see its log for task {task_id}"
        assert await agent.result(task_id) == ("cleanSuccess", 100, f"value={error} abortedcode=100")
        script.fails.clear()
        assert (await agent.result(await start(agent)))[0] == "success"


async def test_a_mistake_outside_of_any_step_ends_the_task_as_not_clean(tmp_path: Path) -> None:
    def mistaken(_: ImageDelete) -> Any:
        raise ZeroDivisionError

    script = Script()
    setting = with_setting(programs={ImageDelete: Program((script.step("a"),), mistaken)})
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.result(await start(agent)))[:2] == ("cleanFailure", Code.GENERAL)
        assert script.log == []


async def test_a_task_that_this_agent_cannot_read_ends_with_its_process(tmp_path: Path) -> None:
    task = HostTask(fresh(), "Image.delete", {"of": "another version"}, state=Inner.RUNNING, is_begun=True)
    await left(tmp_path, task)
    child = Children(tmp_path / "state" / "jobs").start(task.id, "c", ["sleep", "20"])
    await until(child.is_running, "the child runs")
    async with asked(tmp_path) as agent:
        assert (await agent.result(task.id))[:2] == ("cleanFailure", Code.GENERAL)
        assert not child.is_running()
    child.judge()


@pytest.mark.hard_case(8)
async def test_a_failed_fsync_of_an_image_ends_the_agent_and_the_task_is_carried_on_by_the_next(
    tmp_path: Path,
) -> None:
    class Ended(Exception):
        pass

    def die(reason: str) -> NoReturn:
        raise Ended(reason)

    script = Script(fails={"a": FsyncFailed(Path("/image"), OSError(5, "Input/output error"))})
    setting = with_setting(programs=programs(script.step("a")), die=die)
    task_id = fresh()
    with pytest.raises(ExceptionGroup) as ended:
        async with asked(tmp_path, setting=setting) as agent:
            await agent.call("Image.delete", delete(task_id))
            await agent.result(task_id)
    assert [str(error) for error in ended.value.exceptions] == [
        "fsync of /image failed: Input/output error; the agent ends, check the disk"
    ]
    script.fails.clear()
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.result(task_id))[0] == "success"
    assert script.log == ["a", "a"]


# Restarts


async def crashed_inside(folder: Path, script: Script, setting: Any, step: str) -> str:
    """Starts a task and leaves the agent as a crash would, in the middle of a step."""
    script.hold(step)
    async with asked(folder, setting=setting) as agent:
        task_id = await start(agent)
        await soon(script.began[step].wait())
    del script.gates[step]
    return task_id


@pytest.mark.hard_case(7)
@pytest.mark.parametrize(
    ("kind", "is_held", "again", "result"),
    [
        (StepKind.REPEATABLE, False, ["b", "c"], ("success", 0)),
        (StepKind.OBSERVABLE, False, ["b", "c"], ("success", 0)),
        (StepKind.OBSERVABLE, True, ["c"], ("success", 0)),
        (StepKind.ONCE, False, ["undo b", "undo a"], ("cleanFailure", Code.OUTCOME_UNKNOWN)),
    ],
)
async def test_a_crash_in_the_middle_of_each_kind_of_step(
    tmp_path: Path, kind: StepKind, is_held: bool, again: list[str], result: tuple[str, int]
) -> None:
    script = Script()
    setting = with_setting(programs=programs(script.step("a"), script.step("b", kind), script.step("c")))
    task_id = await crashed_inside(tmp_path, script, setting, "b")
    if is_held:
        script.held.add("b")
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.result(task_id))[:2] == result
    assert script.log == ["a", "b", *again]


@pytest.mark.hard_case(7)
async def test_a_crash_in_the_middle_of_undoing_runs_the_rest_of_it(tmp_path: Path) -> None:
    script = Script(fails={"b": failing(200, "broken")})
    script.hold("undo a")
    setting = with_setting(programs=programs(script.step("a"), script.step("b")))
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await start(agent)
        await soon(script.began["undo a"].wait())
    script.gates.clear()
    async with asked(tmp_path, setting=setting) as agent:
        assert await agent.result(task_id) == ("cleanSuccess", 200, "value=broken abortedcode=200")
    assert script.log == ["a", "b", "undo b", "undo a", "undo a"]


async def test_a_stop_is_not_lost_in_a_crash(tmp_path: Path) -> None:
    script = Script()
    setting = with_setting(programs=programs(script.step("a"), script.step("b")))
    script.hold("undo b")
    script.hold("b")
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await start(agent)
        await soon(script.began["b"].wait())
        await agent.call("Task.stop", {"taskID": task_id})
    script.gates.clear()
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.result(task_id))[:2] == ("cleanSuccess", Code.ABORTED)
    assert "undo a" in script.log


async def test_a_stop_does_not_hide_that_a_crash_made_the_outcome_unknown(tmp_path: Path) -> None:
    script = Script()
    once = replace(script.step("b", StepKind.ONCE), undo=None)
    verb = ImageDelete(storagepoolID=POOL, storagedomainID=DOMAIN, imageID=fresh())
    task = HostTask(fresh(), verb.method, verb.wire_params(), state=Inner.RUNNING, steps_done=1, is_begun=True)
    await left(tmp_path, replace(task, recoveries=("a",), is_stopping=True))
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a"), once))) as agent:
        assert (await agent.result(task.id))[:2] == ("cleanFailure", Code.OUTCOME_UNKNOWN)
    assert script.log == ["undo a"]


async def test_a_task_that_waited_is_carried_out_after_a_restart(tmp_path: Path) -> None:
    script, image = Script(), fresh()
    setting = with_setting(programs=programs(script.step("a")))
    script.hold("a")
    async with asked(tmp_path, setting=setting) as agent:
        first = await agent.call("Image.delete", delete(fresh(), image))
        second = await agent.call("Image.delete", delete(fresh(), image))
        await soon(script.began["a"].wait())
    script.gates.clear()
    async with asked(tmp_path, setting=setting) as agent:
        assert (await agent.result(second))[0] == (await agent.result(first))[0] == "success"
    assert script.log == ["a", "a", "a"]


@pytest.mark.hard_case(4)
async def test_until_recovery_is_over_no_question_about_tasks_is_answered(tmp_path: Path) -> None:
    script = Script()
    setting = with_setting(programs=programs(script.step("a")))
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await start(agent)
        status = await agent.ended(task_id)
    async with asked(tmp_path, setting=setting, is_recovered=False) as agent:
        task = {"taskID": task_id}
        questions: list[tuple[str, dict[str, Any]]] = [
            ("Host.getAllTasksStatuses", {}),
            ("Host.getAllTasks", {}),
            ("Task.getStatus", task),
            ("Task.getInfo", task),
            ("Task.stop", task),
            ("Task.clear", task),
            ("Task.forbidOrGet", {**task, "flow": fresh(), "term": 1}),
            ("Image.delete", delete(fresh())),
        ]
        for method, params in questions:
            assert (await agent.code(method, params))[0] == Code.RECOVERY_IN_PROGRESS
        assert await agent.call("Host.ping2", {}) is True
        agent.agent.recover()
        assert await agent.call("Host.getAllTasksStatuses", {}) == {task_id: status}
        assert await agent.call("Task.getInfo", task) == {"id": task_id, "verb": "Image.delete"}


# The extension, and a host without it


async def test_the_extension_is_announced_with_the_journals_incarnation(tmp_path: Path) -> None:
    async with asked(tmp_path) as agent:
        first = agent.agent.incarnation
        assert await agent.call("Host.getCapabilities", {}) == {
            "hostName": "host1",
            "interlock": {"version": 1, "incarnation": first},
        }
    async with asked(tmp_path) as agent:
        assert agent.agent.incarnation == first


async def test_a_stock_host_has_its_own_ids_and_no_extension(tmp_path: Path) -> None:
    script = Script()
    setting = with_setting(programs=programs(script.step("a")))
    async with asked(tmp_path, setting=setting, stock=True) as agent:
        assert await agent.call("Host.getCapabilities", {}) == {"hostName": "host1"}
        code, message = await agent.code("Image.delete", delete(fresh()))
        assert (code, "taskID: Extra inputs" in message) == (-32602, True)
        forbid = {"taskID": fresh(), "flow": fresh(), "term": 1}
        assert (await agent.code("Task.forbidOrGet", forbid))[0] == -32601
        flow = fresh()
        first = await agent.call("Image.delete", delete(), headers(flow, 2))
        second = await agent.call("Image.delete", delete(), headers(flow, 1))  # headers mean nothing here
        assert first != second
        status = await agent.ended(first)
        assert status == {
            "taskID": first,
            "taskState": "finished",
            "taskResult": "success",
            "code": 0,
            "message": "1 jobs completed successfully",
        }
        assert (await agent.call("Host.getAllTasksStatuses", {}))[first] == status


async def test_asking_for_all_tasks_composes_no_status_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script()
    setting = with_setting(programs=programs(script.step("a")))
    async with asked(tmp_path, setting=setting) as agent:
        ids = await asyncio.gather(*(start(agent) for _ in range(50)))
        for task_id in ids:
            await agent.result(task_id)
        composed: list[str] = []
        status = HostTask.status

        def counted(task: HostTask, **more: Any) -> TaskStatus:
            composed.append(task.id)
            return status(task, **more)

        monkeypatch.setattr(HostTask, "status", counted)
        assert (await agent.status(ids[0]))["taskID"] == ids[0]
        assert composed == ids[:1]
        assert set(await agent.call("Host.getAllTasksStatuses", {})) == set(ids)
        assert composed == ids[:1]


async def test_a_restart_changes_no_answer_about_a_task_that_failed_halfway(tmp_path: Path) -> None:
    async def half(work: Work[ImageDelete]) -> None:
        work.report(50)
        raise failing(200, "broken")

    setting = with_setting(programs=programs(Step("half", StepKind.REPEATABLE, half)))
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await start(agent)
        before = await agent.ended(task_id)
    async with asked(tmp_path, setting=setting) as agent:
        assert await agent.status(task_id) == before


async def test_the_statuses_of_a_full_table_of_failures_fit_into_one_answer(tmp_path: Path) -> None:
    words = "x" * 600
    setting = with_setting(programs=programs(), bounds=Bounds(unfinished_max=10**6))
    failed = [
        HostTask(id=fresh(), method="Image.delete", params={}, state=Inner.FAILED).failed(Failure(200, words))
        for _ in range(TASKS_MAX)
    ]
    await left(tmp_path, *failed)
    async with asked(tmp_path, setting=setting) as agent:
        for method in ("Host.getAllTasksStatuses", "Host.getAllTasks"):
            answer = await agent.call(method, {})
            assert set(answer) == {task.id for task in failed}
            assert len(json.dumps(answer)) < BODY_BYTES_MAX
        assert words in (await agent.status(failed[0].id))["message"]
