"""What the API needs of the coordinator and the catalog, and nothing more."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection

from interlock.command import Command
from interlock.coordinator.preview import Preview
from interlock.model.decisions import Decision


class Accepted(Protocol):
    """A submission's answer: the job, and whether its idempotency key had named it before."""

    @property
    def id(self) -> UUID: ...

    @property
    def repeated(self) -> bool: ...


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
    ) -> Accepted: ...

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

    async def clear_leftover(self, leftover_id: UUID, *, by: str, reason: str) -> None: ...

    def hosts(self) -> list[dict[str, Any]]: ...
