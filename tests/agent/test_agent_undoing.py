"""Undoing: policies, reverting, giving up, and what a restart makes of a task in each state."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.agent.effects.attending import attend, end_children
from interlock.agent.records import Failure, HostTask
from interlock.agent.task_machine import MOVES, Inner
from interlock.agent.tasks.children import Children
from interlock.agent.tasks.runner import Programs
from interlock.agent.tasks.steps import Host, RecoveryPolicy, Step, StepKind
from interlock.agent.tasks.table import TaskTable
from interlock.verbs import Code, ImageDelete, TaskStatus
from tests.agent.asked import POOL, WAIT_S, Asked, asked, fresh, with_setting
from tests.agent.held_files import HeldFiles, settled
from tests.agent.leaving import left
from tests.agent.processes import until
from tests.agent.scripted import Deleting, Script, failing, programs

DOMAIN = fresh()
REVERTED = ("cleanSuccess", Code.ABORTED, "value=the task was reverted abortedcode=411")


def delete(image: str | None = None) -> dict[str, Any]:
    named = {"storagepoolID": POOL, "storagedomainID": DOMAIN, "imageID": image or fresh()}
    return {**named, "taskID": fresh()}


async def start(agent: Asked, image: str | None = None) -> str:
    task_id: str = await agent.call("Image.delete", delete(image))
    return task_id


async def began(script: Script, step: str) -> None:
    await asyncio.wait_for(script.began[step].wait(), WAIT_S)


def task(state: Inner, image: str | None = None, **fields: Any) -> HostTask:
    """A task of steps a and b."""
    verb = ImageDelete(storagepoolID=POOL, storagedomainID=DOMAIN, imageID=image or fresh())
    return HostTask(id=fresh(), method=verb.method, params=verb.wire_params(), state=state, **fields)


def undoing(state: Inner, image: str | None = None) -> HostTask:
    """A task that failed in step b and has both to undo."""
    failed = Failure(200, "broken")
    halfway = task(state, image, steps_done=1, is_begun=True, recoveries=("a", "b"))
    return halfway.failed(failed)


def with_policy(programs: Programs, policy: RecoveryPolicy) -> Programs:
    return {verb: replace(program, recovery=policy) for verb, program in programs.items()}


# Policies


async def test_under_the_policy_none_nothing_is_undone(tmp_path: Path) -> None:
    script = Script(fails={"b": failing(200, "broken")})
    both = with_policy(programs(script.step("a"), script.step("b")), RecoveryPolicy.NONE)
    async with asked(tmp_path, setting=with_setting(programs=both)) as agent:
        assert await agent.result(await start(agent)) == ("cleanFailure", 200, "value=broken abortedcode=200")
    assert script.log == ["a", "b"]


async def test_under_the_policy_none_a_task_that_never_began_is_clean(tmp_path: Path) -> None:
    script, image = Script(), fresh()
    script.hold("a")
    only = with_policy(programs(script.step("a")), RecoveryPolicy.NONE)
    async with asked(tmp_path, setting=with_setting(programs=only)) as agent:
        await start(agent, image)
        waiting = await start(agent, image)
        await agent.call("Task.stop", {"taskID": waiting})
        assert (await agent.result(waiting))[:2] == ("cleanSuccess", Code.ABORTED)


# Reverting


async def test_a_task_that_succeeded_is_reverted_latest_first(tmp_path: Path) -> None:
    script = Script()
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a"), script.step("b")))) as agent:
        task_id = await start(agent)
        assert (await agent.result(task_id))[0] == "success"
        assert await agent.call("Task.revert", {"taskID": task_id}) is True
        assert await agent.result(task_id) == REVERTED
        assert [status.taskState for status in agent.told] == ["running", "finished", "cleaning", "finished"]
    assert script.log == ["a", "b", "undo b", "undo a"]


async def test_a_revert_is_not_lost_in_a_crash(tmp_path: Path) -> None:
    script = Script()
    setting = with_setting(programs=programs(script.step("a"), script.step("b")))
    script.hold("undo a")
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await start(agent)
        await agent.result(task_id)
        await agent.call("Task.revert", {"taskID": task_id})
        await began(script, "undo a")
        assert (await agent.code("Task.clear", {"taskID": task_id}))[0] == Code.STATE_ERROR
    script.gates.clear()
    async with asked(tmp_path, setting=setting) as agent:
        assert await agent.result(task_id) == REVERTED
    assert script.log == ["a", "b", "undo b", "undo a", "undo a"]


async def test_nothing_is_undone_before_the_journal_knows_of_the_revert(tmp_path: Path) -> None:
    script, files = Script(), HeldFiles()
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")), files=files)) as agent:
        await agent.result(task_id := await start(agent))
        files.hold()
        reverting = asyncio.ensure_future(agent.call("Task.revert", {"taskID": task_id}))
        await files.waits()
        done = [*script.log]
        files.let_go()
        assert await reverting is True
        assert done == ["a"]
        assert await agent.result(task_id) == REVERTED
    assert script.log == ["a", "undo a"]


async def test_a_revert_waits_until_what_its_children_left_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetting, go_on = asyncio.Event(), threading.Event()
    loop, forget = asyncio.get_running_loop(), Children.forget

    def slowly(children: Children, task_id: str) -> None:
        loop.call_soon_threadsafe(forgetting.set)
        assert go_on.wait(WAIT_S)
        forget(children, task_id)

    async def do(work: Deleting) -> None:
        await attend(work, "c", lambda: ["true"], code=Code.GENERAL)

    async def undo(work: Deleting) -> None:
        script.log.append("undo")
        await end_children(work.host, work.task_id)

    script = Script()
    setting = with_setting(programs=programs(Step("a", StepKind.REPEATABLE, do, undo=undo)))
    monkeypatch.setattr(Children, "forget", slowly)
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await start(agent)
        await asyncio.wait_for(forgetting.wait(), WAIT_S)
        assert await agent.call("Task.revert", {"taskID": task_id}) is True
        await settled()
        undone = [*script.log]
        go_on.set()
        assert undone == []
        assert await agent.result(task_id) == REVERTED
    assert script.log == ["undo"]


async def test_what_cannot_be_reverted_is_refused_in_words(tmp_path: Path) -> None:
    script = Script()
    script.hold("a")
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        task_id = await start(agent)
        await began(script, "a")
        revert = {"taskID": task_id}
        assert await agent.code("Task.revert", revert) == (
            Code.NOT_FINISHED,
            f"task {task_id} is running; only a task that has succeeded can be reverted: stop it",
        )
        await agent.call("Task.stop", {"taskID": task_id})
        await agent.result(task_id)
        assert await agent.code("Task.revert", revert) == (
            Code.TRANSITION,
            f"task {task_id} is recovered and cannot be undone; only what it made can be removed",
        )
        assert (await agent.code("Task.revert", {"taskID": fresh()}))[0] == Code.UNKNOWN_TASK


@pytest.mark.parametrize("is_no_return", [True, False])
async def test_a_task_that_cannot_be_undone_stays_a_success(tmp_path: Path, is_no_return: bool) -> None:
    script = Script()
    chosen = programs(script.step("a"), script.step("b", is_no_return=is_no_return))
    if not is_no_return:
        chosen = with_policy(chosen, RecoveryPolicy.NONE)
    async with asked(tmp_path, setting=with_setting(programs=chosen)) as agent:
        task_id = await start(agent)
        await agent.result(task_id)
        assert (await agent.code("Task.revert", {"taskID": task_id}))[0] == Code.TRANSITION
        assert (await agent.result(task_id))[0] == "success"
    assert script.log == ["a", "b"]


async def test_a_stop_that_came_too_late_does_not_keep_a_later_revert_from_undoing(tmp_path: Path) -> None:
    script = Script()
    both = programs(script.step("a"), script.step("b"))
    finished = task(Inner.FINISHED, steps_done=2, recoveries=("a", "b"), is_stopping=True, is_giving_up=True)
    await left(tmp_path, finished)
    async with asked(tmp_path, setting=with_setting(programs=both)) as agent:
        await agent.call("Task.revert", {"taskID": finished.id})
        assert await agent.result(finished.id) == REVERTED
    assert script.log == ["undo b", "undo a"]


# Giving up


async def test_an_undoing_that_is_given_up_names_what_remains(tmp_path: Path) -> None:
    script = Script(fails={"c": failing(200, "broken")})
    script.hold("undo c")
    three = programs(script.step("a"), script.step("b"), script.step("c"))
    async with asked(tmp_path, setting=with_setting(programs=three)) as agent:
        task_id = await start(agent)
        await began(script, "undo c")
        assert await agent.call("Task.stop", {"taskID": task_id}) is True  # it is stopping already
        assert await agent.call("Task.stop", {"taskID": task_id, "force": True}) is True
        script.gates["undo c"].set()
        result = await agent.result(task_id)
        assert result == ("cleanFailure", 200, "value=broken; not undone: 'b', 'a' abortedcode=200")
    assert script.log == ["a", "b", "c", "undo c"]


@pytest.mark.parametrize("policy", RecoveryPolicy)
async def test_no_process_of_a_task_outlives_it_though_nothing_is_undone(
    tmp_path: Path, policy: RecoveryPolicy
) -> None:
    async def do(work: Deleting) -> None:
        await attend(work, "c", lambda: ["sleep", "20"], code=Code.GENERAL)

    script = Script()
    step = replace(script.step("a"), do=do)
    setting = with_setting(programs=with_policy(programs(step), policy))
    async with asked(tmp_path, setting=setting) as agent:
        task_id = await start(agent)
        (child,) = await until(lambda: agent.agent.children.of(task_id), "the child is started")
        await until(child.identity, "the child runs")
        await agent.call("Task.stop", {"taskID": task_id, "force": True})
        assert (await agent.result(task_id))[0] == "cleanFailure"
        assert not child.is_running()
        await until(lambda: not agent.agent.children.names(), "its folder is gone")
    assert script.log == []


async def test_a_task_whose_process_cannot_be_ended_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cannot(host: Host, task_id: str) -> None:
        raise failing(100, "end it by hand")

    script = Script(fails={"a": failing(200, "broken")})
    monkeypatch.setattr("interlock.agent.serving.agent.end_children", cannot)
    setting = with_setting(programs=with_policy(programs(script.step("a")), RecoveryPolicy.NONE))
    async with asked(tmp_path, setting=setting) as agent:
        error = "broken; it may still write: end it by hand"
        assert await agent.result(await start(agent)) == ("cleanFailure", 200, f"value={error} abortedcode=200")


async def test_giving_up_what_never_began_is_a_clean_end(tmp_path: Path) -> None:
    script, image = Script(), fresh()
    script.hold("a")
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        await start(agent, image)
        waiting = await start(agent, image)
        await agent.call("Task.stop", {"taskID": waiting, "force": True})
        assert (await agent.result(waiting))[:2] == ("cleanSuccess", Code.ABORTED)


async def test_a_stock_host_knows_no_force(tmp_path: Path) -> None:
    async with asked(tmp_path, stock=True) as agent:
        assert (await agent.code("Task.stop", {"taskID": fresh(), "force": True}))[0] == -32602


# Locks


async def test_an_undoing_whose_locks_do_not_come_free_ends_as_failed_and_undoes_nothing(tmp_path: Path) -> None:
    script, image = Script(), fresh()
    script.hold("a")
    running, halfway = task(Inner.RUNNING, image), undoing(Inner.RACQUIRING, image)
    await left(tmp_path, running, halfway)
    both = programs(script.step("a"), script.step("b"))
    async with asked(tmp_path, setting=with_setting(programs=both, lock_timeout_s=0.01)) as agent:
        result, code, message = await agent.result(halfway.id)
        assert (result, code) == ("cleanFailure", 200)
        assert "it could not be undone: image" in message
        assert "was not free within 0.01 s" in message
        assert message.endswith("not undone: 'b', 'a' abortedcode=200")
    assert script.log == ["a"]


# Restarts


UNDONE = (["undo b", "undo a"], "cleanSuccess")
STATES: Mapping[Inner, tuple[HostTask, tuple[list[str], str]]] = {
    Inner.INIT: (task(Inner.INIT), (["a", "b"], "success")),
    Inner.PREPARING: (task(Inner.PREPARING), (["a", "b"], "success")),
    Inner.ACQUIRING: (task(Inner.ACQUIRING), (["a", "b"], "success")),
    Inner.QUEUED: (task(Inner.QUEUED), (["a", "b"], "success")),
    Inner.RUNNING: (task(Inner.RUNNING, steps_done=1, recoveries=("a",)), (["b"], "success")),
    Inner.ABORTING: (undoing(Inner.ABORTING), UNDONE),
    Inner.WAITRECOVER: (undoing(Inner.WAITRECOVER), UNDONE),
    Inner.RACQUIRING: (undoing(Inner.RACQUIRING), UNDONE),
    Inner.RECOVERING: (undoing(Inner.RECOVERING), UNDONE),
    Inner.RABORTING: (undoing(Inner.RABORTING), ([], "cleanFailure")),
    Inner.FINISHED: (task(Inner.FINISHED, steps_done=2), ([], "success")),
    Inner.RECOVERED: (undoing(Inner.RECOVERED), ([], "cleanSuccess")),
    Inner.FAILED: (undoing(Inner.FAILED), ([], "cleanFailure")),
}


@pytest.mark.parametrize("state", STATES)
async def test_a_task_that_a_crash_left_in_each_state_comes_to_its_end(tmp_path: Path, state: Inner) -> None:
    script, (before, (log, result)) = Script(), STATES[state]
    await left(tmp_path, before)
    both = programs(script.step("a"), script.step("b"))
    async with asked(tmp_path, setting=with_setting(programs=both)) as agent:
        assert (await agent.result(before.id))[0] == result
    assert script.log == log
    async with asked(tmp_path, setting=with_setting(programs=both)) as agent:  # and stays there
        assert (await agent.result(before.id))[0] == result
    assert script.log == log


async def test_a_task_past_its_point_of_no_return_is_not_undone_after_a_restart(tmp_path: Path) -> None:
    script, before = Script(), undoing(Inner.ABORTING)
    await left(tmp_path, replace(before, recoveries=("a",)))
    both = programs(script.step("a"), script.step("b", is_no_return=True))
    async with asked(tmp_path, setting=with_setting(programs=both)) as agent:
        assert (await agent.result(before.id))[0] == "cleanFailure"
    assert script.log == []


#: Legal moves that are VDSM's alone: nothing holds a task of ours back, and it keeps its worker to its end.
NEVER_MADE = {
    (Inner.PREPARING, Inner.BLOCKED),
    (Inner.BLOCKED, Inner.PREPARING),
    (Inner.BLOCKED, Inner.ABORTING),
    (Inner.PREPARING, Inner.ABORTING),
    (Inner.PREPARING, Inner.FINISHED),
    (Inner.ACQUIRING, Inner.ACQUIRING),
    (Inner.RACQUIRING, Inner.RACQUIRING),
    (Inner.RUNNING, Inner.QUEUED),
    (Inner.WAITRECOVER, Inner.RABORTING),
}


async def test_every_move_is_made_by_a_real_task_but_those_of_vdsm_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: set[tuple[Inner, Inner]] = set()
    move = TaskTable.move

    def noting(table: TaskTable, task_id: str, state: Inner, **fields: Any) -> HostTask:
        made.add((table[task_id].state, state))
        return move(table, task_id, state, **fields)

    monkeypatch.setattr(TaskTable, "move", noting)
    scenarios: list[Any] = [
        test_under_the_policy_none_nothing_is_undone,
        test_a_task_that_succeeded_is_reverted_latest_first,
        test_an_undoing_that_is_given_up_names_what_remains,
        test_giving_up_what_never_began_is_a_clean_end,
        test_an_undoing_whose_locks_do_not_come_free_ends_as_failed_and_undoes_nothing,
        a_task_stopped_while_it_waits_for_a_worker,
        an_undoing_that_fails,
    ]
    for scenario in scenarios:
        (folder := tmp_path / scenario.__name__).mkdir()
        await scenario(folder)
    for state in STATES:
        (folder := tmp_path / state).mkdir()
        await test_a_task_that_a_crash_left_in_each_state_comes_to_its_end(folder, state)
    assert set(MOVES) - made == NEVER_MADE


async def a_task_stopped_while_it_waits_for_a_worker(folder: Path) -> None:
    script = Script()
    script.hold("a")
    async with asked(folder, setting=with_setting(programs=programs(script.step("a"))), workers=1) as agent:
        await start(agent)
        await began(script, "a")
        waiting = await start(agent)
        await agent.call("Task.stop", {"taskID": waiting})
        assert (await agent.result(waiting))[0] == "cleanSuccess"


async def an_undoing_that_fails(folder: Path) -> None:
    script = Script(fails={"a": failing(200, "broken"), "undo a": failing(201, "no way back")})
    async with asked(folder, setting=with_setting(programs=programs(script.step("a")))) as agent:
        result = await agent.result(await start(agent))
        assert result == ("cleanFailure", 200, "value=broken; undoing 'a' failed: no way back abortedcode=200")


def test_the_status_of_a_task_is_told_in_vdsms_keys_where_there_is_no_extension() -> None:
    told = task(Inner.RUNNING).status(progress=None, incarnation=None)
    assert isinstance(told, TaskStatus)
    assert set(told.to_wire()) == {"taskID", "taskState", "taskResult", "code", "message"}


async def test_after_a_restart_those_that_held_locks_have_them_again_before_anybody_else(tmp_path: Path) -> None:
    script, image = Script(), fresh()
    script.hold("a")
    early, held = task(Inner.QUEUED, image), task(Inner.RUNNING, image, is_begun=True, recoveries=("a",))
    assert early.id < held.id
    await left(tmp_path, early, held)
    async with asked(tmp_path, setting=with_setting(programs=programs(script.step("a")))) as agent:
        later = await start(agent, image)
        await began(script, "a")
        states = {known: (await agent.status(known))["taskState"] for known in (early.id, held.id, later)}
        assert states == {early.id: "running", held.id: "running", later: "running"}
        assert script.log == ["a"]
        script.gates["a"].set()
        ended = [(await agent.result(known))[0] for known in (held.id, early.id, later)]
        assert ended == ["success"] * 3
    assert [status.taskID for status in agent.told if status.is_done] == [held.id, early.id, later]
