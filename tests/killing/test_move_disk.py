"""MoveDisk of real data between two domains of one host, and killed with SIGKILL before and after every commit and
host call. With our extension the job always SUCCEEDS, and the disk never is without its data."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.testing.site import Site, wait_for
from tests.killing import loop

TASKS = ("Image.cloneStructure", "Image.syncData", "Image.delete")
#: accepted, then each task answered, ended and cleared
COMMITS = 1 + 3 * len(TASKS)
SIZE = 1 << 20
LARGE = 64 << 20
#: bytes per second: the large disk takes some three seconds
RATE = 24 << 20


def add_disk(site: Site, name: str, size: int) -> None:
    """A disk on sd1, full of random data, which is kept beside it for comparison."""
    site.do("disk.add", name=name, domain="sd1", size=size)
    data = data_of(site, name)
    data.write_bytes(os.urandom(size))
    command = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", str(data), str(file_of(site, name, "sd1"))]
    subprocess.run(command, check=True)


def data_of(site: Site, name: str) -> Path:
    return site.folder / f"{name}.raw"


def row_of(site: Site, name: str) -> dict[str, Any] | None:
    """The fields of a disk, by the database."""
    rows = site.rows("SELECT body_json FROM entities WHERE type = 'disk' AND name = ?", name)
    return json.loads(rows[0][0]) if rows else None


def file_of(site: Site, name: str, domain: str) -> Path:
    """Where the disk's file is, or would be, on that domain."""
    row = row_of(site, name)
    assert row is not None
    return folder_of(site, domain) / str(row["image_id"]) / str(row["volume_id"])


def folder_of(site: Site, domain: str) -> Path:
    """Where a domain has its images."""
    [(body,)] = site.rows("SELECT body_json FROM entities WHERE type = 'storage_domain' AND name = ?", domain)
    return site.storage / str(json.loads(body)["id"]) / "images"


def has_moved(site: Site, name: str) -> None:
    """Asserts that the disk is on sd2 with its data, and that nothing else of it is anywhere."""
    row = row_of(site, name)
    assert row is not None
    assert (row["status"], row["domain"].partition(":")[2]) == ("OK", folder_of(site, "sd2").parent.name)
    assert holds_its_data(site, name, "sd2")
    assert row_of(site, f"{name}_moving") is None
    assert list(folder_of(site, "sd1").glob(f"*{row['image_id']}*")) == []
    assert list(site.storage.glob("**/*.part")) == []


def holds_its_data(site: Site, name: str, domain: str) -> bool:
    file = file_of(site, name, domain)
    if subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(file)]).returncode != 0:
        return False
    compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", str(data_of(site, name)), str(file)]
    return subprocess.run(compare).returncode == 0


@pytest.mark.long
def test_a_moved_disk_holds_its_data_and_its_progress_is_seen_to_rise(tmp_path: Path) -> None:
    with Site(tmp_path, forked=True, copy_rate_bytes_per_s=RATE) as site:
        site.start_server("--poll", "0.05")
        site.start_agent()
        add_two_domains(site)
        add_disk(site, "data", LARGE)
        job_id = site.submit("disk.move", disk="data", domain="sd2")
        seen: list[int] = []
        job = ended(site, job_id, seen)
        assert job["result"] == "SUCCEEDED", job["failure"]
        assert seen == sorted(seen), "progress never goes back"
        assert len(set(seen) - {0, 100}) >= 3
        has_moved(site, "data")
        loop.settled(site)
        loop.nothing_open(site, "no kill")


def add_two_domains(site: Site) -> None:
    loop.add_storage(site)
    site.do("storage.add", name="sd2", host="h1", path=str(site.storage))


def ended(site: Site, job_id: str, seen: list[int]) -> dict[str, Any]:
    """The job, once it has ended; what its step of the copy showed until then is added to `seen`."""

    def fact() -> bool:
        seen.extend(progress for (progress,) in site.rows("SELECT progress FROM step WHERE name = 'DATA_COPY'"))
        return site.rows("SELECT count(*) FROM job WHERE ended_at IS NULL") == [(0,)]

    wait_for("the disk is moved", fact, within_s=60)
    return site.ended(job_id)


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Site]:
    with loop.running(tmp_path) as site:
        site.do("storage.add", name="sd2", host="h1", path=str(site.storage))
        yield site


@pytest.mark.long
def test_move_disk_survives_sigkill_at_every_commit_and_host_call(killed: Site) -> None:
    operation = MoveDisk(killed)
    hits = loop.recorded(killed, operation)
    commits = [hit for hit in hits if hit[0] == "commit"]
    assert len(commits) >= COMMITS, "accepted, then each task answered, ended and cleared"
    # How often progress is written depends on timing; as many commits as these are made in every run.
    wanted = [hit for hit in hits if hit[0] not in loop.READING and hit not in commits[COMMITS:]]
    assert {f"host:{method}" for method in TASKS} <= {name for name, _ in wanted}
    loop.kill_at_each(killed, operation, wanted)


class MoveDisk:
    """Moves disks, one after another, from sd1 to sd2."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def prepare(self, name: str) -> None:
        add_disk(self.site, name, SIZE)
        loop.settled(self.site)

    def submit(self, name: str) -> str:
        return self.site.submit("disk.move", disk=name, domain="sd2")

    def job(self, name: str) -> str | None:
        return loop.job_titled(self.site, "disk.move", f"Move disk {name} to sd2")

    def nothing_happened(self, name: str) -> None:
        assert row_of(self.site, f"{name}_moving") is None
        assert holds_its_data(self.site, name, "sd1")
        assert not file_of(self.site, name, "sd2").exists()

    def judge(self, name: str, job: dict[str, Any], order: str) -> None:
        assert job["result"] == "SUCCEEDED", f"{order}: {job['failure']}"
        has_moved(self.site, name)
        row = row_of(self.site, name)
        assert row is not None
        for method in TASKS:
            assert loop.begun(self.site, method, "imageID", row["image_id"]) == 1, f"{order}: {method}"
