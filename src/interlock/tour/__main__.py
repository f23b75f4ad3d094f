"""`make run`: shows what Interlock does, checks each claim, and ends by itself."""

import sys
import tempfile
from pathlib import Path

from interlock.testing.site import NotReady, Site
from interlock.tour.checks import Checks
from interlock.tour.control import control
from interlock.tour.disks import Disks

MIB = 1 << 20
DISKS = 4
SIZE, DATA_BYTES = "128MiB", 80 * MIB
#: slow enough that progress can be seen, for each of the four copies that run side by side
COPY_RATE = 10 * MIB


def say(words: str) -> None:
    """A heading of the tour."""
    print(f"\n== {words}", flush=True)


def tour(site: Site, checks: Checks) -> None:
    say("A coordinator and a host's agent start, each a process of its own; they know each other by certificates")
    site.start_server("--poll", "0.25", environment=site.failpoints())
    site.start_agent()
    port = (site.folder / "agent" / "port").read_text()
    code = site.follow("run", "host.add", "name=h1", "address=127.0.0.1", f"port={port}", "--wait", to=sys.stdout)
    checks.that("the host is registered over mutual TLS", code == 0)
    code = site.follow("run", "storage.add", "name=sd1", "host=h1", f"path={site.storage}", "--wait", to=sys.stdout)
    checks.that("the storage domain is made", code == 0)

    say("A VM with four qcow2 disks; then real data is written into them")
    disks = [f"disks={SIZE}"] * DISKS
    code = site.follow("run", "vm.add", "name=web1", "domain=sd1", *disks, "--wait", to=sys.stdout)
    checks.that("the VM is added", code == 0)
    vm_disks = Disks(site, "web1_disk")
    checks.that(f"{DISKS} images lie in the storage domain", len(site.images()) == DISKS == len(vm_disks.ids))
    vm_disks.fill(DATA_BYTES)

    say("A template of it: every disk is copied, with progress")
    code = site.follow("run", "template.create", "name=gold", "vm=web1", "--wait", to=sys.stdout)
    checks.that("the template is made", code == 0)
    copies = Disks(site, "gold_disk")
    checks.that("every copy holds exactly its disk's data", copies.hold_the_data_of(vm_disks))

    say("The coordinator will be killed (SIGKILL) just after a host has taken the second Image.delete")
    site.arm("host:Image.delete:2:after")
    site.run("run", "vm.remove", "vm=web1", expect=None)
    checks.that("the coordinator was killed in the middle", site.server_died_of_sigkill())
    print(f"   images left at this moment: {len(site.images())} of {2 * DISKS}")

    say("It is started again, and goes on from its rows")
    site.disarm()
    site.start_server()
    job = site.listed("jobs", "--limit", "1")[0]
    code = site.follow("job", "watch", job["id"], to=sys.stdout)
    checks.that("the job of before the crash SUCCEEDED", code == 0)
    left = set(site.images())
    checks.that("none of the VM's images is left on the file system", not left & set(vm_disks.ids))
    checks.that("the template's images are still there, and nothing else", left == set(copies.ids))
    checks.that("their data is still exactly what was written", copies.hold_the_data_of(vm_disks))
    named = {disk["name"] for disk in site.listed("entity", "disk")}
    checks.that("the database names the same disks as the file system", named == set(copies.names))
    checks.that("the VM is gone from the database", site.listed("entity", "vm") == [])
    checks.that("the host's journal shows each Image.delete once", vm_disks.deletes_in_journal() == {1})
    checks.that("no lock is left", site.listed("locks") == [])
    checks.that("no leftover is left", site.listed("leftovers") == [])

    control(site, checks, say, SIZE, DATA_BYTES)

    say("Every promise that a database can show is checked")
    code = site.follow("verify", to=sys.stdout)
    checks.that("verify finds nothing", code == 0)


def main() -> int:
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="interlock-tour-") as folder:
        try:
            with Site(Path(folder), copy_rate_bytes_per_s=COPY_RATE) as site:
                tour(site, checks)
        except (AssertionError, NotReady) as error:
            checks.that(f"the tour went through: {error}", False)
    print(f"\ntour: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
