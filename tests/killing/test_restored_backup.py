"""A backup is restored while a real host goes on with what was begun since, and the former coordinator comes back."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interlock.coordinator.recovery import IS_OLD
from interlock.testing.site import Site, wait_for
from tests.agent.processes import running
from tests.killing import loop
from tests.killing.test_copy import file_of
from tests.killing.test_stopped_copy import copies

SIZE = 64 << 20
#: bytes per second: a copy takes 5 seconds
RATE = SIZE // 5


def copied(site: Site, name: str) -> str:
    """A job that makes a template; its id, while the copy is under way."""
    job_id = site.submit("template.create", name=name, vm="web1")
    wait_for("qemu-img runs", lambda: any(map(running, copies(site))))
    return job_id


def strange(site: Site) -> list[dict[str, Any]]:
    """What the host has and no job of the database has begun."""
    [host] = site.json("host-tasks")["hosts"]
    assert host["problem"] is None
    return [task for task in host["tasks"] if task["job"] is None]


@pytest.mark.hard_case(19)
def test_after_an_old_backup_was_restored_nothing_is_stopped_or_undone_unasked_and_the_former_owner_is_refused(
    tmp_path: Path,
) -> None:
    saved, former = tmp_path / "saved.db", tmp_path / "former"
    with Site(tmp_path / "site", forked=True, copy_rate_bytes_per_s=RATE) as site:
        loop.start_server(site)
        site.start_agent()
        loop.add_storage(site)
        site.do("vm.add", name="web1", domain="sd1", disks=[{"size": SIZE}])
        image = str(file_of(site, "web1_disk1"))
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P 7 0 {SIZE}", image], check=True)

        before = copied(site, "before")
        site.run("backup", str(saved), "--state", str(site.state))
        assert site.ended(before)["result"] == "SUCCEEDED"
        after = copied(site, "after")
        images = set(site.images())
        site.kill_server()

        shutil.copytree(site.state, former / "state", ignore=shutil.ignore_patterns("*.lock", "*.sock"))
        assert "move it away" in _refused(site, saved)
        for file in site.state.glob("state.db*"):
            if file.suffix != ".key":
                file.unlink()
        assert "1 job waits for a person" in site.run("restore", str(saved), "--state", str(site.state))
        loop.start_server(site)
        assert site.api(f"/jobs/{before}")["attention"] == IS_OLD
        assert strange(site) != []
        site.do("vm.add", name="new1", domain="sd1", disks=[{"size": 1 << 20}])

        with Site(former, forked=True) as theirs:
            theirs.start_server("--poll", "0.1")
            late = theirs.ended(theirs.submit("vm.add", name="old1", domain="sd1", disks=[{"size": 1 << 20}]))
            [task] = late["tasks"]
            assert (task["outcome"], "a backup was restored since" in task["message"]) == ("UNKNOWN", True)
            assert theirs.api(f"/jobs/{after}")["result"] != "SUCCEEDED"
        wait_for("it has ended by itself", lambda: {task["result"] for task in strange(site)} == {"success"})
        site.run("job", "retry", before, "--reason", "looked at the host")
        assert site.ended(before)["result"] == "FAILED"  # its task is cleared: nobody can say what became of it
        assert images <= set(site.images())
        assert site.violations() == []


def _refused(site: Site, saved: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "interlock.cli", "restore", str(saved), "--state", str(site.state)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr
