"""What the kill loops share: an operation run again and again, each time killed at another step, then judged."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import httpx

from interlock.testing.site import NotReady, Site, wait_for

#: one run of a flow per transaction, so that runs of the same flow commit the same steps
OPTIONS = ("--group-commit", "1", "--poll", "0.1")
#: host calls whose number depends on timing: how often a host is asked how it stands
READING = frozenset({"host:Host.getAllTasksStatuses", "host:Host.getCapabilities", "host:Task.getStatus"})


class Operation(Protocol):
    """What is done over and over, each time under another name."""

    def prepare(self, name: str) -> None:
        """Whatever the command needs; nobody is killed yet."""

    def submit(self, name: str) -> str:
        """The command itself; the job's id."""

    def job(self, name: str) -> str | None:
        """The id of the job, by the database; None where it was never accepted."""

    def nothing_happened(self, name: str) -> None:
        """Asserts that all is as it was before the command."""

    def judge(self, name: str, job: dict[str, Any], order: str) -> None:
        """Asserts that the job's end is true of the file system and of the rows."""


@contextmanager
def running(folder: Path, *, stock: bool = False, database: str | None = None) -> Iterator[Site]:
    """A running site with host h1 and storage domain sd1, whose coordinator can be killed at each step."""
    with Site(folder, stock=stock, forked=True, database=database) as site:
        start_server(site)
        site.start_agent()
        add_storage(site)
        yield site


def start_server(site: Site) -> None:
    """Starts a coordinator that can be killed at each step."""
    site.start_server(*OPTIONS, environment=site.failpoints())


def add_storage(site: Site) -> None:
    """Adds host h1 and storage domain sd1."""
    add_host(site, site, "sd1")


def add_host(site: Site, host: Site, domain: str) -> None:
    """Adds the host of a site, which may be another than the coordinator's, and a storage domain on it."""
    port = int((host.folder / "agent" / "port").read_text())
    site.do("host.add", name=host.host, address="127.0.0.1", port=port)
    site.do("storage.add", name=domain, host=host.host, path=str(host.storage))


def recorded(site: Site, operation: Operation, *, result: str = "SUCCEEDED") -> list[tuple[str, int]]:
    """Every (failpoint, n-th hit) of a run that nobody kills; of calls that only read, the first."""
    operation.prepare("recording")
    job = run(site, operation, "recording", "record:0:before")
    assert site.ended(job)["result"] == result
    settled(site)
    return [hit for hit in site.hits() if hit[0] not in READING or hit[1] == 1]


def kill_at_each(site: Site, operation: Operation, hits: Sequence[tuple[str, int]]) -> None:
    """Runs the operation once for each side of each hit, kills the coordinator there, starts it, judges."""
    kill_at(site, operation, both_sides(hits))


def both_sides(hits: Sequence[tuple[str, int]]) -> list[str]:
    """The orders to die just before and just after each hit."""
    return [f"{name}:{number}:{side}" for name, number in hits for side in ("before", "after")]


def kill_at(site: Site, operation: Operation, orders: Sequence[str], *, again: str | None = None) -> None:
    """Runs the operation once for each order, kills the coordinator there, starts it, judges.

    With `again` the next coordinator is killed too, at that order, and the one after it is judged.
    """
    killed = []
    for index, order in enumerate(orders):
        name = f"run{index}"
        operation.prepare(name)
        answered = run(site, operation, name, order)
        assert site.server_died_of_sigkill(), f"{order} was not reached"
        killed.append(order)
        if again is not None:
            _kill_again(site, again)
        site.disarm()
        site.start_server(*OPTIONS, environment=site.failpoints())
        judge(site, operation, name, answered, order)
    print(f"{'stock' if site.stock else 'extension'}: reached {len(killed)}, killed {len(killed)} of {len(orders)}")
    assert killed == orders


def kill_agent_at(site: Site, agent: Site, operation: Operation, orders: Sequence[str]) -> None:
    """Runs the operation once for each order, kills the agent of that site there, starts it, judges."""
    for order in orders:
        name = order.replace(":", "_")
        operation.prepare(name)
        agent.arm(order)
        job_id = operation.submit(name)
        wait_for(f"the agent dies at {order}", lambda: agent.agent is not None and agent.agent.poll() is not None)
        agent.disarm()
        agent.start_agent(agent.failpoints())
        judge(site, operation, name, job_id, order)
    print(f"agent {agent.host}: killed {len(orders)} of {len(orders)}")


def _kill_again(site: Site, order: str) -> None:
    """Starts a coordinator that dies at the order, maybe before it is ready."""
    site.arm(order)
    with suppress(NotReady):
        site.start_server(*OPTIONS, environment=site.failpoints())
    assert site.server_died_of_sigkill(), f"{order} was not reached by the second coordinator"


def run(site: Site, operation: Operation, name: str, order: str) -> str:
    """Submits it under the order; the job's id, "" where the coordinator died before it could answer."""
    site.arm(order)
    try:
        return operation.submit(name)
    except httpx.TransportError:
        return ""  # killed before it could answer


def judge(site: Site, operation: Operation, name: str, answered: str, order: str) -> None:
    """Asserts that what was accepted has ended truly, and that what was not has left nothing."""
    job_id = operation.job(name)
    if job_id is None:
        assert order.partition(" then ")[0] == "commit:1:before"
        assert answered == ""
        operation.nothing_happened(name)
        return
    job = site.ended(job_id)
    settled(site)
    operation.judge(name, job, order)
    nothing_open(site, order)


def settled(site: Site) -> None:
    """Everything has ended and the host has been made to forget it."""
    wait_for("all tasks are cleared", lambda: is_settled(site))


def is_settled(site: Site) -> bool:
    """Whether every job has ended and no host has anything of it any more."""
    tasks = site.rows("SELECT count(*) FROM async_tasks WHERE state NOT IN ('Cleared', 'ClearFailed')")
    return tasks == [(0,)] and site.rows("SELECT count(*) FROM job WHERE ended_at IS NULL") == [(0,)]


def nothing_open(site: Site, order: str) -> None:
    """No lock of a flow, no unfinished task, command, step or job; and verify agrees."""
    assert site.rows("SELECT count(*) FROM entity_locks WHERE leftover_id IS NULL") == [(0,)], order
    assert site.rows("SELECT count(*) FROM command_entities WHERE state <> 'ENDED'") == [(0,)], order
    assert site.rows("SELECT count(*) FROM step WHERE status IN ('PENDING', 'STARTED')") == [(0,)], order
    assert site.rows("SELECT count(*) FROM job WHERE ended_at IS NULL") == [(0,)], order
    assert site.violations() == [], order


def submitted(site: Site, command: str, **parameters: Any) -> str:
    """The job's id, also where the coordinator dies after its commit and before it can answer."""
    with suppress(httpx.TransportError):
        return site.submit(command, **parameters)
    [(id,)] = site.rows("SELECT id FROM job WHERE action = ? ORDER BY id DESC LIMIT 1", command)
    return str(as_id(id))


def job_titled(site: Site, action: str, title: str) -> str | None:
    """The id of the one job of that title, found without asking anybody."""
    rows = site.rows("SELECT id FROM job WHERE action = ? AND title = ?", action, title)
    if not rows:
        return None
    [(id,)] = rows
    return str(as_id(id))


def as_id(value: Any) -> UUID:
    """An id as either database has it."""
    return value if isinstance(value, UUID) else UUID(bytes=value)


def begun(site: Site, method: str, parameter: str, value: str) -> int:
    """How many tasks the agent's journal shows that were started with that verb and that parameter."""
    journal = site.agent_journal().decode(errors="replace")
    wanted = rf'"id":"([^"]+)","method":"{re.escape(method)}","params":{{[^}}]*"{parameter}":"{re.escape(value)}"'
    return len(set(re.findall(wanted, journal)))
