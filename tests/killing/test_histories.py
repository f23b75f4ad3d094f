"""A coordinator and agents under random kills and stops for a stated time, then every check on what is left.

`INTERLOCK_HISTORY_S` says for how long (20 s), `INTERLOCK_HISTORY_SEED` which kills and wishes (any; printed). Unlike
in the simulator the same seed does not give the same history: these are real processes, real files and a real clock.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.testing.site import Site, wait_for
from tests.killing import loop

SECONDS = float(os.environ.get("INTERLOCK_HISTORY_S", "20"))
SEED = int(os.environ.get("INTERLOCK_HISTORY_SEED", str(random.SystemRandom().randrange(1 << 32))))
#: how many jobs may be under way at once
JOBS_MAX = 12
OPTIONS = ("--poll", "0.1")

pytestmark = pytest.mark.long


class History:
    """One coordinator, two hosts, somebody who asks for things, and somebody who kills."""

    def __init__(self, site: Site, other: Site) -> None:
        self.chance = random.Random(SEED)
        self.site = site
        self.hosts = {"sd1": site, "sd2": other}
        #: every key that was sent, and the job that it was answered with, if it was
        self.acknowledged: dict[str, str | None] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.kills = 0

    # people ------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Asks for something new, or again for what was not answered."""
        unanswered = [key for key, job in self.acknowledged.items() if job is None]
        if unanswered and self.chance.random() < 0.5:
            self._send(self.chance.choice(unanswered))
            return
        key = f"key-{len(self.asked)}"
        self.asked[key] = self._wish(len(self.asked))
        self.acknowledged[key] = None
        self._send(key)

    def _wish(self, number: int) -> dict[str, Any]:
        domain = self.chance.choice(sorted(self.hosts))
        made = [wish["parameters"]["name"] for wish in self.asked.values() if wish["command"] == "vm.add"]
        if made and self.chance.random() < 0.4:
            return {"command": "vm.remove", "parameters": {"vm": self.chance.choice(made)}}
        disks = [{"size": 1 << 20}] * self.chance.randint(1, 3)
        return {"command": "vm.add", "parameters": {"name": f"vm{number}", "domain": domain, "disks": disks}}

    def _send(self, key: str) -> None:
        with suppress(httpx.TransportError):
            self.acknowledged[key] = self._answer({**self.asked[key], "idempotency_key": key})

    def _answer(self, body: dict[str, Any]) -> str | None:
        """The job; "refused" where there is none, None where the coordinator was just stopping."""
        try:
            return str(self.site.api("/jobs", body)["job_id"])
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 503:
                return None
            if error.response.status_code not in (409, 422):
                raise
            return str(error.response.json().get("job_id", "refused"))

    def cancel(self) -> None:
        """Somebody cancels a job, whatever has become of it."""
        known = [job for job in self.acknowledged.values() if job not in (None, "refused")]
        if known:
            with suppress(httpx.TransportError, httpx.HTTPStatusError):
                self.site.api(f"/jobs/{self.chance.choice(known)}/cancel", {"reason": "changed my mind"})

    # what goes wrong ---------------------------------------------------------------------------------

    def trouble(self) -> None:
        """Kills or stops somebody; they are started again."""
        self.kills += 1
        host = self.chance.choice(list(self.hosts.values()))
        self.chance.choice(
            (self._kill_server, self._stop_server, self._freeze_server, lambda: self._kill_agent(host))
        )()

    def _kill_server(self) -> None:
        self.site.kill_server()
        self.site.start_server(*OPTIONS)

    def _stop_server(self) -> None:
        self.site.stop_server()
        self.site.start_server(*OPTIONS)

    def _freeze_server(self) -> None:
        assert self.site.server is not None
        self.site.server.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.1, 1.0))  # it is frozen: there is no fact to wait for
        self.site.server.send_signal(signal.SIGCONT)

    def _kill_agent(self, host: Site) -> None:
        host.kill_agent()
        host.start_agent()

    # what is left ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nobody is killed any more: everything is answered and comes to an end."""
        for key in [key for key, job in self.acknowledged.items() if job is None]:
            self._send(key)
            assert self.acknowledged[key] is not None, key
        wait_for("all jobs have ended", lambda: self._open() == [], within_s=120.0)
        loop.settled(self.site)

    def _open(self) -> list[Any]:
        rows = self.site.rows("SELECT id, attention FROM job WHERE ended_at IS NULL")
        for id, attention in rows:
            if attention is not None:
                with suppress(httpx.HTTPStatusError):
                    self.site.api(f"/jobs/{loop.as_id(id)}/cancel", {"reason": "it is over", "force": True})
        return rows

    def judge(self) -> None:
        """Every check: the rows, what was acknowledged, and the disks on the hosts."""
        assert self.site.violations() == []
        kept = {str(loop.as_id(id)) for (id,) in self.site.rows("SELECT id FROM job")}
        promised = {job for job in self.acknowledged.values() if job not in (None, "refused")}
        assert promised <= kept, promised - kept
        left = str(self.site.api("/leftovers"))
        believed = {disk["image_id"]: disk for disk in map(_body, self._disks())}
        there = {image for host in self.hosts.values() for image in host.images()}
        for image, disk in believed.items():
            if disk["status"] == "OK":
                assert image in there, f"disk {disk['name']} is OK, and its image {image} is not there"
        for image in there - set(believed):
            assert image in left or image.startswith("_remove_"), f"image {image} is there, and nobody knows of it"

    def _disks(self) -> list[str]:
        return [body for (body,) in self.site.rows("SELECT body_json FROM entities WHERE type = 'disk'")]


def _body(text: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(text)
    return body


def test_whatever_was_killed_all_promises_hold(tmp_path: Path) -> None:
    print(f"history: seed {SEED}, {SECONDS:g} s")
    with Site(tmp_path / "one", forked=True) as site:
        site.start_server(*OPTIONS)
        site.start_agent()
        loop.add_host(site, site, "sd1")
        with Site(tmp_path / "two", forked=True, host="h2", state=site.state) as other:
            other.start_agent()
            loop.add_host(site, other, "sd2")
            history = History(site, other)
            _live(history)
            history.settle()
            history.judge()
            ended = site.rows("SELECT result, count(*) FROM job GROUP BY result ORDER BY result")
            print(f"history: {history.kills} kills and stops, jobs {dict(ended)}, all checks passed")
            assert history.kills
            assert any(result == "SUCCEEDED" for result, _ in ended)


def _live(history: History) -> None:
    until, chance = time.monotonic() + SECONDS, history.chance
    acts: list[Callable[[], None]] = [history.ask] * 6 + [history.cancel] + [history.trouble] * 2
    while time.monotonic() < until:
        under_way = history.site.rows("SELECT count(*) FROM job WHERE ended_at IS NULL") if history.asked else [(0,)]
        act = chance.choice(acts)
        if act != history.ask or under_way[0][0] < JOBS_MAX:
            act()
