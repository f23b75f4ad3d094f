"""What is saved of a damaged journal, rule by rule; test_agent_damage.py tries them on many journals."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.agent.journal.format import VERSION, encode, read
from interlock.agent.journal.leavings import may_have_left
from interlock.agent.journal.ledger import Ledger
from interlock.agent.journal.salvage import Salvage, salvage
from interlock.agent.records import Entry, Failure, HostTask
from interlock.agent.task_machine import Inner
from interlock.verbs import Code
from tests.agent.asked import POOL, asked, fresh, headers, with_setting
from tests.agent.at_host import at_host
from tests.agent.scripted import Script, programs

A, B, C, D, E, F, NEW = (f"0190a0b0-0000-7000-8000-{number:012x}" for number in range(1, 8))
OTHER = "f190a0b0-0000-4000-8000-000000000000"
GAP: Entry = {"kind": "gap"}
TASK = HostTask(A, "Image.delete", {"storagedomainID": C, "imageID": B, "storagepoolID": D}, flow=E, term=2)


def saved(*entries: Entry, header: bool = True) -> tuple[Ledger, Salvage]:
    """The ledger that is saved of these records, of which those called GAP cannot be read."""
    born: Entry = {"kind": "journal", "version": VERSION, "incarnation": "i", "entries": len(entries)}
    records = [encode(number, 0, each) for number, each in enumerate([born, *entries])]
    data = b"".join(b"?" * len(r) if e is GAP else r for r, e in zip(records, [born, *entries], strict=True))
    found = salvage(read(data if header else data[1:], b""), new_id=NEW)
    ledger = Ledger()
    for entry in found.entries:
        ledger.apply(entry)
    return ledger, found


def test_a_task_that_had_not_ended_has_failed_and_names_what_it_may_have_left() -> None:
    ledger, found = saved(TASK.to_entry(), GAP)
    error = (
        "the host's journal was damaged and does not tell how the task ended. "
        f"Image.delete may have left image {B} in domain {C}: look there, then clear the task"
    )
    failed = replace(
        TASK,
        state=Inner.FAILED,
        failure=Failure(4710, error, is_unclean=True),
        code=4710,
        message=f"value={error} abortedcode=4710",
    )
    assert ledger.tasks == {A: failed}
    assert (found.failed, found.lost, found.former_incarnation, found.next_number) == ((failed,), ((2, 2),), "i", 3)


def test_the_reason_of_a_failure_that_was_being_undone_is_kept() -> None:
    undoing = replace(TASK.failed(Failure(411, "stopped")), state=Inner.RECOVERING)
    ledger, _ = saved(GAP, undoing.to_entry())
    assert ledger.tasks[A].message.endswith("; before that it had failed: stopped abortedcode=4710")


@pytest.mark.parametrize("state", [Inner.FINISHED, Inner.RECOVERED, Inner.FAILED])
def test_a_task_that_had_ended_stays_as_it_was(state: Inner) -> None:
    task = replace(TASK, state=state)
    ledger, found = saved(task.to_entry(), GAP)
    assert (ledger.tasks, found.failed) == ({A: task}, ())


def test_cleared_ids_stay_so_and_no_id_from_before_can_be_started() -> None:
    ledger, _ = saved({"kind": "cleared", "ids": [A, OTHER]}, GAP, {"kind": "forbidden", "terms": {B: 3, NEW: 1}})
    assert dict(ledger.closed) == {A: None, OTHER: None}  # B may have been forbidden to newer terms in the gap
    assert [ledger.is_too_old(id) for id in (A, B, C, NEW)] == [True] * 4


def test_an_id_that_is_ahead_of_the_hosts_clock_raises_the_low_water() -> None:
    ahead = "ffffa0b0-0000-7000-8000-000000000000"
    assert saved({"kind": "cleared", "ids": [ahead]}, GAP)[0].low_water == ahead
    assert saved({"kind": "terms", "terms": {ahead: 1}}, GAP)[0].flow_low_water == ahead


def test_only_flows_whose_term_was_noted_after_the_last_gap_are_trusted() -> None:
    def terms(**of: int) -> Entry:
        return {"kind": "terms", "terms": {{"a": A, "b": B, "c": C}[flow]: term for flow, term in of.items()}}

    ledger, _ = saved(terms(a=1), GAP, terms(b=2), GAP, terms(c=3), terms(c=4))
    assert dict(ledger.terms) == {C: 4}
    assert [ledger.is_flow_too_old(flow) for flow in (A, B, C)] == [True, True, False]
    assert dict(saved(terms(a=1), GAP)[0].terms) == {}  # the gap is the last


def test_records_about_what_was_lost_and_of_an_unknown_kind_stop_nothing() -> None:
    about_lost: Entry = {"kind": "forgotten", "id": B}
    unknown: Entry = {"kind": "news", "of": 7}
    ledger, found = saved(GAP, about_lost, unknown, {"kind": "cleared", "ids": [C]}, header=False)
    assert dict(ledger.closed) == {C: None}
    assert (found.lost, found.former_incarnation) == (((1, 1), (3, 3)), None)


DESTINATION = {"endpoint_type": "div", "sd_id": D, "img_id": E, "vol_id": F, "generation": 1}
WHERE = {"storagepoolID": NEW, "storagedomainID": A, "imageID": B}
LEAVINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "an image": ("Image.delete", {**WHERE, "postZero": False}, f"image {B} in domain {A}"),
    "a volume": ("Volume.create", {**WHERE, "volumeID": C, "srcImgUUID": D}, f"image {B} volume {C} in domain {A}"),
    "volumes": ("Image.deleteVolumes", {**WHERE, "volumeList": [C, D]}, f"image {B} volume {C}, {D} in domain {A}"),
    "many volumes": (
        "Image.deleteVolumes",
        {"imageID": B, "volumeList": [C] * 13},
        f"image {B} volume {', '.join([C] * 10)} and 3 more",
    ),
    "a copy": (
        "Volume.copy",
        {**WHERE, "volumeID": C, "dstSdUUID": D, "dstImgUUID": E, "dstVolUUID": F},
        f"image {E} volume {F} in domain {D} (from image {B} volume {C} in domain {A})",
    ),
    "a move": ("Image.move", {**WHERE, "dstSdUUID": D}, f"image {B} in domain {D} (from image {B} in domain {A})"),
    "a copy between endpoints": (
        "SDM.copy_data",
        {"job_id": NEW, "source": {**DESTINATION, "img_id": A, "vol_id": B}, "destination": DESTINATION},
        f"image {E} volume {F} in domain {D} (from image {A} volume {B} in domain {D})",
    ),
    "a merge": (
        "SDM.merge",
        {"job_id": NEW, "subchain_info": {"sd_id": A, "img_id": B, "top_id": C, "base_id": D}},
        f"image {B} volume {C}, {D} in domain {A}",
    ),
    "a domain": ("StorageDomain.create", {"storagedomainID": A, "domainName": "d"}, f"domain {A}"),
    "a pool": ("StoragePool.spmStart", {"storagepoolID": A, "prevID": -1}, f"storagepoolID {A}"),
    "nothing by name": ("Host.anything", {}, "something that its parameters do not name"),
}


@pytest.mark.parametrize("case", LEAVINGS)
def test_what_a_task_may_have_left_is_named_by_its_method_and_ids(case: str) -> None:
    method, params, words = LEAVINGS[case]
    assert may_have_left(HostTask(A, method, params)) == f"{method} may have left {words}"


def delete(task_id: str, image: str) -> dict[str, str]:
    return {"taskID": task_id, "storagepoolID": POOL, "storagedomainID": A, "imageID": image}


async def test_an_agent_starts_on_a_damaged_journal_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    script, flow, ended, lost, running, image = Script(), fresh(), fresh(), fresh(), fresh(), fresh()
    setting = with_setting(programs=programs(script.step("a")))
    async with asked(tmp_path, setting=setting) as agent:
        first = agent.agent.incarnation
        await agent.call("Image.delete", delete(ended, image), headers(flow, 1))
        await agent.result(ended)
        await agent.call("Image.delete", delete(lost, image))
        await agent.result(lost)
        script.hold("a")
        await agent.call("Image.delete", delete(running, image))
    journal = tmp_path / "state" / "journal"
    journal.write_bytes(journal.read_bytes().replace(lost.encode(), fresh().encode()))
    async with asked(tmp_path, setting=setting) as agent:
        assert agent.agent.incarnation != first
        statuses = await agent.call("Host.getAllTasksStatuses", {})
        assert {id: (status["taskResult"], status["code"]) for id, status in statuses.items()} == {
            ended: ("success", 0),
            running: ("cleanFailure", Code.JOURNAL_DAMAGED),
        }
        assert f"Image.delete may have left image {image} in domain {A}" in statuses[running]["message"]
        told = (await agent.call("Host.getStats", {}))["interlock"]["journalDamage"]
        assert (told.pop("atByte") > 0, told) == (
            True,
            {"keptAs": "journal.damaged-1", "tasksFailed": 1, "formerIncarnation": first},
        )
        assert (await agent.code("Image.delete", delete(lost, image)))[0] == Code.TASK_ID_TOO_OLD
        assert (await agent.code("Image.delete", delete(fresh(), image), headers(flow, 1)))[0] == Code.TERM_TOO_OLD
        del script.gates["a"]
        done_before = len(script.log)
        another = await agent.call("Image.delete", delete(fresh(), image), headers(fresh(), 1))
        assert (await agent.result(another))[0] == "success"
        assert len(script.log) == done_before + 1
        await agent.call("Task.clear", {"taskID": running})
        assert (await agent.code("Image.delete", delete(running, image)))[0] == Code.TASK_CLEARED


async def test_who_lists_the_tasks_of_a_host_is_told_that_its_journal_was_damaged(tmp_path: Path) -> None:
    async with at_host(tmp_path) as host:
        assert (await host.interlock("tasks")).err == ""
        journal = host.agent.state / "journal"
        host.agent.end(signal.SIGTERM)
        journal.write_bytes(b"?" + journal.read_bytes()[1:])
        await host.agent.start()
        assert (await host.interlock("tasks")).err == (
            "interlock: the agent's journal was damaged (journal.damaged-1 in the state folder has what is left): "
            "of 0 tasks it does not tell how they ended; their messages say what to look at\n"
        )
        told = json.loads((await host.interlock("tasks", "-o", "json")).out)["journal_damage"]
        assert (told["kept_as"], told["at_byte"], told["failed_count"]) == ("journal.damaged-1", 0, 0)
