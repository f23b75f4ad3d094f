"""Asking the agent of this host, as a person does: one question, or a change and waiting for its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any

from interlock.agent.serving.door import LIMITS, GetTask, socket_path
from interlock.verbs import Code, TaskState, TaskStatus
from interlock.wire.client import Client, ConnectFailed, ConnectReason, NotSent, Unanswered
from interlock.wire.jsonrpc import BUSY, RpcError

#: How long a connection, and then an answer, may take.
CONNECT_S_MAX = 5.0
ANSWER_S_MAX = 30.0
#: How often a task is looked at while nothing is heard of it.
LOOK_EVERY_S = 0.5
#: How long an agent may be away, as for a restart, before waiting for a task ends; and how often it is tried again.
AWAY_S_MAX = 60.0
RETRY_S = 0.2

Json = Mapping[str, Any]  # a JSON object
_TOPIC = "|storage|task_status|"
#: Codes that another time may not have.
_NOT_NOW = frozenset({Code.RECOVERY_IN_PROGRESS, BUSY})


class Why(Enum):
    """Why there is no answer."""

    #: No agent listens: nothing was asked.
    ABSENT = auto()
    #: This user may not ask.
    DENIED = auto()
    #: The agent refused: nothing was changed.
    REFUSED = auto()
    #: The agent was not ready: nothing was changed.
    BUSY = auto()
    #: The answer was lost: it may have been done.
    UNKNOWN = auto()
    #: The task was forgotten before its end was seen.
    GONE = auto()


class NoAnswer(Exception):
    """The question has no answer; the message says what is the matter and what to do."""

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why


async def ask(state_dir: Path, method: str, params: Json) -> Any:  # Any: a JSON value
    """What the agent of a state folder answers. Raises `NoAnswer`."""
    async with _connected(state_dir, lambda *_: None) as client:
        return await _call(client, method, params)


async def change(
    state_dir: Path,
    method: str,
    params: Json,
    tell: Callable[[Json], None],
    *,
    timeout_s: float | None = None,
    away_s_max: float = AWAY_S_MAX,
) -> Json:
    """Asks for a change of the task that `params` names, again if the answer is lost, and waits for the task's end.

    `tell` gets the task whenever it looks different; the caller gets it at its end. The agent may be restarted
    meanwhile. Raises `NoAnswer`, and TimeoutError; then, and when cancelled, the change goes on.
    """
    waiting = _Waiting(method, params, tell, timeout_s)
    while True:
        try:
            async with _connected(state_dir, waiting.hear) as client:
                return await waiting.run(client)
        except NoAnswer as error:
            if not waiting.may_hope(error, away_s_max):
                raise
            waiting.check_time()
        await asyncio.sleep(RETRY_S)


class _Waiting:
    """A change that is asked for until it was answered, and then its task, looked at until it is over."""

    def __init__(self, method: str, params: Json, tell: Callable[[Json], None], timeout_s: float | None) -> None:
        self._method = method
        self._params = params
        self._tell = tell
        self._timeout_s = timeout_s
        self._began_s = _now_s()
        #: When the agent gave its latest sign of life.
        self._alive_s: float | None = None
        self._may_be_done = False
        self._is_answered = False
        self._told: tuple[object, ...] = ()
        self._heard: TaskStatus | None = None
        self._news = asyncio.Event()

    def hear(self, event: str, params: Json) -> None:
        """Takes in what the agent tells by itself."""
        if event == _TOPIC + self._params["taskID"]:
            self._heard = TaskStatus.model_validate(params)
            self._news.set()

    def may_hope(self, error: NoAnswer, away_s_max: float) -> bool:
        """Whether the agent, which was there once, may soon be there again."""
        is_passing = error.why in (Why.ABSENT, Why.BUSY, Why.UNKNOWN)
        return is_passing and self._alive_s is not None and _now_s() - self._alive_s <= away_s_max

    def check_time(self) -> None:
        """Raises TimeoutError once the change was begun and there is no time left to wait for its end."""
        if self._is_answered and self._timeout_s is not None and _now_s() - self._began_s >= self._timeout_s:
            raise TimeoutError

    async def run(self, client: Client) -> Json:
        """The task once it is over. Raises `NoAnswer` and TimeoutError."""
        self._alive_s = self._alive_s or _now_s()
        if not self._is_answered:
            await self._ask(client)
        while True:
            self._news.clear()
            task = await self._look(client)
            self._alive_s = _now_s()
            words = (task["state"], task["result"], task["progress"])
            if words != self._told:
                self._told = words
                self._tell(task)
            if task["state"] == TaskState.FINISHED:
                return task
            self.check_time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._news.wait()

    async def _ask(self, client: Client) -> None:
        """Asks for the change. What is refused because it was done the time before is done."""
        try:
            await _call(client, self._method, self._params)
        except NoAnswer as error:
            if error.why is not Why.REFUSED or not self._may_be_done:
                self._may_be_done = self._may_be_done or error.why is Why.UNKNOWN
                raise
        self._is_answered = True

    async def _look(self, client: Client) -> Json:
        """The task; as it was last heard of, if its owner has cleared it since."""
        task_id = self._params["taskID"]
        try:
            task: Json = await _call(client, GetTask.method, {"taskID": task_id})
        except NoAnswer as error:
            if error.why is not Why.REFUSED:
                raise
            if self._heard is not None and self._heard.is_done:
                return _as_task(self._heard)
            raise NoAnswer(
                Why.GONE, f"task {task_id} was cleared before its end was seen; its coordinator's job tells of it"
            ) from None
        return task


def _as_task(status: TaskStatus) -> Json:
    return {
        "id": status.taskID,
        "state": status.taskState.value,
        "result": status.taskResult.value,
        "code": status.code,
        "message": status.message,
        "progress": status.progress,
    }


async def _call(client: Client, method: str, params: Json) -> Any:  # Any: a JSON value
    try:
        return await client.call(method, params, timeout_s=ANSWER_S_MAX)
    except RpcError as error:
        why = Why.BUSY if error.code in _NOT_NOW else Why.REFUSED
        raise NoAnswer(why, f"{error.message} (code {error.code})") from None
    except (NotSent, Unanswered) as error:
        raise NoAnswer(Why.UNKNOWN, str(error)) from None


@contextlib.asynccontextmanager
async def _connected(state_dir: Path, hear: Callable[[str, Json], None]) -> AsyncIterator[Client]:
    path = socket_path(state_dir)
    try:
        client = await Client.connect_unix(path, on_event=hear, connect_timeout_s=CONNECT_S_MAX, limits=LIMITS)
    except ConnectFailed as failed:
        raise _not_connected(path, failed) from None
    try:
        yield client
    finally:
        await client.close()


def _not_connected(path: Path, failed: ConnectFailed) -> NoAnswer:
    if isinstance(failed.__cause__, PermissionError):
        return NoAnswer(Why.DENIED, f"you may not use {path}; be root, or the user who runs the agent (sudo -u …)")
    if failed.reason is ConnectReason.REFUSED:
        remedy = "start it, or name its state folder with --state-dir"
        return NoAnswer(Why.ABSENT, f"no agent answers on {path}; {remedy}")
    return NoAnswer(Why.ABSENT, f"the agent on {path} cannot be asked: {failed.reason} ({failed.detail}); see its log")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
