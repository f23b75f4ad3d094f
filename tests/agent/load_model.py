"""What the caller of a task may believe of it, whatever answers were lost; anything else is a broken promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from interlock.verbs import Code

Status = Mapping[str, Any]  # Any: JSON values


class Fate(Enum):
    """Whether the host has the task."""

    #: Never sent, or refused.
    NOT_STARTED = "not started"
    #: Sent; the answer was lost.
    UNKNOWN = "unknown"
    #: The host has said so.
    ACCEPTED = "accepted"


@dataclass
class Wish:
    """One task that a caller wants, under an id of its own."""

    id: str
    method: str
    params: Mapping[str, Any]  # Any: JSON values
    #: The folder of the image that it makes or removes.
    image: Path
    fate: Fate = Fate.NOT_STARTED
    is_stop_sent: bool = False
    is_clear_sent: bool = False
    is_cleared: bool = False
    #: The agent was killed while it may have been under way.
    saw_a_kill: bool = False
    progress: int = 0
    final: Status | None = None
    #: What identifies the file that it made.
    inode: int | None = None
    #: How often something was asked about it.
    looks: int = 0

    @property
    def is_open(self) -> bool:
        """Whether its end is still to be learned."""
        return self.final is None and not self.is_cleared

    @property
    def has_succeeded(self) -> bool:
        """Whether it is known to have succeeded."""
        return self.final is not None and self.final["taskResult"] == "success"

    def accepted(self) -> None:
        """The host has answered the start."""
        assert not self.is_cleared, f"{self.id} was cleared, and was started again"
        self.fate = Fate.ACCEPTED

    def refused(self, code: int) -> None:
        """The host has refused the start."""
        if code == Code.TASK_CLEARED:
            self.unknown(code)
            return
        assert code == Code.RESOURCE_EXHAUSTED, f"{self.id} was refused with {code}"
        assert self.fate is not Fate.ACCEPTED, f"{self.id} was accepted, and is not known any more"
        self.fate = Fate.NOT_STARTED

    def unknown(self, code: int) -> None:
        """The host says that it has no such task."""
        assert code in (Code.UNKNOWN_TASK, Code.TASK_CLEARED), f"{self.id}: {code}"
        if self.is_clear_sent:
            self.is_cleared = True
        else:
            assert self.fate is not Fate.ACCEPTED, f"{self.id} was lost"
            assert code == Code.UNKNOWN_TASK, f"{self.id} was cleared by nobody"
            self.fate = Fate.NOT_STARTED

    def seen(self, status: Status) -> None:
        """The host has told how it stands."""
        self.looks += 1
        assert not self.is_cleared, f"{self.id} was cleared, and is there again: {status}"
        self.fate = Fate.ACCEPTED
        if self.final is not None:
            assert status == self.final, f"{self.id} ended twice: {self.final} and {status}"
            return
        if status["taskState"] == "finished":
            self._ended(status)
        elif not self.saw_a_kill:
            progress = status.get("progress") or 0
            assert progress >= self.progress, f"{self.id}: the progress went back to {progress}: {status}"
            self.progress = progress

    def _ended(self, status: Status) -> None:
        match status["taskResult"], status["code"]:
            case "success", _:
                pass
            case "cleanSuccess", Code.ABORTED:
                assert self.is_stop_sent, f"{self.id} was stopped by nobody: {status}"
            case "cleanSuccess", Code.INTERRUPTED:
                assert self.saw_a_kill, f"{self.id} was interrupted by nothing: {status}"
            case _:
                raise AssertionError(f"{self.id} ({self.method}) ended otherwise than it can: {status}")
        self.final = status


@dataclass
class Image:
    """One image of a caller's: the task that makes it, and those that may remove it."""

    made_by: Wish
    removed_by: list[Wish] = field(default_factory=list)

    @property
    def is_there(self) -> bool:
        """Whether it has been made and not been removed; only for what has ended."""
        return self.made_by.has_succeeded and not any(wish.has_succeeded for wish in self.removed_by)

    @property
    def may_be_removed(self) -> bool:
        """Whether it is there for certain, and nothing is under way."""
        return self.is_there and not any(wish.is_open for wish in self.removed_by)
