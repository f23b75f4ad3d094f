"""Host jobs as `Host.getJobs` tells of them: tasks in other words."""

from __future__ import annotations

from typing import Any

from interlock import verbs
from interlock.agent.records import HostTask
from interlock.agent.task_machine import Inner
from interlock.verbs import Code, HostJobVerb

JOB_TYPE = "storage"

_WAITING = frozenset({Inner.INIT, Inner.PREPARING, Inner.ACQUIRING, Inner.QUEUED})


def host_job(task: HostTask, progress: int | None) -> dict[str, Any]:  # Any: JSON values
    """What is told of a host job."""
    kind = verbs.VERBS[task.method]
    assert issubclass(kind, HostJobVerb)
    told: dict[str, Any] = {
        "id": task.id,
        "status": _status(task),
        "description": kind.description,
        "job_type": JOB_TYPE,
    }
    if progress is not None:
        told["progress"] = progress
    if task.failure is not None:
        told["error"] = {"code": task.failure.code, "message": task.failure.error}
    return told


def _status(task: HostTask) -> str:
    if task.state in _WAITING:
        return "pending"
    if task.state is Inner.FINISHED:
        return "done"
    if not task.state.is_done:
        return "running"
    return "aborted" if task.code == Code.ABORTED else "failed"
