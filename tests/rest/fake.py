"""A coordinator's outside over a database of hand-made rows: what the API is tested against."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from interlock.catalog import Catalog
from interlock.command import Command
from interlock.coordinator.janitor import Round
from interlock.coordinator.preview import Begins, Preview, PreviewCommand, PreviewLock, PreviewTask
from interlock.model.changes import Change
from interlock.model.decisions import Decision
from interlock.model.entities import Entity
from interlock.model.errors import Missing
from interlock.model.locks import LockMode
from interlock.model.plan import Retry
from interlock.model.records import Role
from interlock.model.refs import Ref
from interlock.model.retention import Kept
from interlock.store.database import Database
from tests.views import picture


class Vm(Entity, type="vm"):
    """A machine."""


class Host(Entity, type="host"):
    """A host, of which there is none."""


class Kind(StrEnum):
    """How a VM is removed."""

    SOFT = "soft"
    HARD = "hard"


class RemoveVm(Command[None], name="vm.remove", version=2, upgrades={1: dict}):
    """Remove a stopped VM.

    Its disks go with it."""

    vm: Ref[Vm]
    keep_disks: bool = False
    kind: Kind = Kind.SOFT


class StartVm(Command[None], name="vm.start"):
    vm: Ref[Vm]


CATALOG = Catalog(RemoveVm, StartVm, Vm, Host)


@dataclass(frozen=True)
class Job:
    """What a submission answers."""

    id: UUID
    repeated: bool = False


_PART = PreviewCommand(
    name="disk.remove", title="Remove disk d1", key="disk.remove#0", role=Role.FORWARD, step="DISK",
    begins=Begins.AT_ONCE, result=None, failure=None, after=(), choice=None, pool=1, at_most=2, stop_on_failure=True,
    retry=Retry(3), no_return=True, best_effort=True, locks=(),
    parts=(PreviewTask("Image.delete", Ref("host", UUID(int=3)), "h1", "DELETE_IMAGE", False, 90.0),), timeout_s=3600.0,
)  # fmt: skip
_LATER = replace(
    _PART, key="disk.remove#1", begins=Begins.LATER, after=("disk.remove#0",), choice=1, pool=None, retry=None, parts=()
)
#: of a VM with two disks
PREVIEW = Preview(
    replace(
        _PART, name="vm.remove", title="Remove VM web1", key="vm.remove", step=None, pool=None, at_most=None,
        stop_on_failure=False, retry=None, no_return=False, best_effort=False, parts=(_PART, _LATER), timeout_s=None,
        locks=(PreviewLock(Ref("vm", UUID(int=1)), "web1", LockMode.EXCLUSIVE, True),
               PreviewLock(Ref("disk", UUID(int=2)), None, LockMode.SHARED, False)),
    ), (), (),
)  # fmt: skip


#: what a job asks
QUESTION = {
    "task_id": str(UUID(int=8)),
    "question": "Go on?",
    "permission": "go",
    "refs": [],
    "schema": {"properties": {"approve": {"type": "boolean"}, "reason": {"type": "string"}}, "required": ["approve"]},
}


@dataclass
class FakeCoordinator:
    """Records what it is asked; answers `reply`, or raises it."""

    database: Database
    reply: Job | Exception = Job(picture.RUNNING_JOB)
    asked: list[dict[str, Any]] = field(default_factory=list)
    broken: bool = False
    preview: Preview = PREVIEW

    def __post_init__(self) -> None:
        self.news = asyncio.Event()
        self.waited = asyncio.Event()
        self.waits: list[tuple[UUID, int]] = []

    async def submit_input(self, name: str, parameters: Mapping[str, Any], **options: Any) -> Job:
        self.asked.append({"name": name, "parameters": dict(parameters), **options})
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def plan_input(self, name: str, parameters: Mapping[str, Any], **options: Any) -> Preview:
        self.asked.append({"name": name, "parameters": dict(parameters), **options})
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.preview

    async def submit_all_input(
        self, wanted: Sequence[tuple[str, Mapping[str, Any], int | None]], **options: Any
    ) -> list[Job]:
        self.asked.append({"wanted": list(wanted), **options})
        if isinstance(self.reply, Exception):
            raise self.reply
        return [self.reply for _ in wanted]

    def named(self, text: str) -> Ref[Any]:
        kind, _, _ = text.partition(":")
        return Ref(kind, UUID(int=7))

    def subject(self, text: str) -> Ref[Any]:
        kind, _, id = text.partition(":")
        return Ref(kind, UUID(id))

    async def signal(self, kind: str, **options: Any) -> UUID:
        self.asked.append({"kind": kind, **options})
        return UUID(int=9)

    async def report(self, monitor: str, subject: Ref[Any], told: Any, *, by: str = "") -> None:
        self.asked.append({"monitor": monitor, "subject": subject, "told": told, "by": by})

    async def answer(self, job_id: UUID, form: Any, **options: Any) -> None:
        self.asked.append({"job_id": job_id, "form": form, **options})
        if isinstance(self.reply, Exception):
            raise self.reply

    async def questions(self, job_id: UUID) -> list[dict[str, Any]]:
        return [QUESTION]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self.broken:
            raise RuntimeError("secret detail")
        with self.database.reader() as connection:
            yield connection

    async def set_limit(self, key: str, **options: Any) -> str:
        self.asked.append({"limit": key, **options})
        return key

    async def remove_limit(self, key: str, **options: Any) -> None:
        self.asked.append({"no limit": key, **options})

    async def changed(self, job_id: UUID, after_seq: int, timeout_s: float) -> None:
        self.waits.append((job_id, after_seq))
        self.waited.set()
        try:
            await asyncio.wait_for(self.news.wait(), timeout_s)
        except TimeoutError:
            return

    async def settle(self, job_id: UUID, decision: Decision, **options: Any) -> None:
        self.asked.append({"job_id": job_id, "decision": decision, **options})
        if isinstance(self.reply, Exception):
            raise self.reply

    async def cancel(self, job_id: UUID, **options: Any) -> None:
        self._wish("cancel", job_id, options)

    async def stop_tasks(self, job_id: UUID, **options: Any) -> None:
        self._wish("stop_tasks", job_id, options)

    async def pause(self, job_id: UUID, **options: Any) -> None:
        self._wish("pause", job_id, options)

    async def resume(self, job_id: UUID, **options: Any) -> None:
        self._wish("resume", job_id, options)

    async def set_priority(self, job_id: UUID, priority: int, **options: Any) -> None:
        self._wish("set_priority", job_id, {"priority": priority, **options})

    async def set_visible(self, job_id: UUID, **options: Any) -> None:
        self._wish("set_visible", job_id, options)

    async def restart(self, job_id: UUID, **options: Any) -> Job:
        self._wish("restart", job_id, options)
        assert isinstance(self.reply, Job)
        return self.reply

    def _wish(self, what: str, job_id: UUID, options: dict[str, Any]) -> None:
        self.asked.append({"what": what, "job_id": job_id, **options})
        if isinstance(self.reply, Exception):
            raise self.reply

    async def clear_leftover(self, leftover_id: UUID, *, by: str, reason: str) -> None:
        if leftover_id != picture.LEFTOVER:
            raise Missing(f"there is no leftover {leftover_id}")
        cleared = replace(picture.leftover, cleared_at=picture.START, cleared_by=by, cleared_reason=reason)
        picture.change(self.database, Change(picture.leftover, cleared))

    async def schedule_input(
        self, name: str, command: str, parameters: Mapping[str, Any], *, version: int | None = None, **options: Any
    ) -> UUID:
        self.asked.append({"name": name, "command": command, "parameters": dict(parameters), "version": version}
                          | options)  # fmt: skip
        if isinstance(self.reply, Exception):
            raise self.reply
        return picture.SCHEDULE

    async def change_schedule(self, which: str, **changes: Any) -> None:
        self.asked.append({"change": which, **changes})

    async def pause_schedule(self, which: str, *, by: str, reason: str = "") -> None:
        self.asked.append({"pause": which, "by": by, "reason": reason})

    async def resume_schedule(self, which: str, *, by: str, reason: str = "") -> None:
        self.asked.append({"resume": which, "by": by, "reason": reason})

    async def remove_schedule(self, which: str, *, by: str, reason: str = "") -> None:
        self.asked.append({"remove": which, "by": by, "reason": reason})

    def retention(self) -> dict[str, Any]:
        return {"succeeded_days": 7.0, "failed_days": 30.0, "by_command_days": {"host.scan": 0.5}, "archive": None}

    def would_go(self) -> Round:
        return Round(3, 1, Counter({Kept.YOUNG: 2}))

    async def clean(self, *, by: str = "", limit_s: float = 0.0) -> Round:
        self.asked.append({"clean": by})
        return Round(3, has_more=len(self.asked) == 1)

    async def host_tasks(self) -> list[dict[str, Any]]:
        return []

    def hosts(self) -> list[dict[str, Any]]:
        known: dict[str, Any] = {"address": "h1:54321", "connected": True, "incarnation": UUID(int=7), "running": 1}
        return [{**known, "host": str(picture.HOST), "last_error": None}]
