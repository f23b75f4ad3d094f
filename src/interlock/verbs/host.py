"""Calls that ask about the host as a whole. None of them changes anything."""

from __future__ import annotations

from typing import ClassVar

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
