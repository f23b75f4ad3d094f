"""The power is lost at any moment of a verb: whatever was not fsynced is gone, and the next agent tells a true end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from interlock.agent.tasks import children
from interlock.verbs import Code, StorageDomainDetach, VolumeCreate, VolumeFormat
from interlock.wire.jsonrpc import RpcError
from tests.agent.asked import Asked, asked, fresh
from tests.agent.power_loss.disk import ForgetfulDisk, Moment, put
from tests.killing.agent_case import SUCCESS, Case, Way
from tests.killing.agent_files import BASE_SHOWS, IMAGE, IN_SD, NEW, SD, files, one_domain
from tests.killing.agent_storage import SIZE, Storage
from tests.killing.test_agent_cases import CASES

UNDONE = "cleanSuccess"


def raw_created(storage: Storage) -> None:
    assert storage.names(SD) == files(NEW)
    assert storage.shows(SD, IMAGE, NEW) == bytes(len(BASE_SHOWS))
    assert storage.meta(SD, IMAGE, NEW, "CAP", "FORMAT") == (str(SIZE), "RAW")


RAW = Case(
    VolumeCreate, {**IN_SD, "volumeID": NEW, "size": SIZE, "volFormat": int(VolumeFormat.RAW)}, one_domain, raw_created,
    about="raw",
)  # fmt: skip
SUCCESSFUL = [RAW, *(case for case in CASES if case.way is Way.CALL and case.end == SUCCESS)]
QUICK = (RAW.name, StorageDomainDetach.method)


@pytest.mark.hard_case(8)
@pytest.mark.parametrize(
    "case",
    [pytest.param(each, id=each.name, marks=() if each.name in QUICK else pytest.mark.long) for each in SUCCESSFUL],
)
async def test_whenever_the_power_is_lost_the_end_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    assert case.after is not None
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing is lost here but what is said to be
    before, after, host = Storage.at(tmp_path / "before"), Storage.at(tmp_path / "after"), tmp_path / "host"
    case.build(before)
    storage, task_id = storage_of(host), fresh()
    host.mkdir()
    async with asked(host):
        pass
    storage.lay(before)
    with monkeypatch.context() as patch:
        async with asked(host) as agent:
            disk = recorded(host, patch)
            await agent.call(case.verb.method, case.call(task_id, storage.root))
            disk.tell("accepted")
            result = await agent.result(task_id)
            disk.tell("ended")
            assert result[0] == SUCCESS, result
            after.lay(storage)
            incarnation = agent.agent.incarnation
    case.after(storage)
    disk.close()
    wrong = []
    for number, moment in enumerate(disk.moments):
        shutil.rmtree(host)
        put(moment.tree, host)
        async with asked(host) as agent:
            assert agent.agent.incarnation == incarnation
            end = await end_of(agent, task_id)
        untrue = judged(moment, end, storage.differences(after if end == SUCCESS else before))
        wrong += [f"{number} ({moment.view}, {moment.told}): {each}" for each in untrue]
    assert wrong == []
    assert {moment.told for moment in disk.moments} >= {"nothing", "ended"}


def storage_of(host: Path) -> Storage:
    return Storage(host / "storage", host / "state" / "pools")


def recorded(host: Path, patch: pytest.MonkeyPatch) -> ForgetfulDisk:
    """From now on every fsync on the host is noted, also that with which qemu-img ends when it changes an image."""
    disk = ForgetfulDisk(host)
    judge = children.Child.judge

    def judging(child: children.Child) -> children.Verdict:
        verdict = judge(child)
        if verdict.exit_status == 0:
            disk.flushed(changed_by(json.loads((child.folder / "command").read_bytes())))
        return verdict

    patch.setattr(children.Child, "judge", judging)
    patch.setattr(os, "fsync", disk.fsync)
    return disk


def changed_by(command: list[str]) -> Path:
    """The image that a command of qemu-img writes into: the last that it names, or what it commits that one into."""
    *_, last = [Path(word) for word in command if word.startswith("/")]
    return last.parent / command[command.index("-b") + 1] if "commit" in command else last


async def end_of(agent: Asked, task_id: str) -> str | None:
    """How the task ended, in the words of the agent that found what was left; None where it knows of none."""
    try:
        return (await agent.result(task_id))[0]
    except RpcError as error:
        return None if error.code == Code.UNKNOWN_TASK else f"as {error}"


def judged(moment: Moment, end: str | None, differences: list[str]) -> list[str]:
    """What is untrue of an end."""
    wrong = [f"it ended {end}, and {each}" for each in differences]
    if end not in (SUCCESS, UNDONE, None):
        wrong.append(f"it ended {end}")
    if end is None and moment.told != "nothing":
        wrong.append("it was forgotten")
    if end != SUCCESS and moment.told == "ended":
        wrong.append(f"the success has become {end}")
    return wrong
