"""What people do to jobs, on the tour: cancel, wait for a lock and ask why, retry what failed, search."""

import sys
from collections.abc import Callable
from typing import Any

from interlock.testing.site import Site, wait_for
from interlock.tour.checks import Checks
from interlock.tour.disks import Disks

#: at this rate a copy takes minutes
SLOW_RATE = 256 << 10


def control(site: Site, checks: Checks, say: Callable[[str], None], size: str, data_bytes: int) -> None:
    """On a site with host h1 and storage domain sd1; leaves a VM web2 and a template of it."""
    say("A copy is under way; who wants what it holds waits in line, and is told for whom")
    site.run("run", "vm.add", "name=web2", "domain=sd1", *[f"disks={size}"] * 3, "--wait")
    disks = Disks(site, "web2_disk")
    disks.fill(data_bytes)
    before = set(site.images())
    usual_rate = site.copy_rate_bytes_per_s
    _begin_agent_again(site, SLOW_RATE)  # so that the copy is under way however slow the machine is
    copies = site.run("run", "template.create", "name=silver", "vm=web2").strip()
    waits = site.run("run", "vm.remove", "vm=web2", "--wait-for-locks").strip()
    why = site.run("job", "why", waits)
    print(why, end="")
    checks.that("the waiting job says which lock it waits for, and whose", copies in why and "lock" in why)

    say("It is cancelled before it begins, and the copy while it runs: nothing of either remains")
    site.run("job", "cancel", waits, "--reason", "web2 is needed")
    code = site.follow("job", "cancel", copies, "--wait", "--reason", "wrong name", to=sys.stdout)
    checks.that("the exit code says cancelled", code == 2)
    checks.that("what waited was cancelled as well", site.json("job", "show", waits)["result"] == "CANCELLED")
    checks.that("the images are those of before", set(site.images()) == before)
    _begin_agent_again(site, usual_rate)

    say("A disk's file is missing: the copy of that disk fails, the job asks, and the other copies are kept")
    aside = disks.files[1].with_suffix(".aside")
    disks.files[1].rename(aside)
    asks = site.run("run", "template.create", "name=bronze", "vm=web2", "--ask").strip()
    shown = wait_for("the job asks", lambda: _asking(site, asks))
    print(f"   {shown['attention']}")
    started = [task["id"] for task in shown["tasks"] if task["outcome"] == "SUCCEEDED"]
    checks.that("two copies have succeeded and are kept", len(started) == 2)

    say("The file is back, and only what failed is tried again")
    aside.rename(disks.files[1])
    site.run("job", "retry", asks, "--reason", "the file is back")
    code = site.follow("job", "watch", asks, to=sys.stdout)
    checks.that("the job succeeded", code == 0)
    tasks = site.json("job", "show", asks)["tasks"]
    kept = [task["id"] for task in tasks if task["id"] in started]
    checks.that("the two copies were not made again", kept == started and len(tasks) == len(started) + 2)
    checks.that("every copy holds exactly its disk's data", Disks(site, "bronze_disk").hold_the_data_of(disks))

    say("Which jobs were cancelled within the last hour?")
    query = 'result = cancelled and started > "1 hour ago" sortby started'
    found = [job["id"] for job in site.listed("jobs", query)]
    site.follow("jobs", query, to=sys.stdout)
    checks.that("the search finds the two, in their order", found == [copies, waits])
    code = site.follow("jobs", "stauts = failed", to=sys.stdout)
    checks.that("a mistake is pointed at", code == 64)


def _begin_agent_again(site: Site, copy_rate_bytes_per_s: int | None) -> None:
    """Kills the host's agent, and starts one that copies so fast."""
    site.kill_agent()
    site.copy_rate_bytes_per_s = copy_rate_bytes_per_s
    site.start_agent()


def _asking(site: Site, job_id: str) -> dict[str, Any] | None:
    shown: dict[str, Any] = site.json("job", "show", job_id)
    return shown if shown["attention"] is not None else None
