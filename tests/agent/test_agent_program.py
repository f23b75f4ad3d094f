"""What a person at a host sees of its agent's tasks, and changes, with the command line and a real agent."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.agent.serving.door import socket_path
from interlock.verbs import Code
from interlock.wire.client import RpcError
from interlock.wire.jsonrpc import METHOD_NOT_FOUND
from tests.agent.asked import POOL, fresh, headers
from tests.agent.at_host import INTERLOCK, Ran, at_host, logged, ran
from tests.agent.processes import WAIT_S, agent_process, running
from tests.agent.scripted_agent import TASK, Script, script, task

#: So slow that a copy does not end by itself within a test.
CRAWL = ("--copy-rate-bytes-per-s", str(1 << 16))
#: Runs the command line as user 65534, having read its code as root.
AS_NOBODY = """
import os, sys
import interlock.agent.serving.asking, interlock.app
from interlock.cli.program import run
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


def age_is_cut(line: str) -> list[str]:
    """The words of a line of the list of tasks, without the age."""
    return re.sub(r"( \d+ min)? [\d.]+ s\b", "", line).split()


async def test_a_person_sees_what_a_host_does_and_stops_it(tmp_path: Path) -> None:
    flow = fresh()
    async with at_host(tmp_path, *CRAWL, "--json-logs") as host:
        copy = await host.copying(flow)
        listed = await host.interlock("tasks")
        assert (listed.code, listed.err) == (0, "")
        heading, *rows = listed.out.splitlines()
        assert heading.split() == ["TASK", "VERB", "STATE", "RESULT", "DONE", "AGE", "FLOW"]
        first, second = map(age_is_cut, rows)
        assert [word for word in first if not word.endswith("%")] == [copy.id, "Volume.copy", "running", flow]
        assert second == [copy.source, "Volume.create", "finished", "success", "100%"]

        told = await host.shown(copy.id[:23])
        child = running(host.agent.job(copy.id))
        assert child is not None
        (process,) = told.pop("children")
        assert "qemu-img" in process.pop("command")
        assert process == {"name": "copy", "pid": child.pid, "is_running": True}
        assert told.pop("created_at").endswith("+00:00")
        assert told.pop("progress") in {None, *range(100)}
        defaults = {"postZero": False, "force": False, "discard": False, "desc": ""}
        params = told.pop("params")
        assert params == {**params, **copy.params, **defaults}
        assert told == {
            "id": copy.id,
            "verb": "Volume.copy",
            "state": "running",
            "result": "",
            "code": 0,
            "flow": flow,
            "message": "running job 2 of 4",
            "inner_state": "running",
            "term": 3,
            "correlation_id": None,
            "is_host_job": False,
            "is_stopping": False,
            "is_giving_up": False,
            "steps_done": 1,
            "to_undo": ["copy"],
        }
        text = (await host.interlock("show", copy.id)).out
        assert "\nstate       running (running)\ncode        0\nmessage     running job 2 of 4\n" in text
        assert f"\ncopy  {child.pid}" in text

        stopped = await host.interlock("stop", copy.id)
        assert (stopped.code, stopped.err) == (0, "")
        assert stopped.out.splitlines()[-1] == (
            f"task {copy.id} ended: cleanSuccess: value=the task was stopped abortedcode=411"
        )
        assert [path.name for path in copy.images.iterdir()] == [copy.params["imageID"]]
    (asked,) = logged(tmp_path, "person_asked")
    assert asked == {
        "event": "person_asked",
        "level": "info",
        "uid": os.getuid(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "verb": "Task.stop",
        "params": {"taskID": copy.id},
    }


async def test_a_task_that_succeeded_is_reverted_and_cleared(tmp_path: Path) -> None:
    async with at_host(tmp_path, "--json-logs") as host:
        domain = await host.caller.domain(host.agent.root)
        image, _ = await host.caller.volume(domain, 1 << 20)
        (made,) = await host.caller.call("Host.getAllTasksStatuses")
        late = await host.interlock("stop", made)
        assert late.out.splitlines()[-1].startswith(f"task {made} ended: success: ")
        assert (late.code, late.err) == (
            1,
            f"interlock: task {made} had succeeded before it could be stopped; `interlock agent revert` undoes it\n",
        )
        reverted = await host.interlock("revert", made.upper(), "-o", "json")
        status = json.loads(reverted.out)
        assert (reverted.code, status["result"], status["message"]) == (
            0,
            "cleanSuccess",
            "value=the task was reverted abortedcode=411",
        )
        assert not (host.agent.root / domain / "images" / image).exists()
        again = await host.interlock("revert", made)
        assert (again.code, again.out) == (1, "")
        assert again.err.startswith(f"interlock: task {made} is recovered and cannot be undone")
        assert await host.interlock("clear", made) == Ran(0, f"task {made} is cleared\n", "")
        assert (await host.interlock("show", made)).err == (
            f"interlock: task {made} is not known here; `interlock agent tasks` lists those that are (code 401)\n"
        )
        assert await host.caller.call("Host.getAllTasksStatuses") == {}
    (refused,) = logged(tmp_path, "person_refused")
    assert (refused["verb"], refused["params"], refused["code"]) == ("Task.revert", {"taskID": made}, 441)
    verbs = [line["verb"] for line in logged(tmp_path, "person_asked")]
    assert verbs == ["Task.stop", "Task.revert", "Task.revert", "Task.clear"]


async def test_a_revert_that_never_arrived_is_not_taken_for_done(tmp_path: Path) -> None:
    def lost(agent: Script) -> bool:
        for session in tuple(agent.server._sessions):
            session.connection.cut("as if the agent were killed")
        return True

    refused = RpcError(Code.NOT_FINISHED, "it is running")
    async with script(tmp_path, task("running"), lost, refused, task("finished", "success")):
        ended = await ran(*INTERLOCK, "agent", "revert", TASK, "--state-dir", str(tmp_path))
    assert ended == Ran(
        1,
        f"task {TASK} finished\ntask {TASK} ended: success: m\n",
        f"interlock: task {TASK} has succeeded and was not undone; revert it again\n",
    )


async def test_a_beginning_of_several_ids_is_refused_with_their_names(tmp_path: Path) -> None:
    async with at_host(tmp_path) as host:
        domain = await host.caller.domain(host.agent.root)
        for _ in range(2):
            await host.caller.volume(domain, 1 << 20)
        first, second = sorted(await host.caller.call("Host.getAllTasksStatuses"))
        same = first[: next(at for at in range(36) if first[at] != second[at])]
        assert await host.interlock("stop", same) == Ran(
            1, "", f"interlock: {same} is the beginning of 2 tasks: {first}, {second}; give more of it (code 401)\n"
        )


async def test_a_long_list_is_cut_and_says_so(tmp_path: Path) -> None:
    async with at_host(tmp_path) as host:
        domain = await host.caller.domain(host.agent.root)
        flow = fresh()
        ids = [fresh() for _ in range(51)]
        for task_id in ids:
            params = {"storagepoolID": POOL, "storagedomainID": domain, "imageID": fresh()}
            await host.caller.call("Image.delete", headers(flow, 1), taskID=task_id, **params)
        for task_id in ids:
            await host.caller.ended(task_id)
        few = await host.interlock("tasks")
        assert [line.split()[0] for line in few.out.splitlines()] == ["TASK", *reversed(ids[1:])]
        assert few.err == "interlock: 50 of 51 tasks are shown; --all shows the rest\n"
        everything = await host.interlock("tasks", "--all", "-o", "json")
        told = json.loads(everything.out)
        assert ([each["id"] for each in told["tasks"]], told["total"], told["unfinished"]) == (ids[::-1], 51, 0)
        assert everything.err == ""


async def test_only_people_at_the_host_are_told_everything(tmp_path: Path) -> None:
    async with at_host(tmp_path) as host:
        for method, params in (("Agent.getTasks", {"limit": 1}), ("Agent.getTask", {"taskID": fresh()})):
            with pytest.raises(RpcError) as unknown:
                await host.caller.call(method, **params)
            assert unknown.value.code == METHOD_NOT_FOUND


@pytest.mark.parametrize("is_interrupted", [True, False])
async def test_who_leaves_before_the_end_is_told_how_to_come_back(tmp_path: Path, is_interrupted: bool) -> None:
    cleaning = task("cleaning")
    command = [*INTERLOCK, "agent", "stop", cleaning["id"], "--state-dir", str(tmp_path)]
    limit = [] if is_interrupted else ["--timeout", "0"]
    async with script(tmp_path, cleaning, True, cleaning) as agent:
        process = await asyncio.create_subprocess_exec(*command, *limit, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
        assert line.decode() == f"task {cleaning['id']} cleaning\n"
        if is_interrupted:
            process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
    goes_on = f"task {cleaning['id']} goes on; `interlock agent show {cleaning['id']} --state-dir {tmp_path}` shows it"
    reasons = [goes_on] if is_interrupted else ["not over within 0 s", goes_on]
    assert (process.returncode, out) == (5, b"")
    assert err.decode().splitlines() == [f"interlock: {reason}" for reason in reasons]
    assert agent.methods[:3] == ["Agent.getTask", "Task.stop", "Agent.getTask"]


@pytest.mark.parametrize(
    ("result", "code", "reason"),
    [
        ("cleanSuccess", 0, ""),
        ("cleanFailure", 1, "interlock: something of task {} may remain on this host\n"),
    ],
)
async def test_the_exit_code_tells_whether_something_may_remain(
    tmp_path: Path, result: str, code: int, reason: str
) -> None:
    end = task("finished", result)
    async with script(tmp_path, end, True, end) as agent:
        stopped = await ran(*INTERLOCK, "agent", "stop", end["id"], "--force", "--state-dir", str(tmp_path))
    told = f"task {end['id']} finished\ntask {end['id']} ended: {result}: m\n"
    assert stopped == Ran(code, told, reason.format(end["id"]))
    assert agent.calls[1] == ("Task.stop", {"taskID": end["id"], "force": True})


async def test_a_killed_agent_is_told_as_absent_and_its_successor_answers_in_its_place(tmp_path: Path) -> None:
    state = tmp_path / "state"
    expected = (
        f"interlock: no agent answers on {state}/agent.sock; start it, or name its state folder with --state-dir\n"
    )
    command = (*INTERLOCK, "agent", "tasks")
    async with agent_process(tmp_path) as agent:
        await agent.start()
        agent.end(signal.SIGKILL)
        assert socket_path(state).is_socket()  # as a killed agent leaves it
        assert await ran(*command, "--state-dir", str(state)) == Ran(1, "", expected)
        await agent.start()
        assert (await ran(*command, "--state-dir", str(state))).code == 0
        agent.end(signal.SIGTERM)
    assert not socket_path(state).exists()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through, as the ones of pytest are not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user to be refused")
@pytest.mark.parametrize("state_mode", [0o700, 0o755])
async def test_other_users_are_refused(open_folder: Path, state_mode: int) -> None:
    state = open_folder / "state"
    state.mkdir()
    state.chmod(state_mode)
    async with agent_process(open_folder) as agent:
        await agent.start()
        assert stat.S_IMODE(socket_path(state).lstat().st_mode) == 0o600
        denied = await ran(sys.executable, "-c", AS_NOBODY, "agent", "tasks", "--state-dir", str(state))
    remedy = "be root, or the user who runs the agent (sudo -u …)"
    assert denied == Ran(4, "", f"interlock: you may not use {state}/agent.sock; {remedy}\n")
