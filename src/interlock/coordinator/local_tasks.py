"""Local functions as async tasks: run in this process, after the commit that named them."""

import asyncio
import inspect
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from interlock.catalog import Catalog
from interlock.coordinator.host_watch import Tell
from interlock.core.facts import TaskEnded
from interlock.model.records import TaskRecord
from interlock.model.states import Outcome
from interlock.model.text import legible
from interlock.secrets import Keyring, load_sealed

#: how many run at once
RUNNING_MAX = 256

_log = structlog.get_logger(__name__)


@dataclass
class _Running:
    """A function that runs, or waits for its turn. A thread that has begun cannot be ended from outside."""

    running: asyncio.Task[None]
    in_thread: bool
    has_begun: bool = False
    is_stopping: bool = False
    #: fires where it has not ended although it was to stop
    grace: asyncio.TimerHandle | None = None


class LocalTasks:
    """Plain functions run in threads, coroutine functions in the loop. What is to stop and has not ended within
    `stop_s` is of unknown fate."""

    def __init__(self, catalog: Catalog, keyring: Keyring, tell: Tell, stop_s: float) -> None:
        self._keyring = keyring
        self._catalog = catalog
        self._tell = tell
        self._stop_s = stop_s
        self._slots = asyncio.Semaphore(RUNNING_MAX)
        self._running: dict[UUID, _Running] = {}
        self._stopped = False

    def take(self, task: TaskRecord, *, fresh: bool) -> None:
        """Runs a new task, or stops one that is to stop; one that a crash interrupted is run again where that is
        declared harmless."""
        if task.id in self._running:
            self._stop(task, self._running[task.id])
            return
        function = self._catalog.functions.get(task.method)
        if function is None and fresh:
            words = f"there is no local function {task.method!r}; register it in the catalog"
            self._tell(task.flow_id, TaskEnded(task.id, Outcome.REFUSED, message=words))
        elif function is None or (not fresh and not function.repeatable):
            words = f"{task.method} was interrupted by a crash and is not marked repeatable; it may have run"
            self._tell(task.flow_id, TaskEnded(task.id, Outcome.LOST, message=words))
        elif task.stopping is not None:
            self._tell(task.flow_id, TaskEnded(task.id, Outcome.STOPPED, message="it was stopped, and is not begun"))
        else:
            running = asyncio.get_running_loop().create_task(self._run(task))
            in_thread = not inspect.iscoroutinefunction(function.function)
            self._running[task.id] = _Running(running, in_thread)
            running.add_done_callback(lambda _: self._over(task))

    def leave(self, task_id: UUID) -> None:
        """What becomes of it is nobody's concern any more: it is not begun, nor goes on where that can be helped."""
        entry = self._running.get(task_id)
        if entry is not None and not entry.is_stopping:
            self._cancel(entry)

    def _cancel(self, entry: _Running) -> None:
        entry.is_stopping = True
        if not (entry.in_thread and entry.has_begun):
            entry.running.cancel()

    def _stop(self, task: TaskRecord, entry: _Running) -> None:
        if entry.is_stopping:
            return
        self._cancel(entry)
        entry.grace = asyncio.get_running_loop().call_later(self._stop_s, self._give_up, task)

    def _give_up(self, task: TaskRecord) -> None:
        words = f"it was to stop and has not ended within {self._stop_s:g} s; it may still run in this process"
        self._tell(task.flow_id, TaskEnded(task.id, Outcome.UNKNOWN, message=words))

    def _over(self, task: TaskRecord) -> None:
        entry = self._running.pop(task.id)
        if entry.grace is not None:
            entry.grace.cancel()
        if entry.running.cancelled() and not self._stopped:
            self._tell(task.flow_id, TaskEnded(task.id, Outcome.STOPPED, message="it was stopped before it began"))

    async def stop(self) -> None:
        """Cancels what runs; the next engine finds it interrupted."""
        self._stopped = True
        running = [entry.running for entry in self._running.values()]
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, task: TaskRecord) -> None:
        entry = self._running[task.id]
        async with self._slots:
            entry.has_begun = True
            fact = await self._call(task, entry)
        self._tell(task.flow_id, fact)

    async def _call(self, task: TaskRecord, entry: _Running) -> TaskEnded:
        function = self._catalog.functions[task.method].function
        try:
            arguments: dict[str, Any] = load_sealed(task.arguments_json, self._keyring)
            if inspect.iscoroutinefunction(function):
                answer = await function(**arguments)
            else:
                answer = await asyncio.to_thread(function, **arguments)
            answer_json = json.dumps(answer)
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if self._stopped and isinstance(error, asyncio.CancelledError):
                raise
            if entry.is_stopping and isinstance(error, asyncio.CancelledError):
                return TaskEnded(task.id, Outcome.STOPPED, message="its coroutine was cancelled")
            _log.info("local_function_raised", function=task.method, task=str(task.id), exc_info=error)
            return TaskEnded(task.id, Outcome.FAILED, message=legible(f"{type(error).__name__}: {error}"))
        return TaskEnded(task.id, Outcome.SUCCEEDED, answer_json=answer_json, message="returned")
