"""Calls of the person at the host: the same verbs, two more that only tell, and a log of who changed what."""

from __future__ import annotations

import asyncio
import pwd
from typing import Any

import structlog
from pydantic import ValidationError

from interlock import verbs
from interlock.agent.serving.agent import Agent
from interlock.agent.serving.door import GetTask, GetTasks
from interlock.agent.serving.telling import NotOne, find, told_of, told_of_all, told_of_children
from interlock.verbs import Code
from interlock.wire.jsonrpc import INVALID_PARAMS, RpcError
from interlock.wire.server import Call

log = structlog.get_logger()


class Control:
    """In front of an agent: calls of a peer that the kernel names are a person's, others go through as they are."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def handle(self, call: Call) -> Any:  # Any: a JSON value
        """The answer. Raises `RpcError`."""
        if call.peer.uid is None:
            return await self._agent.handle(call)
        try:
            match call.method:
                case GetTasks.method:
                    return await self._tasks(GetTasks.model_validate(dict(call.params)))
                case GetTask.method:
                    return await self._task(GetTask.model_validate(dict(call.params)))
        except ValidationError as error:
            raise RpcError(INVALID_PARAMS, f"{call.method}: {error.errors()[0]['msg']}") from None
        except NotOne as error:
            raise RpcError(Code.UNKNOWN_TASK, str(error)) from None
        kind = verbs.VERBS.get(call.method)
        if kind is not None and kind.is_mutating:
            return await self._logged(call, call.peer.uid)
        return await self._agent.handle(call)

    async def _tasks(self, asked: GetTasks) -> dict[str, Any]:  # Any: JSON values
        told = told_of_all(self._agent.table, asked.limit)
        await self._agent.table.sync()  # nothing is told that a crash could take back
        return told

    async def _task(self, asked: GetTask) -> dict[str, Any]:  # Any: JSON values
        table = self._agent.table
        task_id = find(table, asked.taskID).id
        children = await asyncio.to_thread(told_of_children, self._agent.children, task_id)
        task = find(table, task_id)  # as it is now, or cleared meanwhile
        told = told_of(task, table.progress(task_id), children)
        await table.sync()
        return told

    async def _logged(self, call: Call, uid: int) -> Any:  # Any: a JSON value
        """What a person changes is told before it happens, and again when it was refused."""
        user = await asyncio.to_thread(_user, uid)
        who = {"uid": uid, "user": user, "verb": call.method, "params": dict(call.params)}
        log.info("person_asked", **who)
        try:
            return await self._agent.handle(call)
        except RpcError as error:
            log.info("person_refused", **who, code=error.code, reason=error.message)
            raise


def _user(uid: int) -> str | None:
    """The name of a user, where this host knows it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
