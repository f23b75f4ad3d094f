"""What hosts are asked, checked as it arrives: all of it was committed, and comes from nobody of the past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.model.records import TaskRecord
from interlock.sim.mirror import Mirror
from interlock.verbs import (
    CORRELATION_HEADER,
    FLOW_HEADER,
    TASK_ID_PARAM,
    TERM_HEADER,
    VERBS,
    TaskClear,
    TaskForbidOrGet,
)
from interlock.wire.server import Call

#: what changes a task that a host has
_ABOUT_A_TASK = frozenset({"Task.stop", "Task.clear", TaskForbidOrGet.method})
#: what is asked of a task that a host has begun
_LATER = frozenset({"Task.stop", TaskClear.method})


@dataclass(frozen=True, slots=True)
class Before:
    """The highest term that a host has accepted of a call's flow, and whether it was told to forget what is started."""

    highest: int
    was_forgotten: bool


class CallWatch:
    """Sees each call that a host takes; `problem` is told what is wrong with it."""

    def __init__(self, mirror: Mirror, checked: Counter[int], problem: Callable[[str], None]) -> None:
        self._mirror = mirror
        self._checked = checked
        self._problem = problem
        #: the highest term that each host has accepted of each flow
        self._terms: dict[tuple[str, str], int] = {}
        #: the tasks that each host was told to forget
        self._forgotten: set[tuple[str, str]] = set()
        #: the highest term with which each task was to be started, and was asked for
        self._started: dict[UUID, int] = {}
        self._asked: dict[UUID, int] = {}

    def arrived(self, host: str, call: Call, journal: str) -> None:
        """The coordinator's call has arrived at an agent of that journal."""
        for problem in (
            *self._unplanned(host, call, journal),
            *self._of_another(host, call),
            *self._unasked(host, call),
        ):
            self._problem(f"invariant {problem}")

    def before(self, host: str, call: Call) -> Before:
        """What the host has done for others before it takes a call."""
        highest = self._terms.get((host, call.headers.get(FLOW_HEADER, "")), 0)
        return Before(highest, (host, call.params.get(TASK_ID_PARAM, "")) in self._forgotten)

    def accepted(self, host: str, call: Call, before: Before) -> None:
        """A call was carried out; `before` is how it was when it arrived."""
        flow, term = call.headers.get(FLOW_HEADER), call.headers.get(TERM_HEADER)
        if flow is None or term is None or not changes_something(call.method):
            return
        self._checked[9] += 1
        if int(term) < before.highest:
            self._problem(f"invariant 9: {host} took {call.method} of term {term} after {before.highest}: flow {flow}")
        if call.method == TaskClear.method:
            self._forgotten.add((host, call.params["taskID"]))
        elif before.was_forgotten:
            id = call.params[TASK_ID_PARAM]
            self._problem(f"invariant 8: {host} took task {id} again, which it had been told to forget")
        self._terms[host, flow] = max(self._terms.get((host, flow), 0), int(term))

    def _unplanned(self, host: str, call: Call, journal: str) -> Iterator[str]:
        """7. What changes something is named in a committed row, bound to a journal, before it is sent."""
        task = self._task(call)
        if changes_something(call.method):
            self._checked[7] += 1
            if task is None:
                yield f"7: {host} is asked for {call.method} of a task that was never committed: {call.params}"
            elif task.incarnation is None:
                yield f"7: {host} is asked for {call.method} of task {task.id}, which is bound to no journal"
            elif call.method not in _LATER and task.incarnation != journal:
                yield f"7: {host} is asked for {call.method} of task {task.id}, which is bound to another journal"
            elif call.method == TaskClear.method and task.outcome is None:
                yield f"7: {host} is to forget task {task.id}, of which no end is committed"

    def _unasked(self, host: str, call: Call) -> Iterator[str]:
        """9. A later owner does not start what a former one may have started, without asking first."""
        task, term = self._task(call), int(call.headers.get(TERM_HEADER, 0))
        if task is None or not term:
            return
        if call.method == TaskForbidOrGet.method:
            self._asked[task.id] = max(self._asked.get(task.id, 0), term)
        elif starts_something(call.method):
            former = self._started.get(task.id, term)
            if former < term and self._asked.get(task.id, 0) < term:
                yield f"9: {host} is to start task {task.id} with term {term}, as with {former}, and was not asked"
            self._started[task.id] = max(former, term)

    def _of_another(self, host: str, call: Call) -> Iterator[str]:
        """22. A call bears the correlation id of its flow."""
        task = self._task(call)
        if task is not None and CORRELATION_HEADER in call.headers:
            self._checked[22] += 1
            found = call.headers[CORRELATION_HEADER]
            if found != task.correlation_id:
                yield f"22: {call.method} of task {task.id} bears correlation id {found!r}, not {task.correlation_id!r}"

    def _task(self, call: Call) -> TaskRecord | None:
        id: Any = call.params.get(TASK_ID_PARAM) or call.params.get("job_id") or call.params.get("taskID")
        return None if id is None else self._mirror.task(UUID(id))


def changes_something(method: str) -> bool:
    """Whether something is another way on a host after such a call."""
    verb = VERBS.get(method)
    return method in _ABOUT_A_TASK or (verb is not None and verb.is_mutating)


def starts_something(method: str) -> bool:
    """Whether such a call begins a task by which something changes."""
    return method not in _ABOUT_A_TASK and changes_something(method)
