"""CreateTemplate with two disks of real data, killed with SIGKILL before and after every commit and host call.

With our extension the job always SUCCEEDS: a copy that may have begun is found again, never begun twice.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.testing.site import Site
from tests.databases import Scratch
from tests.killing import loop

DISKS = 2
SIZE = 1 << 20
COMMITS = 1 + 3 * DISKS


@pytest.fixture
def site(scratch: Scratch, tmp_path: Path) -> Iterator[Site]:
    """On either kind of database: whatever else differs between them, what a crash leaves must be true."""
    with loop.running(tmp_path, database=scratch.url if scratch.dialect == "postgresql" else None) as site:
        yield site


@pytest.mark.long
def test_create_template_survives_sigkill_at_every_commit_and_host_call(site: Site) -> None:
    operation = CreateTemplate(site)
    hits = loop.recorded(site, operation)
    commits = [hit for hit in hits if hit[0] == "commit"]
    assert len(commits) >= COMMITS, "accepted, then each task answered, ended and cleared"
    # How often progress is written depends on timing; as many commits as these are made in every run.
    wanted = [hit for hit in hits if hit[0] not in loop.READING and hit not in commits[COMMITS:]]
    if site.database is not None:
        wanted = [hit for hit in wanted if hit[0] == "commit"]  # what happens between commits is the same on both
    loop.kill_at_each(site, operation, wanted)


class CreateTemplate:
    """Makes templates, one after another, of one VM."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.do("vm.add", name="web1", domain="sd1", disks=[{"size": SIZE}] * DISKS)
        self.sources = self.files("web1")
        data = site.folder / "data"
        for source in self.sources:
            data.write_bytes(os.urandom(SIZE))
            subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -s {data} 0 {SIZE}", str(source)], check=True)
        loop.settled(site)

    def prepare(self, name: str) -> None:
        """The VM is there."""

    def submit(self, name: str) -> str:
        return self.site.submit("template.create", name=name, vm="web1")

    def job(self, name: str) -> str | None:
        return loop.job_titled(self.site, "template.create", f"Create template {name} from VM web1")

    def nothing_happened(self, name: str) -> None:
        rows = self.site.rows("SELECT * FROM entities WHERE name = ? OR name LIKE ?", name, f"{name}_disk%")
        assert rows == []

    def judge(self, name: str, job: dict[str, Any], order: str) -> None:
        assert job["result"] == "SUCCEEDED", f"{order}: {job['failure']}"
        status = self.site.rows("SELECT status FROM entities WHERE type = 'template' AND name = ?", name)
        assert status == [("OK",)], order
        copies = self.files(name)
        assert len(copies) == DISKS
        for source, copy in zip(self.sources, copies, strict=True):
            compare = ["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", str(source), str(copy)]
            assert subprocess.run(compare).returncode == 0, f"{order}: {copy} differs"
            assert loop.begun(self.site, "Volume.copy", "dstImgUUID", copy.parent.name) == 1, order
        images = len(self.site.rows("SELECT id FROM entities WHERE type = 'disk'"))
        assert len(self.site.images()) == images, f"{order}: an image without a disk"
        assert list(self.site.storage.glob("**/*.part")) == []

    def files(self, name: str) -> list[Path]:
        """The files of the disks that are named after a VM or template, by the rows; all of them are OK."""
        rows = self.site.rows(
            "SELECT status, body_json FROM entities WHERE type = 'disk' AND name LIKE ? ORDER BY name", f"{name}_disk%"
        )
        assert {status for status, _ in rows} == {"OK"}
        bodies = [json.loads(body) for _, body in rows]
        return [self.site.images()[body["image_id"]] / body["volume_id"] for body in bodies]
