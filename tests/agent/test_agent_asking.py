"""Waiting for a task's end against an agent that answers from a script: lost answers, restarts, what was cleared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from interlock.agent.serving.asking import NoAnswer, Why, ask, change
from interlock.verbs import Code
from interlock.wire.client import RpcError
from tests.agent.scripted_agent import TASK, Script, script, task

WAIT_S = 30.0
TOPIC = f"|storage|task_status|{TASK}"
RECOVERING = RpcError(Code.RECOVERY_IN_PROGRESS, "ask again")
UNKNOWN = RpcError(Code.UNKNOWN_TASK, "no such task")
Act = Callable[[Script], Any]  # Any: the answer, or RpcError


async def changed(folder: Path, **options: Any) -> tuple[Mapping[str, Any], list[str]]:
    """The task at its end, and the states that were told."""
    told: list[str] = []
    async with asyncio.timeout(WAIT_S):
        end = await change(folder, "Task.stop", {"taskID": TASK}, lambda task: told.append(task["state"]), **options)
    return end, told


def publish(agent: Script, state: str, result: str = "") -> None:
    status = {"taskID": TASK, "taskState": state, "taskResult": result, "code": 411, "message": "m"}
    agent.server.publish(TOPIC, status)


def with_news(state: str) -> Act:
    """Shows the task in a state, and tells at the same time that there is news of it."""

    def act(agent: Script) -> dict[str, Any]:
        publish(agent, state)
        return task(state)

    return act


async def test_each_look_of_a_task_is_told_once(tmp_path: Path) -> None:
    end = task("finished", "cleanSuccess")
    acts = (True, with_news("running"), with_news("running"), with_news("aborting"), end)
    async with script(tmp_path, *acts) as agent:
        assert await changed(tmp_path) == (end, ["running", "aborting", "finished"])
    assert agent.methods == ["Task.stop", *["Agent.getTask"] * 4]
    assert agent.calls[0][1] == {"taskID": TASK}


def cut(agent: Script) -> RpcError:
    """Breaks off the connection instead of an answer."""
    for session in tuple(agent.server._sessions):
        session.connection.cut("as if the agent were killed")
    return RECOVERING


async def test_a_lost_answer_is_asked_for_again_and_a_refusal_then_means_that_it_was_done(tmp_path: Path) -> None:
    end = task("finished", "cleanSuccess")
    refused = RpcError(Code.NOT_FINISHED, "it is being undone already")
    async with script(tmp_path, cut, refused, task("cleaning"), cut, end) as agent:
        assert await changed(tmp_path) == (end, ["cleaning", "finished"])
    assert agent.methods == ["Task.stop", "Task.stop", "Agent.getTask", "Agent.getTask", "Agent.getTask"]


async def test_a_refusal_after_the_agent_was_not_ready_is_a_refusal(tmp_path: Path) -> None:
    running = RpcError(Code.NOT_FINISHED, "it is running")
    async with script(tmp_path, RECOVERING, running, task("finished", "success")):
        with pytest.raises(NoAnswer) as refused:
            await changed(tmp_path)
    assert (refused.value.why, str(refused.value)) == (Why.REFUSED, "it is running (code 403)")


async def test_a_refusal_is_told_as_it_is(tmp_path: Path) -> None:
    async with script(tmp_path, UNKNOWN):
        with pytest.raises(NoAnswer) as refused:
            await changed(tmp_path)
    assert (refused.value.why, str(refused.value)) == (Why.REFUSED, "no such task (code 401)")


async def test_an_agent_that_is_not_ready_is_asked_again_by_who_waits_only(tmp_path: Path) -> None:
    end = task("finished", "cleanSuccess")
    async with script(tmp_path, RECOVERING, True, end) as agent:
        assert await changed(tmp_path) == (end, ["finished"])
    assert agent.methods == ["Task.stop", "Task.stop", "Agent.getTask"]
    async with script(tmp_path, RECOVERING):
        with pytest.raises(NoAnswer) as busy:
            await ask(tmp_path, "Task.clear", {"taskID": TASK})
    assert busy.value.why is Why.BUSY


async def test_an_agent_that_stays_away_is_not_waited_for_without_end(tmp_path: Path) -> None:
    async with script(tmp_path, cut):
        with pytest.raises(NoAnswer) as lost:
            await changed(tmp_path, away_s_max=0.1)
    assert lost.value.why is Why.UNKNOWN


async def test_a_task_that_its_owner_clears_at_its_end_is_over_as_it_was_told(tmp_path: Path) -> None:
    def cleared(agent: Script) -> RpcError:
        publish(agent, "finished", "cleanSuccess")
        return UNKNOWN

    # what is told and the answer come over one connection, in this order
    async with script(tmp_path, True, task("aborting"), cleared):
        end, told = await changed(tmp_path)
    assert end == {**task("finished", "cleanSuccess"), "code": 411}
    assert told == ["aborting", "finished"]


async def test_a_task_that_is_gone_without_a_word_ends_as_unknown(tmp_path: Path) -> None:
    async with script(tmp_path, True, task("aborting"), UNKNOWN):
        with pytest.raises(NoAnswer) as gone:
            await changed(tmp_path)
    assert gone.value.why is Why.GONE
    assert str(gone.value) == f"task {TASK} was cleared before its end was seen; its coordinator's job tells of it"


async def test_waiting_has_a_bound_after_which_the_change_goes_on(tmp_path: Path) -> None:
    async with script(tmp_path, True, task("aborting")) as agent:
        with pytest.raises(TimeoutError):
            await changed(tmp_path, timeout_s=0)
    assert agent.methods == ["Task.stop", "Agent.getTask"]


async def test_waiting_for_an_agent_that_is_away_has_the_same_bound(tmp_path: Path) -> None:
    async with script(tmp_path, True, cut) as agent:
        with pytest.raises(TimeoutError):
            await changed(tmp_path, timeout_s=0)
    assert agent.methods == ["Task.stop", "Agent.getTask"]


async def test_nobody_who_was_never_there_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer) as absent:
        await changed(tmp_path)
    remedy = "start it, or name its state folder with --state-dir"
    assert (absent.value.why, str(absent.value)) == (
        Why.ABSENT,
        f"no agent answers on {tmp_path}/agent.sock; {remedy}",
    )


async def test_a_path_too_long_for_a_socket_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="AF_UNIX path too long"):
        await ask(tmp_path / ("x" * 120), "Host.ping2", {})
