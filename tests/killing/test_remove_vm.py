"""RemoveVm with two disks, killed with SIGKILL before and after every commit and every host call.

A recording run lists every (failpoint, n-th hit); then each is killed, on real processes and real files. The
file system is read by the test itself. Calls that only read are killed at their first hit: how often a host is
asked how it stands depends on timing, and one such call is like another. `make kill-matrix` does it with four disks.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.testing.site import Site
from tests.killing import loop

#: with two, one is answered, ended or cleared while the other is not; more are no other kinds of kill
DISKS = 2


pytestmark = pytest.mark.long


@pytest.fixture(params=["extension", "stock"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with loop.running(tmp_path, stock=request.param == "stock") as site:
        yield site


def test_remove_vm_survives_sigkill_at_every_commit_and_host_call(site: Site) -> None:
    operation = RemoveVm(site)
    hits = loop.recorded(site, operation)
    commits = [number for name, number in hits if name == "commit"]
    assert commits == list(range(1, 1 + 3 * DISKS + 1)), "accepted, then each task answered, ended and cleared"
    loop.kill_at_each(site, operation, hits)


class RemoveVm:
    """Removes a VM made for the purpose."""

    def __init__(self, site: Site) -> None:
        self.site = site
        #: the images of the present VM, and their disks' names
        self.images: dict[str, str] = {}

    def prepare(self, name: str) -> None:
        self.site.do("vm.add", name=name, domain="sd1", disks=[{"size": 1 << 20}] * DISKS)
        loop.settled(self.site)
        self.images = {disk["image_id"]: disk["name"] for disk in self.disks(name)}

    def submit(self, name: str) -> str:
        return self.site.submit("vm.remove", vm=name)

    def job(self, name: str) -> str | None:
        return loop.job_titled(self.site, "vm.remove", f"Remove VM {name}")

    def nothing_happened(self, name: str) -> None:
        assert set(self.images) <= set(self.site.images())
        assert self.vm_status(name) == [("DOWN",)]

    def judge(self, name: str, job: dict[str, Any], order: str) -> None:
        """The end is one, and true of the file system."""
        there = self.site.images()
        left = {image for image in self.images if image in there or f"_remove_{image}" in there}
        if job["result"] == "SUCCEEDED":
            assert not left, f"{order}: success with images left"
            rows = self.site.rows("SELECT * FROM entities WHERE name = ? OR name LIKE ?", name, f"{name}_disk%")
            assert rows == []
        else:
            assert self.site.stock, f"{order}: {job['failure']}"
            self.told_truth(name, job, left, order)
        for image in self.images:
            deletes = loop.begun(self.site, "Image.delete", "imageID", image)
            assert deletes <= 1, f"{order}: Image.delete of {image} twice"
            assert self.site.stock or deletes == 1

    def told_truth(self, name: str, job: dict[str, Any], left: set[str], order: str) -> None:
        """A failure: every disk that is still there is ILLEGAL and named in the fault."""
        status = {disk["image_id"]: disk["status"] for disk in self.disks(name)}
        assert all(status[image] == "ILLEGAL" for image in left), f"{order}: {status}"
        fault = str(job["failure"])
        ids = dict(self.site.rows("SELECT name, lower(hex(id)) FROM entities WHERE type = 'disk'"))
        for image in left:
            disk = self.images[image]
            assert disk in fault or ids[disk] in fault.replace("-", ""), f"{order}: {fault}"
        assert self.vm_status(name) == [("ILLEGAL",)]

    def disks(self, name: str) -> list[dict[str, Any]]:
        """The rows of a VM's disks, with their status."""
        rows = self.site.rows("SELECT body_json FROM entities WHERE type = 'disk' AND name LIKE ?", f"{name}_disk%")
        return [json.loads(body) for (body,) in rows]

    def vm_status(self, name: str) -> list[tuple[Any, ...]]:
        return self.site.rows("SELECT status FROM entities WHERE type = 'vm' AND name = ?", name)
