"""RemoveVm with four disks, killed with SIGKILL before and after every commit and every host call.

A recording run lists every (failpoint, n-th hit); then each is killed, on real processes and real files. The
file system is read by the test itself. Calls that only read are killed at their first hit: how often a host is
asked how it stands depends on timing, and one such call is like another.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from interlock.testing.site import Site, wait_for

DISKS = 4
#: host calls whose number depends on timing
READING = frozenset({"host:Host.getAllTasksStatuses", "host:Host.getCapabilities", "host:Task.getStatus"})
#: one run of a flow per transaction, so that runs of the same flow commit the same steps
OPTIONS = ("--group-commit", "1", "--poll", "0.1")


@pytest.fixture(params=["extension", "stock"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, stock=request.param == "stock", forked=True) as site:
        site.start_server(*OPTIONS, environment=site.failpoints())
        site.start_agent()
        port = int((tmp_path / "agent" / "port").read_text())
        site.do("host.add", name="h1", address="127.0.0.1", port=port)
        site.do("storage.add", name="sd1", host="h1", path=str(site.storage))
        yield site


def settled(site: Site) -> None:
    """Everything has ended and the host has been made to forget it."""
    wait_for(
        "all tasks are cleared",
        lambda: site.rows("SELECT count(*) FROM async_tasks WHERE state NOT IN ('Cleared', 'ClearFailed')") == [(0,)],
    )


def new_vm(site: Site, name: str) -> dict[str, str]:
    """A VM with four disks: image → disk's name."""
    site.do("vm.add", name=name, domain="sd1", disks=[{"size": 1 << 20}] * DISKS)
    settled(site)
    return {disk["image_id"]: disk["name"] for disk in disks_of(site, name)}


def disks_of(site: Site, name: str) -> list[dict[str, Any]]:
    """The rows of a VM's disks, with their status."""
    rows = site.rows("SELECT body_json FROM entities WHERE type = 'disk' AND name LIKE ?", f"{name}_disk%")
    return [json.loads(body) for (body,) in rows]


def remove(site: Site, name: str, order: str) -> str:
    """Has the VM removed under that order to die; the job's id, found again by its correlation id."""
    site.arm(order)
    try:
        return site.submit("vm.remove", vm=name)
    except httpx.TransportError:
        return ""  # killed before it could answer


def recorded(site: Site) -> list[tuple[str, int]]:
    """Every hit of a run that nobody kills."""
    new_vm(site, "recording")
    job = remove(site, "recording", "record:0:before")
    assert site.ended(job)["result"] == "SUCCEEDED"
    settled(site)
    hits = [hit for hit in site.hits() if hit[0] not in READING or hit[1] == 1]
    commits = [number for name, number in hits if name == "commit"]
    assert commits == list(range(1, 1 + 3 * DISKS + 1)), "accepted, then each task answered, ended and cleared"
    return hits


def test_remove_vm_survives_sigkill_at_every_commit_and_host_call(site: Site) -> None:
    orders = [f"{name}:{number}:{side}" for name, number in recorded(site) for side in ("before", "after")]
    killed = []
    for index, order in enumerate(orders):
        name = f"vm{index}"
        images = new_vm(site, name)
        job = remove(site, name, order)
        assert site.server_died_of_sigkill(), f"{order} was not reached"
        killed.append(order)
        site.disarm()
        site.start_server(*OPTIONS, environment=site.failpoints())
        judge(site, name, job, images, order)
    print(f"{'stock' if site.stock else 'extension'}: reached {len(killed)}, killed {len(killed)} of {len(orders)}")
    assert killed == orders


def judge(site: Site, name: str, job_id: str, images: dict[str, str], order: str) -> None:
    """The end is one, and true of the file system; nothing is left open."""
    vm = site.rows("SELECT id, status FROM entities WHERE type = 'vm' AND name = ?", name)
    jobs = site.rows("SELECT id FROM job WHERE action = 'vm.remove' AND title = ?", f"Remove VM {name}")
    if not jobs:  # killed before it was accepted: nothing has happened
        assert order == "commit:1:before"
        assert job_id == ""
        assert set(images) <= set(site.images())
        assert vm[0][1] == "DOWN"
        return
    [(id_bytes,)] = jobs
    job = site.ended(str(UUID(bytes=id_bytes)))
    settled(site)
    left = {image for image in images if image in site.images() or f"_remove_{image}" in site.images()}
    if job["result"] == "SUCCEEDED":
        assert not left, f"{order}: success with images left"
        assert site.rows("SELECT * FROM entities WHERE name = ? OR name LIKE ?", name, f"{name}_disk%") == []
    else:
        assert site.stock, f"{order}: {job['failure']}"
        told_truth(site, name, job, images, left, order)
    nothing_open(site, order)
    for image in images:
        assert deletes_begun(site, image) <= 1, f"{order}: Image.delete of {image} twice"
        assert site.stock or deletes_begun(site, image) == 1


def told_truth(site: Site, name: str, job: dict[str, Any], images: dict[str, str], left: set[str], order: str) -> None:
    """A failure: every disk that is still there is ILLEGAL and named in the fault."""
    status = {disk["image_id"]: disk["status"] for disk in disks_of(site, name)}
    assert all(status[image] == "ILLEGAL" for image in left), f"{order}: {status}"
    fault = str(job["failure"])
    ids = dict(site.rows("SELECT name, lower(hex(id)) FROM entities WHERE type = 'disk'"))
    for image in left:
        assert images[image] in fault or ids[images[image]] in fault.replace("-", ""), f"{order}: {fault}"
    assert site.rows("SELECT status FROM entities WHERE type = 'vm' AND name = ?", name) == [("ILLEGAL",)]


def nothing_open(site: Site, order: str) -> None:
    """No lock of a flow, no unfinished task, command, step or job; and verify agrees."""
    assert site.rows("SELECT count(*) FROM entity_locks WHERE leftover_id IS NULL") == [(0,)], order
    assert site.rows("SELECT count(*) FROM command_entities WHERE state <> 'ENDED'") == [(0,)], order
    assert site.rows("SELECT count(*) FROM step WHERE status IN ('PENDING', 'STARTED')") == [(0,)], order
    assert site.rows("SELECT count(*) FROM job WHERE ended_at IS NULL") == [(0,)], order
    assert site.violations() == [], order


def deletes_begun(site: Site, image: str) -> int:
    """How many tasks the agent's journal shows that delete this image."""
    journal = site.agent_journal().decode(errors="replace")
    starts = re.findall(rf'"id":"([^"]+)","method":"Image.delete","params":{{[^}}]*"imageID":"{image}"', journal)
    return len(set(starts))
