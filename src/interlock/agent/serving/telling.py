"""What a person is told of tasks: short for a list, or everything, with what it runs and what it may have to undo."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from interlock.agent.records import HostTask
from interlock.agent.tasks.children import Child, Children
from interlock.agent.tasks.table import TaskTable

_NAMED_MAX = 5


class NotOne(Exception):
    """The beginning of an id is that of no task, or of several."""


def told_of_all(table: TaskTable, limit: int) -> dict[str, Any]:  # Any: JSON values
    """At most `limit` tasks, unfinished ones first and then the newest; how many there are; a damage of the journal."""
    tasks = sorted(_shown(table), key=lambda task: task.id, reverse=True)
    tasks.sort(key=lambda task: task.state.is_done)
    unfinished = sum(not task.state.is_done for task in tasks)
    listed = [_short(task, table.progress(task.id)) for task in tasks[:limit]]
    damage = asdict(table.damage) if table.damage is not None else None
    return {"tasks": listed, "total": len(tasks), "unfinished": unfinished, "journal_damage": damage}


def find(table: TaskTable, beginning: str) -> HostTask:
    """The one task whose id begins like this. Raises `NotOne`."""
    found = sorted(task.id for task in _shown(table) if task.id.startswith(beginning))
    if not found:
        raise NotOne(f"task {beginning} is not known here; `interlock agent tasks` lists those that are")
    if len(found) > 1:
        named = ", ".join(found[:_NAMED_MAX]) + (", …" if len(found) > _NAMED_MAX else "")
        raise NotOne(f"{beginning} is the beginning of {len(found)} tasks: {named}; give more of it")
    return table[found[0]]


def told_of(task: HostTask, progress: int | None, children: list[dict[str, Any]]) -> dict[str, Any]:  # Any: JSON values
    """Everything about a task."""
    return {
        **_short(task, progress),
        "message": task.message,
        "inner_state": task.state.value,
        "term": task.term,
        "correlation_id": task.correlation_id,
        "is_host_job": task.is_host_job,
        "is_stopping": task.is_stopping,
        "is_giving_up": task.is_giving_up,
        "steps_done": task.steps_done,
        "to_undo": [*reversed(task.recoveries)],
        "params": task.params,
        "children": children,
    }


def told_of_children(children: Children, task_id: str) -> list[dict[str, Any]]:  # Any: JSON values
    """The processes of a task; none once their folders are gone. Reads files, and judges none of them."""
    try:
        return [_child(child) for child in children.of(task_id)]
    except FileNotFoundError:  # the task ends at this very moment
        return []


def _child(child: Child) -> dict[str, Any]:  # Any: JSON values
    who = child.identity()
    return {
        "name": child.folder.name,
        "pid": who.pid if who is not None else None,
        "is_running": child.is_running(),
        "command": json.loads((child.folder / "command").read_text()),
    }


def _short(task: HostTask, progress: int | None) -> dict[str, Any]:  # Any: JSON values
    status = task.status(progress=progress, incarnation=None)
    return {
        "id": task.id,
        "verb": task.method,
        "state": status.taskState.value,
        "result": status.taskResult.value,
        "code": task.code,
        "progress": progress,
        "flow": task.flow,
        "created_at": _created_at(task.id),
    }


def _created_at(task_id: str) -> str | None:
    """When a time-ordered id was made, by the clock of who made it; None if the id does not tell."""
    parsed = UUID(task_id)
    if parsed.version != 7:
        return None
    try:
        return datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError):  # beyond the year 9999
        return None


def _shown(table: TaskTable) -> Iterable[HostTask]:
    return (task for task in table.ledger.tasks.values() if table.is_shown(task))
