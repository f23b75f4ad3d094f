"""What the API needs of the coordinator and the catalog, and nothing more."""

from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection

from interlock.command import Command
from interlock.coordinator.preview import Preview
from interlock.model.calls import AfterPolicy, CallOrder
from interlock.model.decisions import Decision
from interlock.model.refs import Ref
from interlock.model.schedules import Missed


class Accepted(Protocol):
    """A submission's answer: the job, and whether its idempotency key had named it before."""

    @property
    def id(self) -> UUID: ...

    @property
    def repeated(self) -> bool: ...


class Cleaned(Protocol):
    """What retention removes, and what it keeps."""

    def to_json(self) -> dict[str, Any]: ...


class Commands(Protocol):
    """The catalog, as far as the API shows it."""

    @property
    def commands(self) -> Mapping[str, type[Command[Any]]]: ...

    @property
    def entities(self) -> Mapping[str, type[Any]]: ...

    def schema(self, name: str) -> dict[str, Any]: ...


class Coordinating(Protocol):
    """The coordinator, as far as the API uses it. `reading` is called from worker threads, the rest from
    the event loop."""

    async def submit_input(
        self,
        name: str,
        parameters: Mapping[str, Any],
        *,
        version: int | None = None,
        correlation_id: str | None = None,
        idempotency_key: str | None = None,
        user: str = "",
        priority: int = 0,
        timeout_s: float | None = None,
        ask: bool = False,
        wait_for_locks: bool = False,
        after: Sequence[UUID] = (),
        after_policy: AfterPolicy = AfterPolicy.SUCCEEDED,
    ) -> Accepted: ...

    async def submit_all_input(
        self,
        wanted: Sequence[tuple[str, Mapping[str, Any], int | None]],
        *,
        order: CallOrder = CallOrder.PARALLEL,
        correlation_id: str | None = None,
        idempotency_key: str | None = None,
        user: str = "",
        priority: int = 0,
    ) -> Sequence[Accepted]: ...

    def named(self, text: str) -> Ref[Any]: ...

    def subject(self, text: str) -> Ref[Any]: ...

    async def signal(
        self,
        kind: str,
        *,
        about: Ref[Any] | None = None,
        job_id: UUID | None = None,
        data: Any = None,
        by: str = "",
        signal_id: UUID | None = None,
    ) -> UUID: ...

    async def report(self, monitor: str, subject: Ref[Any], told: Any, *, by: str = "") -> None: ...

    async def answer(
        self, job_id: UUID, form: Any, *, by: str, holds: Container[str], task_id: UUID | None = None
    ) -> None: ...

    async def questions(self, job_id: UUID) -> list[dict[str, Any]]: ...

    async def plan_input(self, name: str, parameters: Mapping[str, Any], *, version: int | None = None) -> Preview: ...

    def reading(self) -> AbstractContextManager[Connection]: ...

    async def changed(self, job_id: UUID, after_seq: int, timeout_s: float) -> None: ...

    async def settle(
        self,
        job_id: UUID,
        decision: Decision,
        *,
        by: str,
        reason: str,
        command_id: UUID | None = None,
        leave_tasks: bool = False,
    ) -> None: ...

    async def cancel(
        self, job_id: UUID, *, by: str, reason: str = "", target: UUID | None = None, force: bool = False
    ) -> None: ...

    async def stop_tasks(self, job_id: UUID, *, by: str, reason: str = "", target: UUID | None = None) -> None: ...

    async def pause(self, job_id: UUID, *, by: str, reason: str = "") -> None: ...

    async def resume(self, job_id: UUID, *, by: str, reason: str = "") -> None: ...

    async def set_priority(self, job_id: UUID, priority: int, *, by: str, reason: str = "") -> None: ...

    async def set_visible(self, job_id: UUID, *, visible: bool, by: str, reason: str = "") -> None: ...

    async def restart(
        self, job_id: UUID, *, by: str, reason: str = "", idempotency_key: str | None = None
    ) -> Accepted: ...
    async def set_limit(
        self,
        key: str,
        *,
        at_most: int | None = None,
        starts_max: int | None = None,
        window_s: float | None = None,
        by: str,
        reason: str = "",
    ) -> str: ...

    async def remove_limit(self, key: str, *, by: str, reason: str = "") -> None: ...

    async def clear_leftover(self, leftover_id: UUID, *, by: str, reason: str) -> None: ...

    async def schedule_input(
        self, name: str, command: str, parameters: Mapping[str, Any], *, version: int | None = None, **options: Any
    ) -> UUID: ...

    async def change_schedule(
        self,
        which: str,
        *,
        by: str,
        reason: str = "",
        cron: str | None = None,
        at: str | None = None,
        zone: str | None = None,
        missed: Missed | None = None,
        late_s_max: int | None = None,
        priority: int | None = None,
    ) -> None: ...

    async def pause_schedule(self, which: str, *, by: str, reason: str = "") -> None: ...

    async def resume_schedule(self, which: str, *, by: str, reason: str = "") -> None: ...

    async def remove_schedule(self, which: str, *, by: str, reason: str = "") -> None: ...

    def retention(self) -> dict[str, Any]: ...

    def would_go(self) -> Cleaned: ...

    async def clean(self, *, by: str = "", limit_s: float = ...) -> Cleaned: ...

    def hosts(self) -> list[dict[str, Any]]: ...

    async def host_tasks(self) -> list[dict[str, Any]]: ...
