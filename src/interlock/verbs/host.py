"""Calls that ask about the host as a whole. None of them changes anything."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from interlock.verbs.fields import Id
from interlock.verbs.verb import Verb


class HostPing2(Verb):
    """Is the host there? Answers true, also while it recovers."""

    method: ClassVar[str] = "Host.ping2"


class HostGetCapabilities(Verb):
    """What the host can do; under `interlock` the extension's version and the journal's incarnation."""

    method: ClassVar[str] = "Host.getCapabilities"


class HostGetAllTasksStatuses(Verb):
    """The status of every task that was not cleared, by id: one cheap call per host."""

    method: ClassVar[str] = "Host.getAllTasksStatuses"


class HostGetAllTasks(Verb):
    """Verb and status of every task that was not cleared, by id."""

    method: ClassVar[str] = "Host.getAllTasks"


class HostGetAllTasksInfo(Verb):
    """`{id, verb}` of every task that was not cleared, by id."""

    method: ClassVar[str] = "Host.getAllTasksInfo"


class HostGetJobs(Verb):
    """The host jobs by id: `{id, status, description, job_type[, progress][, error]}`.

    Only those of `job_type` and among `job_ids`, where these are given.
    """

    method: ClassVar[str] = "Host.getJobs"
    job_type: str | None = None
    job_ids: Annotated[list[Id], Field(max_length=1000, default_factory=list)]


class HostGetStats(Verb):
    """How the host does: load, memory, tasks, and each storage domain's room."""

    method: ClassVar[str] = "Host.getStats"


class HostGetAllVmStats(Verb):
    """The statistics of all VMs of the host, a list."""

    method: ClassVar[str] = "Host.getAllVmStats"
