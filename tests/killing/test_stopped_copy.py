"""A real copy whose time is over, or that a person cancels, is stopped by the real agent, and nothing of it remains;
also across a crash."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.testing.site import Site, wait_for
from tests.agent.processes import running
from tests.killing import loop
from tests.killing.test_copy import file_of

SIZE = 128 << 20
#: bytes per second: a copy takes 32 seconds, of which it is given 6
RATE = SIZE // 32
DEADLINE = "6s"


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.long)], ids=["extension", "stock"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose VM web1 has one disk, full of data."""
    folder = tmp_path_factory.mktemp("deadline")
    with Site(folder, forked=True, copy_rate_bytes_per_s=RATE, stock=request.param) as site:
        start_server(site)
        site.start_agent()
        loop.add_storage(site)
        site.do("vm.add", name="web1", domain="sd1", disks=[{"size": SIZE}])
        image = str(file_of(site, "web1_disk1"))
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P 7 0 {SIZE}", image], check=True)
        yield site


def start_server(site: Site) -> None:
    site.start_server("--poll", "0.1", environment=site.failpoints())


def begun(site: Site, name: str, *options: str) -> str:
    """A job that copies the disk; its id, when the copy is under way."""
    job_id = site.run("run", "template.create", f"name={name}", "vm=web1", *options).strip()
    wait_for("qemu-img runs", lambda: any(map(running, copies(site))))
    return job_id


def copies(site: Site) -> list[Path]:
    """The folders of the agent's copies."""
    return list((site.folder / "agent" / "jobs").glob("*/copy"))


def stopped_and_clean(site: Site, job_id: str, images: set[str], result: str = "FAILED") -> None:
    """The job's end is true of the file system and of the rows."""
    job = site.ended(job_id)
    loop.settled(site)
    assert job["result"] == result
    outcomes = {cause["outcome"] for cause in job["failure"]["causes"]}
    assert outcomes == {"STOPPED"}, job["failure"]
    copied = [task for task in job["tasks"] if task["method"] == "Volume.copy"]
    assert [(task["outcome"], task["result"], task["code"]) for task in copied] == [("STOPPED", "cleanSuccess", 411)]
    assert not any(map(running, copies(site)))
    assert list(site.storage.glob("**/*.part")) == []
    assert set(site.images()) == images
    assert site.rows("SELECT count(*) FROM leftovers") == [(0,)]
    assert site.rows("SELECT status FROM entities WHERE name = 'web1_disk1'") == [("OK",)]
    loop.nothing_open(site, job_id)


def test_a_copy_whose_time_is_over_is_stopped_and_leaves_nothing(site: Site) -> None:
    images = set(site.images())
    stopped_and_clean(site, begun(site, "late", "--deadline", DEADLINE), images)


@pytest.mark.long
def test_a_deadline_outlives_the_coordinator(site: Site) -> None:
    images = set(site.images())
    job_id = begun(site, "later", "--deadline", DEADLINE)
    site.kill_server()
    start_server(site)
    stopped_and_clean(site, job_id, images)


@pytest.mark.long
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_coordinator_that_dies_as_it_stops_the_copy_stops_it_in_its_next_life(site: Site, side: str) -> None:
    images = set(site.images())
    site.arm(f"host:Task.stop:1:{side}")
    job_id = begun(site, f"killed_{side}", "--deadline", DEADLINE)
    assert site.server_died_of_sigkill()
    site.disarm()
    start_server(site)
    stopped_and_clean(site, job_id, images)


@pytest.mark.long
def test_a_cancelled_copy_is_stopped_and_leaves_nothing(site: Site) -> None:
    images = set(site.images())
    job_id = begun(site, "cancelled")
    site.run("job", "cancel", job_id, "--reason", "wrong VM")
    stopped_and_clean(site, job_id, images, "CANCELLED")


@pytest.mark.long
@pytest.mark.parametrize(
    "order", ["commit:1:before", "commit:1:after", "host:Task.stop:1:before", "host:Task.stop:1:after"]
)
def test_a_cancel_that_was_accepted_is_kept_wherever_the_coordinator_dies(site: Site, order: str) -> None:
    images = set(site.images())
    job_id = begun(site, order.replace(":", "_").replace(".", "_"))
    site.arm(order)
    site.run("job", "cancel", job_id, expect=None)
    assert site.server_died_of_sigkill()
    site.disarm()
    start_server(site)
    site.run("job", "cancel", job_id, expect=None)  # refused where it was accepted before
    stopped_and_clean(site, job_id, images, "CANCELLED")
