"""Runs of a relay on two real hosts, and what its end must be true of: rows, ledger, both journals and file systems."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.testing.site import Site
from interlock.vdsm import Code
from tests.killing import loop
from tests.killing.relay import LEGS
from tests.killing.site_flows import accepted, agent_journal

CATALOG_NAME = "tests.killing.relay:CATALOG"
_HOSTS = "SELECT name, id FROM entities WHERE type = 'host'"


@dataclass(frozen=True)
class TwoHosts:
    """The coordinator with the agent of host h1 and domain sd1, and the agent of host h2 with domain sd2."""

    first: Site
    second: Site

    @property
    def both(self) -> tuple[Site, Site]:
        """Where legs 1, 3 and 5 run, and where legs 2 and 4 do."""
        return self.first, self.second

    def images(self) -> dict[str, set[str]]:
        """All that lies below the folders of images, by host."""
        return {
            site.host: {str(path.relative_to(site.storage)) for path in site.storage.glob("*/images/**/*")}
            for site in self.both
        }


@contextmanager
def two_hosts(folder: Path, *, database: str | None = None, stock: bool = False) -> Iterator[TwoHosts]:
    """All three running; coordinator and the second agent can be killed at each step. `stock`: the second host is
    one that has not our extension."""
    with (
        Site(folder / "one", forked=True, catalog=CATALOG_NAME, database=database) as first,
        Site(folder / "two", forked=True, host="h2", state=first.state, stock=stock) as second,
    ):
        first.start_server(*loop.OPTIONS, environment=first.failpoints())
        first.start_agent()
        second.start_agent(second.failpoints())
        loop.add_host(first, first, "sd1")
        loop.add_host(first, second, "sd2")
        yield TwoHosts(first, second)


@dataclass(frozen=True)
class End:
    """What is true after a relay, one of whose legs failed, unless that is None."""

    failed: int | None
    no_return: int

    @property
    def begun(self) -> range:
        """The legs that a host was asked for."""
        return range(1, 1 + (self.failed or LEGS))

    @property
    def undone(self) -> list[int]:
        """The legs that are undone, in this order."""
        return [] if self.failed is None else list(range(self.failed - 1, self.no_return, -1))

    @property
    def made(self) -> list[int]:
        """The legs whose images stay."""
        return [leg for leg in self.begun if leg != self.failed and leg not in self.undone]

    def asked_for(self, host: int) -> list[str]:
        """The verbs that the first (0) or second (1) host was given, in this order."""
        legs = [leg for leg in self.begun if leg % 2 != host]
        forward = ["Volume.create" if leg <= 2 or leg == self.failed == LEGS else "Volume.copy" for leg in legs]
        return forward + ["Image.delete" for leg in self.undone if leg in legs]


class Relays:
    """Runs relays, one after another. With `fails` their last leg fails, and what was completed is undone.

    `interrupted` is the leg that may fail before that: what a host was about to do is lost with its agent.
    """

    def __init__(
        self, hosts: TwoHosts, kind: str, *, fails: bool = False, no_return: int = 0, interrupted: int | None = None
    ) -> None:
        self.hosts, self.site = hosts, hosts.first
        self.kind, self.fails, self.no_return, self.interrupted = kind, fails, no_return, interrupted
        #: what was there before the present run
        self.before = hosts.images()

    def prepare(self, name: str) -> None:
        self.before = self.hosts.images()

    def submit(self, name: str) -> str:
        return self.site.submit("relay.run", **self.parameters(name))

    def parameters(self, name: str) -> dict[str, Any]:
        """Of the command that a run of that name is."""
        hosts = {"first": "sd1", "second": "sd2"}
        return {"name": self.full(name), "fails": self.fails, "no_return": self.no_return, **hosts}

    def full(self, name: str) -> str:
        return f"{self.kind}-{name}"

    def job(self, name: str) -> str | None:
        return loop.job_titled(self.site, "relay.run", f"Run relay {self.full(name)}")

    def nothing_happened(self, name: str) -> None:
        assert self.site.rows("SELECT * FROM entities WHERE name = ?", self.full(name)) == []
        assert self.hosts.images() == self.before

    def judge(self, name: str, job: dict[str, Any], order: str) -> None:
        """The end is one that this kind of relay may have, and all that can be looked at agrees with it."""
        end = self._end(job, order)
        assert job["result"] == ("SUCCEEDED" if end.failed is None else "FAILED"), f"{order}: {job['failure']}"
        assert not job["leftovers"], order
        [(id, body)] = self.site.rows(
            "SELECT id, body_json FROM entities WHERE type = 'relay' AND name = ?", self.full(name)
        )
        relay = json.loads(body)
        assert relay["undone"] == end.undone, f"{order}: the completed part, latest first, each once"
        assert relay["result"] == ("arrived" if end.failed is None else "failed"), f"{order}: ended once"
        self._judge_images(f"relay:{loop.as_id(id)}", end, order)
        self._judge_journals(job, end, order)

    def _end(self, job: dict[str, Any], order: str) -> End:
        """By which of its legs failed; that must be one that may."""
        legs = [command for command in job["commands"] if command["name"] == "relay.run_leg"]
        failed = [leg["position"] + 1 for leg in legs if leg["result"] == "FAILED"]
        if failed != [self.interrupted] or self.interrupted is None:
            assert failed == ([LEGS] if self.fails else []), f"{order}: {job['failure']}"
        else:
            assert job["failure"]["causes"][0]["code"] == Code.INTERRUPTED, f"{order}: {job['failure']}"
        return End(failed[0] if failed else None, self.no_return)

    def _judge_images(self, relay: str, end: End, order: str) -> None:
        """On both hosts there is what was there before, and the images that the rows name, whole; nothing else."""
        bodies = self.site.rows("SELECT body_json FROM entities WHERE type = 'leg'")
        legs = [leg for leg in (json.loads(body) for (body,) in bodies) if leg["relay"] == relay]
        assert sorted((leg["number"], leg["status"]) for leg in legs) == [(leg, "MADE") for leg in end.made], order
        expected = {host: set(paths) for host, paths in self.before.items()}
        for leg in legs:
            site = self.hosts.both[(leg["number"] + 1) % 2]
            folder = f"{leg['domain'].partition(':')[2]}/images/{leg['image_id']}"
            file = f"{folder}/{leg['volume_id']}"
            expected[site.host] |= {folder, file, f"{file}.meta"}
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(site.storage / file)], check=True)
        assert self.hosts.images() == expected, order

    def _judge_journals(self, job: dict[str, Any], end: End, order: str) -> None:
        """Each host has accepted exactly the tasks of the rows, each once, in the sequence's order."""
        [flow] = [command["id"] for command in job["commands"] if command["parent_id"] is None]
        refs = {name: f"host:{loop.as_id(id)}" for name, id in self.site.rows(_HOSTS)}
        for index, site in enumerate(self.hosts.both):
            rows = sorted((task["id"], task["method"]) for task in job["tasks"] if task["host"] == refs[site.host])
            ids = [id for id, _ in rows]
            found = sorted(id for id, owner in accepted(agent_journal(site)) if owner == flow or id in ids)
            assert found == ids, f"{order}: host {site.host} accepted {found}, not {rows}"
            assert [method for _, method in rows] == end.asked_for(index), f"{order}: host {site.host}"
