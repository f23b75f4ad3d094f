"""What was under way when a database of version 1 was left: its commands, and a host that answers as told.

`tools/version_1_fixture.py` makes the database with it, the test takes the database over with it.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from interlock import Catalog, Command, Endpoint, Locks, Plan, Reader, Ref, part, sequence, shared
from interlock.coordinator import supervision
from interlock.hosts.backend import Answered, HostLink, HostRefused, Report, Started
from interlock.model.records import TaskRecord
from interlock.model.states import Outcome
from interlock.vdsm import Code
from interlock.virt.catalog import CATALOG as VIRT
from interlock.virt.commands.disk import AddDisk
from interlock.virt.entities import StorageDomain

FIXTURE = Path(__file__).parent / "fixtures" / "version_1.sql"
#: the identity of the host's journal, which must be the same ever after
INCARNATION = "0192f0c1-7a3e-7c41-9d5e-3f1b2a4c5d6e"

REPORTS = {
    "success": Report(Outcome.SUCCEEDED, "finished", "success", 0, "done", 100),
    "running": Report(None, "running", "", 0, "running job 1 of 1", 40),
    "failed": Report(Outcome.FAILED, "finished", "cleanSuccess", Code.NO_SPACE, "the disk is full", 40),
    "unknown": Report(Outcome.UNKNOWN, "finished", "cleanFailure", Code.OUTCOME_UNKNOWN, "nobody knows", 40),
}


class AddTwoDisks(Command[None], name="test.add_two_disks"):
    """Two disks, one after the other."""

    domain: Ref[StorageDomain]

    def locks(self, db: Reader) -> Locks:
        return shared(self.domain, db.get(self.domain).host)

    def execute(self, db: Reader) -> Plan:
        return sequence(*(part(AddDisk(name=name, domain=self.domain, size=1 << 20)) for name in ("first", "second")))


CATALOG = Catalog(*VIRT.commands.values(), *VIRT.entities.values(), AddTwoDisks)


class ScriptedHost:
    """A host with a journal whose tasks stand as `decide` says at their start; a `HostLink`."""

    incarnation = INCARNATION
    dedupes = True

    def __init__(self, decide: Callable[[TaskRecord], str]) -> None:
        self.decide = decide
        #: how each task stands, a key of REPORTS
        self.tasks: dict[str, str] = {}
        #: what was started, in order: verb and task
        self.started: list[tuple[str, str]] = []

    def known_as(self, task: TaskRecord) -> str:
        return str(task.id)

    async def start(self, task: TaskRecord, term: int) -> Started | Answered:
        id = str(task.id)
        self.started.append((task.method, id))
        if task.is_mutating:
            self.tasks[id] = self.decide(task)
        if task.is_async:
            return Started(id)
        return Answered(json.dumps({"interlock": {"incarnation": INCARNATION}}))

    async def reports(self) -> dict[str, Report]:
        return {id: REPORTS[stand] for id, stand in self.tasks.items()}

    async def report(self, host_task_id: str) -> Report | None:
        stand = self.tasks.get(host_task_id)
        return None if stand is None else REPORTS[stand]

    async def forbid_or_get(self, task: TaskRecord, term: int) -> Report | None:
        return await self.report(str(task.id))

    async def clear(self, task: TaskRecord, term: int) -> None:
        if self.tasks.pop(str(task.host_task_id), None) is None:
            raise HostRefused(Code.UNKNOWN_TASK, f"there is no task {task.host_task_id}", Outcome.FAILED)

    async def wait_closed(self) -> None:
        await asyncio.get_running_loop().create_future()  # it never is

    async def close(self) -> None:
        """Nothing is open."""


@contextmanager
def reached(host: ScriptedHost) -> Iterator[None]:
    """Meanwhile every host that a coordinator connects to is this one."""

    async def connect(_endpoint: Endpoint, _pushed: Callable[[], None]) -> HostLink:
        return host

    def connector(*_: Any, **__: Any) -> Any:
        return connect

    with mock.patch.object(supervision, "connector", connector):
        yield
