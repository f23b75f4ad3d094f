"""Calls about one task of a host."""

from __future__ import annotations

from typing import ClassVar

from interlock.verbs.fields import Id, Term
from interlock.verbs.verb import Verb


class TaskGetStatus(Verb):
    """State, result and progress of a task (`TaskStatus`); UNKNOWN_TASK if the host has none of that id."""

    method: ClassVar[str] = "Task.getStatus"
    taskID: Id


class TaskGetInfo(Verb):
    """`{id, verb}` of a task."""

    method: ClassVar[str] = "Task.getInfo"
    taskID: Id


class TaskStop(Verb):
    """Ask a task to stop and to undo what it did. True for a task that is done already.

    With `force` (extension only) a task that is undoing gives that up, and ends `cleanFailure`.
    """

    method: ClassVar[str] = "Task.stop"
    is_mutating: ClassVar[bool] = True
    taskID: Id
    force: bool | None = None


class TaskRevert(Verb):
    """Undo a task that succeeded. NOT_FINISHED while it runs, TRANSITION if it failed."""

    method: ClassVar[str] = "Task.revert"
    is_mutating: ClassVar[bool] = True
    taskID: Id


class TaskClear(Verb):
    """Forget a task that is done (NOT_DONE otherwise). Its id is never run again."""

    method: ClassVar[str] = "Task.clear"
    is_mutating: ClassVar[bool] = True
    taskID: Id


class TaskForbidOrGet(Verb):
    """The task's status, or UNKNOWN_TASK after the id was durably closed to terms older than `term`.

    With `forGood` it is closed to every term, and UNKNOWN_TASK means that it never ran and never will; an id that may
    have run and been cleared is refused then (TASK_CLEARED, TASK_ID_TOO_OLD). Extension only.
    """

    method: ClassVar[str] = "Task.forbidOrGet"
    is_mutating: ClassVar[bool] = True
    taskID: Id
    flow: Id
    term: Term
    forGood: bool | None = None
