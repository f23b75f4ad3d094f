"""Jobs that people cancel, pause, give another priority, retry, skip and restart: the server is killed with SIGKILL
before and after every commit, by whomever it was asked for; each wish is kept once or never happened."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.testing.site import Site, wait_for
from tests.databases import Scratch
from tests.killing import loop
from tests.killing.commits import kill_at_each

# a client that connects to a server while that is killed leaves its socket to the garbage collector
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

CATALOG_NAME = "tests.killing.control_catalog:CATALOG"


@pytest.fixture
def site(scratch: Scratch, tmp_path: Path) -> Iterator[Site]:
    database = scratch.url if scratch.dialect == "postgresql" else None
    with Site(tmp_path, forked=True, catalog=CATALOG_NAME, database=database) as site:
        site.start_server(*loop.OPTIONS, environment=site.failpoints())
        yield site


class Steered:
    """One scenario: what is done to a job until it ends, whatever was done of it already."""

    result = "SUCCEEDED"
    log = "prepared prepared started"
    status = "DOWN"
    ask = False
    #: commits of a run that another may not have
    unsure = 1

    def __init__(self, site: Site) -> None:
        self.site = site

    def prepare(self, name: str) -> None:
        self.site.do("box.add", name=name, status=self.status)

    def run(self, name: str) -> None:
        self.drive(name, self.submit(name))

    def submit(self, name: str, word: str = "started") -> str:
        body = {"command": "box.start", "parameters": {"box": name, "word": word}, "ask": self.ask}
        return str(self.site.api("/jobs", body)["job_id"])

    def judge(self, name: str) -> bool:
        job = self.found(name)
        if job is None:
            return False
        self.drive(name, job)
        return True

    def found(self, name: str, word: str = "started") -> str | None:
        return loop.job_titled(self.site, "box.start", f"Start {name}: {word}")

    def drive(self, name: str, job: str) -> None:
        """Does what is to be done, as often as it takes; then the end must be true."""

        def over() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.site.api(f"/jobs/{job}")
            if shown["ended_at"] is None:
                self.act(name, shown)
                return None
            return shown

        shown: dict[str, Any] = wait_for(f"job {job} has ended", over)
        self.ended(name, shown)

    def act(self, name: str, shown: dict[str, Any]) -> None:
        """What is to be done to a job that has not ended."""
        raise NotImplementedError

    def ended(self, name: str, shown: dict[str, Any]) -> None:
        assert shown["result"] == self.result, shown["failure"]
        assert self.entity(name)["log"] == self.log

    # what a person does; what was done before the crash is refused ----------------------------------

    def wish(self, shown: dict[str, Any], what: str, **body: Any) -> None:
        with suppress(httpx.HTTPStatusError):
            self.site.api(f"/jobs/{shown['id']}/{what}", body)

    def report(self, name: str, status: str) -> None:
        self.site.api("/reports", {"monitor": "box.seen", "about": f"box:{name}", "report": {"status": status}})

    def entity(self, name: str) -> dict[str, Any]:
        return dict(self.site.api(f"/entities/box/{name}")["fields"])

    def told(self, shown: dict[str, Any], kind: str) -> int:
        events = self.site.api(f"/jobs/{shown['id']}/events")["events"]
        return [event["kind"] for event in events].count(kind)


def step(shown: dict[str, Any], name: str) -> dict[str, Any]:
    """The step of that name, in its latest attempt."""
    [executing] = [each for each in shown["steps"] if each["name"] == "EXECUTING"]
    found: list[dict[str, Any]] = [each for each in executing["steps"] if each["name"] == name]
    return found[-1]


def is_asking(shown: dict[str, Any]) -> bool:
    return shown["attention"] is not None


class Cancelled(Steered):
    result, log, unsure = "CANCELLED", "prepared undone", 0

    def act(self, name: str, shown: dict[str, Any]) -> None:
        if shown["commands"] and shown["commands"][0]["stopping"] is None and _waits(shown):
            self.wish(shown, "cancel", reason="so")

    def ended(self, name: str, shown: dict[str, Any]) -> None:
        super().ended(name, shown)
        assert self.told(shown, "cancel_accepted") == 1


def _waits(shown: dict[str, Any]) -> bool:
    return any(task["waits_for"] and task["outcome"] is None for task in shown["tasks"])


class Paused(Steered):
    def act(self, name: str, shown: dict[str, Any]) -> None:
        if self.told(shown, "job_paused") == 0:
            if _waits(shown):
                self.wish(shown, "pause")
        elif step(shown, "COME_UP")["status"] != "FINISHED":
            self.report(name, "UP")
        elif shown["paused_by"]:
            assert step(shown, "FINISH")["status"] == "PENDING"
            self.wish(shown, "resume")

    def ended(self, name: str, shown: dict[str, Any]) -> None:
        super().ended(name, shown)
        assert (self.told(shown, "job_paused"), self.told(shown, "job_resumed")) == (1, 1)


class Retried(Steered):
    status, ask = "BROKEN", True

    def act(self, name: str, shown: dict[str, Any]) -> None:
        if is_asking(shown):
            self.report(name, "UP")
            self.decide(shown)

    def decide(self, shown: dict[str, Any]) -> None:
        self.wish(shown, "settle", decision="retry", reason="so")

    def ended(self, name: str, shown: dict[str, Any]) -> None:
        super().ended(name, shown)
        assert self.told(shown, "failed_retried") == 1


class Skipped(Retried):
    def decide(self, shown: dict[str, Any]) -> None:
        self.wish(shown, "settle", decision="skip", reason="so")

    def ended(self, name: str, shown: dict[str, Any]) -> None:
        Steered.ended(self, name, shown)
        assert (self.told(shown, "failed_skipped"), shown["has_warnings"]) == (1, True)


class Restarted(Steered):
    """The first job fails; the second, which does it once more, succeeds."""

    status, log = "BROKEN", "prepared undone prepared prepared started"

    def act(self, name: str, shown: dict[str, Any]) -> None:
        """It ends by itself, or is the second."""

    def ended(self, name: str, shown: dict[str, Any]) -> None:
        if shown["restart_of"] is None:
            assert shown["result"] == "FAILED"
            self.report(name, "UP")
            again = self.site.api(f"/jobs/{shown['id']}/restart", {"idempotency_key": f"again/{name}"})
            self.drive(name, again["job_id"])
        else:
            super().ended(name, shown)

    def found(self, name: str, word: str = "started") -> str | None:
        title = f"Start {name}: {word}"
        rows = self.site.rows(f"SELECT id FROM job WHERE title = '{title}' AND restart_of IS NULL")
        return str(loop.as_id(rows[0][0])) if rows else None


class Preferred(Steered):
    """Of two jobs that wait for the first the later one is preferred."""

    log = "prepared prepared first prepared prepared third prepared prepared second"

    def run(self, name: str) -> None:
        self.submit(name, "first")
        self.drive(name, self.found(name, "first") or "")

    def judge(self, name: str) -> bool:
        first = self.found(name, "first")
        if first is not None:
            self.drive(name, first)
        return first is not None

    def act(self, name: str, shown: dict[str, Any]) -> None:
        if shown["title"].endswith("first") and _waits(shown):
            for word in ("second", "third"):
                if self.found(name, word) is None:
                    self.submit(name, word)
            third: dict[str, Any] = self.site.api(f"/jobs/{self.found(name, 'third')}")
            if third["priority"] == 0:
                self.wish(third, "priority", priority=5)
            else:
                self.report(name, "UP")

    def ended(self, name: str, shown: dict[str, Any]) -> None:
        assert shown["result"] == "SUCCEEDED"
        if shown["title"].endswith("first"):
            for word in ("second", "third"):
                self.drive(name, self.found(name, word) or "")
            assert self.entity(name)["log"] == self.log


SCENARIOS: tuple[type[Steered], ...] = (Cancelled, Paused, Retried, Skipped, Restarted, Preferred)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_steered_job_survives_sigkill_at_every_commit(site: Site, scenario: type[Steered]) -> None:
    assert killed_at_each(site, scenario)


def killed_at_each(site: Site, scenario: type[Steered]) -> int:
    """How often the server was killed, and brought what was left to its true end each time."""
    steered = scenario(site)
    return kill_at_each(site, steered.prepare, steered.run, steered.judge, at_least=3, unsure=steered.unsure)
