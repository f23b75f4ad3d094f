"""Runs of a relay on two real hosts, and what its end must be true of: rows, ledger, both journals and file systems."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from interlock.testing.site import Site
from tests.killing import loop
from tests.killing.relay import LEGS

CATALOG_NAME = "tests.killing.relay:CATALOG"
#: a task that the agent has just accepted, as its journal has it: id, method, flow
_ACCEPTED = re.compile(r'"id":"([^"]+)","method":"([^"]+)","params":\{[^}]*\},"flow":"([^"]+)"[^}]*"state":"init"')


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
def two_hosts(folder: Path) -> Iterator[TwoHosts]:
    """All three running; coordinator and the second agent can be killed at each step."""
    with (
        Site(folder / "one", forked=True, catalog=CATALOG_NAME) as first,
        Site(folder / "two", forked=True, host="h2", state=first.state) as second,
    ):
        first.start_server(*loop.OPTIONS, environment=first.failpoints())
        first.start_agent()
        second.start_agent(second.failpoints())
        loop.add_host(first, first, "sd1")
        loop.add_host(first, second, "sd2")
        yield TwoHosts(first, second)


class Relays:
    """Runs relays, one after another, which all end in the same way."""

    def __init__(self, hosts: TwoHosts, kind: str, *, fails: bool = False, no_return: int = 0) -> None:
        self.hosts, self.site = hosts, hosts.first
        self.kind, self.fails, self.no_return = kind, fails, no_return
        #: what was there before the present run
        self.before = hosts.images()

    @property
    def undone(self) -> tuple[int, ...]:
        """The legs that are undone, in this order."""
        return tuple(range(LEGS - 1, self.no_return, -1)) if self.fails else ()

    @property
    def made(self) -> tuple[int, ...]:
        """The legs whose images stay."""
        return tuple(leg for leg in range(1, LEGS + (not self.fails)) if leg not in self.undone)

    def prepare(self, name: str) -> None:
        self.before = self.hosts.images()

    def submit(self, name: str) -> str:
        return self.site.submit(
            "relay.run", name=self.full(name), first="sd1", second="sd2", fails=self.fails, no_return=self.no_return
        )

    def full(self, name: str) -> str:
        return f"{self.kind}-{name}"

    def job(self, name: str) -> str | None:
        return loop.job_titled(self.site, "relay.run", f"Run relay {self.full(name)}")

    def nothing_happened(self, name: str) -> None:
        assert self.site.rows("SELECT * FROM entities WHERE name = ?", self.full(name)) == []
        assert self.hosts.images() == self.before

    def judge(self, name: str, job: dict[str, Any], order: str) -> None:
        """The end is the one that this kind of relay has, and all that can be looked at agrees with it."""
        assert job["result"] == ("FAILED" if self.fails else "SUCCEEDED"), f"{order}: {job['failure']}"
        assert not job["leftovers"], order
        [(relay_id, body)] = self.site.rows(
            "SELECT id, body_json FROM entities WHERE type = 'relay' AND name = ?", self.full(name)
        )
        relay = json.loads(body)
        assert relay["undone"] == list(self.undone), f"{order}: the completed part, latest first, each once"
        assert relay["result"] == ("failed" if self.fails else "arrived"), f"{order}: ended once"
        self._judge_images(UUID(bytes=relay_id), order)
        self._judge_journals(job, order)

    def _judge_images(self, relay: UUID, order: str) -> None:
        """On both hosts there is what was there before, and the images that the rows name, whole; nothing else."""
        bodies = self.site.rows("SELECT body_json FROM entities WHERE type = 'leg'")
        legs = [leg for leg in (json.loads(body) for (body,) in bodies) if leg["relay"] == f"relay:{relay}"]
        assert sorted((leg["number"], leg["status"]) for leg in legs) == [(leg, "MADE") for leg in self.made], order
        expected = {host: set(paths) for host, paths in self.before.items()}
        for leg in legs:
            site = self.hosts.both[(leg["number"] + 1) % 2]
            folder = f"{leg['domain'].partition(':')[2]}/images/{leg['image_id']}"
            file = f"{folder}/{leg['volume_id']}"
            expected[site.host] |= {folder, file, f"{file}.meta"}
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(site.storage / file)], check=True)
        assert self.hosts.images() == expected, order

    def _judge_journals(self, job: dict[str, Any], order: str) -> None:
        """Each host has accepted exactly the tasks of the rows, each once, in the sequence's order."""
        [flow] = [command["id"] for command in job["commands"] if command["parent_id"] is None]
        hosts = dict(self.site.rows("SELECT name, lower(hex(id)) FROM entities WHERE type = 'host'"))
        for first_leg, site in enumerate(self.hosts.both, 1):
            ref = f"host:{UUID(hosts[site.host])}"
            rows = sorted((task["id"], task["method"]) for task in job["tasks"] if task["host"] == ref)
            found = _ACCEPTED.findall(site.agent_journal().decode(errors="replace"))
            accepted = [(id, method) for id, method, owner in found if owner == flow]
            assert accepted == rows, f"{order}: host {site.host}"
            legs = range(first_leg, LEGS + 1, 2)
            wanted = [self._forward(leg) for leg in legs] + ["Image.delete" for leg in legs if leg in self.undone]
            assert [method for _, method in accepted] == wanted, f"{order}: host {site.host}"

    def _forward(self, leg: int) -> str:
        """What the host of a leg is asked for."""
        return "Volume.create" if leg <= 2 or (leg == LEGS and self.fails) else "Volume.copy"
