"""The flows of the virtualization catalog on a real site, and what the end of each must be true of."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx

from interlock.agent.journal.format import read
from interlock.testing.site import Site, wait_for
from interlock.vdsm import Code
from tests.agent.processes import running
from tests.killing import loop
from tests.killing.flows import Flow
from tests.killing.matrix import dead
from tests.killing.world import World, Worlds


class SiteFlow:
    """One flow of the catalog, run again and again under other names: a `loop.Operation`."""

    def __init__(self, site: Site, flow: Flow) -> None:
        self.site, self.flow = site, flow
        self._worlds = Worlds(site)
        self._before: dict[str, str] = {}
        self._jobs: set[Any] = set()

    def prepare(self, name: str) -> None:
        self.flow.prepare(self.site, name)
        loop.settled(self.site)
        wait_for("what nobody waits for is over as well", self._is_idle)
        self._before = self._worlds.now()
        self._jobs = {id for (id,) in self._jobs_now()}

    def _is_idle(self) -> bool:
        """Whether the host does nothing any more, also of what a run before has left."""
        hosts = self.site.api("/host-tasks")["hosts"]
        return all(task["state"] == "finished" for host in hosts for task in host["tasks"])

    def submit(self, name: str) -> str:
        parameters = {key: self._known(value) for key, value in self.flow.filled(name).items()}
        job_id = self.site.submit(self.flow.command, **parameters)
        if self.flow.is_cancelled:
            wait_for("a host copies, or something is dead", lambda: self._copies() or bool(dead(self.site)))
            with suppress(httpx.HTTPStatusError):  # it has ended
                self.site.api(f"/jobs/{job_id}/cancel", {"reason": "so"})
        return job_id

    def _copies(self) -> bool:
        return any(map(running, (self.site.folder / "agent" / "jobs").glob("*/*")))

    def _known(self, value: Any) -> Any:  # Any: JSON values
        if value == "{port}":
            return int((self.site.folder / "agent" / "port").read_text())
        return str(self.site.storage) if value == "{storage}" else value

    def job(self, name: str) -> str | None:
        new = [id for (id,) in self._jobs_now() if id not in self._jobs]
        assert len(new) <= 1, f"{name} was accepted {len(new)} times"
        return str(loop.as_id(new[0])) if new else None

    def _jobs_now(self) -> list[tuple[Any, ...]]:
        return self.site.rows("SELECT id FROM job WHERE action = ?", self.flow.command)

    def nothing_happened(self, name: str) -> None:
        _none(differences(self._before, self._worlds.now()), f"{name} was not accepted")

    def judge(self, name: str, job: dict[str, Any], order: str) -> None:
        """The end is the one that it may have, it is true of rows and files, and each task was accepted once."""
        after, result, wanted = self._worlds.now(), self.flow.result, self.flow.after(self._before, name)
        if self.flow.is_cancelled:
            is_kept = self._was_accepted(job, "cancel_accepted")
            result, wanted = ("CANCELLED", self._before) if is_kept else ("SUCCEEDED", wanted)
        is_doubtful = self.site.stock and job["leftovers"]
        if job["result"] == result and not is_doubtful:
            _none(differences(wanted, after), order)
            commands = {command["name"] for command in job["commands"]}
            assert commands == {self.flow.command, *self.flow.parts}, f"{order}: {commands}"
        elif self.site.stock:
            self._told_truth(name, job, result, after, order)
        else:
            self._was_interrupted(job, after, order)
        self._accepted_once(job, order)

    def _was_accepted(self, job: dict[str, Any], kind: str) -> bool:
        """Whether a wish of a person was; it is told of once."""
        told = [event["kind"] for event in self.site.api(f"/jobs/{job['id']}/events")["events"]].count(kind)
        assert told <= 1, f"{kind} {told} times"
        return told == 1

    def _was_interrupted(self, job: dict[str, Any], after: Mapping[str, str], order: str) -> None:
        """An agent that is killed may lose the child that it was about to start: then all is undone."""
        assert "agent_" in order, f"{order}: {job['failure']}"
        codes = {cause["code"] for cause in job["failure"]["causes"]}
        assert Code.INTERRUPTED in codes, f"{order}: {job['failure']}"
        _none(differences(self._before, after), f"{order}: {job['failure']}")

    def _told_truth(self, name: str, job: dict[str, Any], result: str, after: Mapping[str, str], order: str) -> None:
        """A stock host cannot say what became of a start: a leftover does, and what is of neither world shows it."""
        is_told = job["result"] == result and job["leftovers"]  # of what is best effort
        assert job["result"] == "FAILED" or is_told, f"{order}: {job['result']}"
        worlds = (self._before, self.flow.after(self._before, name))
        found = untold(worlds, self.flow.in_doubt(name), bool(job["leftovers"]), after)
        _none(found, f"{order}: {job['failure']}")

    def _accepted_once(self, job: dict[str, Any], order: str) -> None:
        """The host has accepted exactly the tasks of the rows, each once; one that was cancelled may be missing."""
        if self.site.stock:
            return  # it chooses the ids
        [flow] = [command["id"] for command in job["commands"] if command["parent_id"] is None]
        tasks = [task for task in job["tasks"] if task["method"] != "Host.getCapabilities"]
        known = {task["id"] for task in tasks}
        found = sorted(id for id, owner in accepted(agent_journal(self.site)) if owner == flow or id in known)
        stopped = {task["id"] for task in tasks if self.flow.is_cancelled and task["outcome"] == "STOPPED"}
        named = sorted(task["id"] for task in tasks if task["id"] in found or task["id"] not in stopped)
        shown = [(task["id"], task["method"], task["outcome"], task["message"]) for task in tasks]
        assert found == named, f"{order}: accepted {found}, named {named} of {shown}"


def agent_journal(site: Site) -> bytes:
    return (site.folder / "agent" / "journal").read_bytes()


def accepted(journal: bytes) -> Iterator[tuple[str, str | None]]:
    """The tasks that an agent has accepted, and their flows as far as its journal still has them: written anew, it has
    of those that were cleared no more than their ids."""
    header, *records = read(journal, b"").records
    for number, record in enumerate(records):
        entry, is_kept = record.entry, number < header.entry["entries"]
        if entry["kind"] == "task" and (is_kept or entry["task"]["state"] == "init"):
            yield entry["task"]["id"], entry["task"]["flow"]
        elif entry["kind"] == "cleared" and is_kept:
            yield from ((id, None) for id in entry["ids"])


def _none(found: list[str], words: str) -> None:
    assert not found, f"{words}: {'; '.join(found)}"


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """In what a world is other than the wanted one."""
    return [
        f"{key} is {found.get(key)}, not {wanted.get(key)}"
        for key in sorted(wanted.keys() | found.keys())
        if wanted.get(key) != found.get(key)
    ]


def untold(worlds: Sequence[Mapping[str, str]], doubtful: World, is_left: bool, found: Mapping[str, str]) -> list[str]:
    """What is in none of the worlds, and does not show that: ILLEGAL, or, where something is left, in doubt or being
    copied."""
    return [
        f"{key} is {found.get(key)}"
        for key in sorted({*found}.union(*worlds))
        if found.get(key) not in [world.get(key) for world in worlds]
        and "ILLEGAL" not in found.get(key, "")
        and not (is_left and (key.endswith(".part") or (key, found.get(key)) in doubtful.items()))
    ]
