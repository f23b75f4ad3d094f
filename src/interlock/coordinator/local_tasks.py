"""Local functions as async tasks: run in this process, after the commit that named them."""

import asyncio
import inspect
import json
from typing import Any

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


class LocalTasks:
    """Plain functions run in threads, coroutine functions in the loop."""

    def __init__(self, catalog: Catalog, keyring: Keyring, tell: Tell) -> None:
        self._keyring = keyring
        self._catalog = catalog
        self._tell = tell
        self._slots = asyncio.Semaphore(RUNNING_MAX)
        self._running: set[asyncio.Task[None]] = set()
        self._stopped = False

    def take(self, task: TaskRecord, *, fresh: bool) -> None:
        """Runs a new task; one that a crash interrupted is run again where that is declared harmless."""
        function = self._catalog.functions.get(task.method)
        if function is None and fresh:
            words = f"there is no local function {task.method!r}; register it in the catalog"
            self._tell(task.flow_id, TaskEnded(task.id, Outcome.REFUSED, message=words))
        elif function is None or (not fresh and not function.repeatable):
            words = f"{task.method} was interrupted by a crash and is not marked repeatable; it may have run"
            self._tell(task.flow_id, TaskEnded(task.id, Outcome.LOST, message=words))
        else:
            running = asyncio.get_running_loop().create_task(self._run(task))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Cancels what runs; the next engine finds it interrupted."""
        self._stopped = True
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, task: TaskRecord) -> None:
        async with self._slots:
            fact = await self._call(task)
        self._tell(task.flow_id, fact)

    async def _call(self, task: TaskRecord) -> TaskEnded:
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
            _log.info("local_function_raised", function=task.method, task=str(task.id), exc_info=error)
            return TaskEnded(task.id, Outcome.FAILED, message=legible(f"{type(error).__name__}: {error}"))
        return TaskEnded(task.id, Outcome.SUCCEEDED, answer_json=answer_json, message="returned")
