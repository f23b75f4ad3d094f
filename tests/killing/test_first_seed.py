"""The two test cases of the task manager's first description, on real processes, for three flows of ours.

1, a check for regression: after each flow "async_tasks" is clear. Our rows stay with the job, so clear means: all of
them are cleared, nothing of the flow is open, and the host has no task any more. 2, a restart: a command does not
succeed unless all its tasks were executed by the host. With our extension it then always succeeds; a stock host, whose
answer was lost, leaves no other true end than failure.
"""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from interlock.testing.site import Site
from tests.killing import loop

DISKS = 2
SIZE = 1 << 20
#: of each flow the command, its parameters, and the verb of its tasks, one for each disk
FLOWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "CreateTemplate": ("template.create", {"vm": "web1"}, "Volume.copy"),
    "AddVmFromTemplate": ("vm.add_from_template", {"template": "gold", "clone": True}, "Volume.copy"),
    "RemoveVm": ("vm.remove", {}, "Image.delete"),
}
#: a task that the host has done, as its journal has it: the host's id
_DONE = re.compile(r'"id":"([^"]+)","method":"[^"]+","params":\{[^}]*\},[^}]*"state":"finished"')

flows = pytest.mark.parametrize(
    "flow", [pytest.param(flow, marks=() if flow == "CreateTemplate" else pytest.mark.long) for flow in FLOWS]
)


@pytest.fixture(scope="module", params=["extension", pytest.param("stock", marks=pytest.mark.long)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with loop.running(tmp_path_factory.mktemp("site"), stock=request.param == "stock") as site:
        add_vm(site, "web1")
        site.do("template.create", name="gold", vm="web1")
        yield site


def add_vm(site: Site, name: str) -> None:
    site.do("vm.add", name=name, domain="sd1", disks=[{"size": SIZE}] * DISKS)


def submitted(site: Site, flow: str, name: str, order: str = "record:0:before") -> str:
    """The job of such a flow, which makes or removes what has that name; the coordinator dies at the order."""
    command, parameters, _ = FLOWS[flow]
    if flow == "RemoveVm":
        add_vm(site, name)
    loop.settled(site)
    site.arm(order)
    return loop.submitted(site, command, **parameters, **{"vm" if flow == "RemoveVm" else "name": name})


def judge(site: Site, job: dict[str, Any], flow: str) -> None:
    """Success and all tasks executed are one: by the rows, and by the host's journal."""
    executed = set(_DONE.findall(site.agent_journal().decode(errors="replace")))
    tasks = [(task["method"], task["host_task_id"] in executed) for task in job["tasks"]]
    assert [method for method, _ in tasks] == [FLOWS[flow][2]] * DISKS, "all were named before any was sent"
    assert (job["result"] == "SUCCEEDED") == all(is_done for _, is_done in tasks), tasks
    loop.nothing_open(site, flow)


@flows
def test_case_1_after_the_flow_nothing_of_it_is_open_anywhere(site: Site, flow: str) -> None:
    job = site.ended(submitted(site, flow, f"{flow}-whole"))
    assert job["result"] == "SUCCEEDED", job["failure"]
    loop.settled(site)
    job = site.ended(job["id"])
    assert [task["state"] for task in job["tasks"]] == ["Cleared"] * DISKS
    judge(site, job, flow)
    assert site.rows("SELECT count(*) FROM entity_locks WHERE flow_id = ?", UUID(job["id"]).bytes) == [(0,)]
    assert site.rows("SELECT count(*) FROM business_entity_snapshot") == [(0,)]
    at_host = site.listed("agent", "tasks", "--all", "--state-dir", str(site.folder / "agent"))
    assert {task["id"] for task in at_host} & {task["host_task_id"] for task in job["tasks"]} == set()


@flows
def test_case_2_a_crash_in_the_middle_leaves_no_success_with_less_than_all_tasks_done(site: Site, flow: str) -> None:
    """As in the description's own example, the coordinator knows of less than all of the host's tasks."""
    job_id = submitted(site, flow, f"{flow}-crashed", f"host:{FLOWS[flow][2]}:1:after")
    assert site.server_died_of_sigkill()
    known = "SELECT count(*) FROM async_tasks WHERE flow_id = ? AND host_task_id IS NOT NULL"
    [(count,)] = site.rows(known, UUID(job_id).bytes)
    assert count < DISKS
    site.disarm()
    site.start_server(*loop.OPTIONS, environment=site.failpoints())
    job = site.ended(job_id)
    assert job["result"] == ("FAILED" if site.stock else "SUCCEEDED"), job["failure"]
    loop.settled(site)
    judge(site, site.ended(job_id), flow)


@flows
def test_case_2_a_restart_in_good_order_leaves_none_either(site: Site, flow: str) -> None:
    job_id = submitted(site, flow, f"{flow}-stopped")
    site.stop_server()
    site.start_server(*loop.OPTIONS, environment=site.failpoints())
    site.ended(job_id)
    loop.settled(site)
    judge(site, site.ended(job_id), flow)
