"""A job that waits for a monitor, a signal and a person, and a call of three jobs: the server is killed with SIGKILL
before and after every commit, by whomever it was asked for; what is left is brought on, and ends truly."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import httpx
import pytest

from interlock.testing.site import Site, wait_for
from tests.databases import Scratch
from tests.killing import loop
from tests.killing.commits import kill_at_each

# a client that connects to a server while that is killed leaves its socket to the garbage collector
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

CATALOG_NAME = "tests.cli.small_catalog:CATALOG"
SPACE = UUID(int=4)
WAITS, CALLS = ("COME_UP", "KEY", "ASK"), 3
#: of either run at least: accepted, and each wait begun, given what it waits for, and ended
COMMITS = 7


@pytest.fixture
def site(scratch: Scratch, tmp_path: Path) -> Iterator[Site]:
    database = scratch.url if scratch.dialect == "postgresql" else None
    with Site(tmp_path, forked=True, catalog=CATALOG_NAME, database=database) as site:
        site.start_server(*loop.OPTIONS, environment=site.failpoints())
        yield site


def test_a_waiting_job_survives_sigkill_at_every_commit(site: Site) -> None:
    assert killed_while_waiting(site)


def killed_while_waiting(site: Site) -> int:
    """How often the server was killed at a job that waits for a monitor, a signal and a person."""

    def judge(name: str) -> bool:
        job = loop.job_titled(site, "box.open", f"Open {name}")
        if job is None:
            return False
        drive(site, name, job)
        events = site.api(f"/jobs/{job}/events")["events"]
        assert [event["kind"] for event in events].count("wait_answered") == 1
        return True

    def run(name: str) -> None:
        drive(site, name, site.submit("box.open", box=name))

    return kill_at_each(site, lambda name: site.do("box.add", name=name), run, judge, at_least=COMMITS)


def test_a_call_survives_sigkill_at_every_commit(site: Site) -> None:
    assert killed_in_a_call(site)


def killed_in_a_call(site: Site) -> int:
    """How often the server was killed at a call of three jobs."""

    def judge(name: str) -> bool:
        jobs = [loop.job_titled(site, "box.open", f"Open {name}_{number}") for number in range(CALLS)]
        if jobs == [None] * CALLS:
            return False
        ids = [job for job in jobs if job is not None]
        assert len(ids) == CALLS, "a call is accepted whole"
        for number, job in enumerate(ids):
            drive(site, f"{name}_{number}", job)
        return True

    def prepare(name: str) -> None:
        for number in range(CALLS):
            site.do("box.add", name=f"{name}_{number}", status="UP")

    def run(name: str) -> None:
        call = [{"command": "box.open", "parameters": {"box": f"{name}_{number}"}} for number in range(CALLS)]
        jobs = site.api("/calls", {"commands": call, "order": "sequential"})["job_ids"]
        for number, job in enumerate(jobs):
            drive(site, f"{name}_{number}", job)

    return kill_at_each(site, prepare, run, judge, at_least=COMMITS)


def drive(site: Site, box: str, job: str) -> None:
    """Gives the job whatever it waits for, as often as it takes; it must succeed."""

    def over() -> dict[str, Any] | None:
        shown: dict[str, Any] = site.api(f"/jobs/{job}")
        for task in shown["tasks"]:
            if task["waits_for"] is None or task["outcome"] is not None:
                continue
            if "signal" in task["waits_for"]:
                id = str(uuid5(SPACE, task["id"]))
                site.api("/signals", {"kind": "key", "about": f"box:{box}", "job_id": job, "id": id})
            elif "question" in task["waits_for"]:
                with suppress(httpx.HTTPStatusError):  # it was answered before
                    site.api(f"/jobs/{job}/answer", {"answer": {"approve": True}})
            else:
                site.api("/reports", {"monitor": "box.seen", "about": f"box:{box}", "report": {"status": "UP"}})
        return shown if shown["ended_at"] is not None else None

    ended = wait_for(f"job {job} has ended", over)
    assert ended["result"] == "SUCCEEDED", ended["failure"]
    assert [task["outcome"] for task in ended["tasks"]] == ["SUCCEEDED"] * len(WAITS)
