"""One run of a case on one agent: prepared, done, carried on by the next agent if this one died, judged."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from interlock.agent.verbs import PROGRAMS
from interlock.ids import new_id
from interlock.verbs import TASK_ID_PARAM, Code, parse
from interlock.wire.client import RpcError
from tests.agent.processes import running
from tests.killing.agent_case import SUCCESS, Case, Way
from tests.killing.agent_lane import Lane
from tests.killing.agent_storage import Storage, id_of

#: A lock that is free is had within this; one that is not is waited for for two minutes.
LOCK_S = 20.0
#: The journal's first write after the order makes the call durable.
UNACCEPTED = "agent_journal:1:before"
#: A pool, and a volume, that no case has.
_ELSEWHERE = id_of(0xFFFF)


class Trial:
    """A case, an agent, and the files as they were (`before`) and as they are to be (`after`)."""

    def __init__(self, case: Case, lane: Lane, before: Storage, after: Storage) -> None:
        self.case, self.lane, self.before, self.after = case, lane, before, after
        self.task_id = ""
        self._is_answered = False
        self._status: dict[str, Any] | None = None

    @property
    def end(self) -> str:
        """How the task has ended, in the words of `Case.end`."""
        if self._status is None:
            return SUCCESS  # it was cleared
        result, code = self._status["taskResult"], self._status["code"]
        return SUCCESS if result == SUCCESS else f"{result} {code}"

    async def prepare(self, order: str) -> None:
        """Fresh files and a fresh id; then the order stands."""
        self.task_id, self._is_answered, self._status = str(new_id()), False, None
        self.lane.storage.lay(self.before)
        if self.case.way in (Way.REVERT, Way.CLEAR):
            await self._call()
            status = await self.lane.ended(self.task_id)
            assert status["taskResult"] == SUCCESS, status
            await self._nothing_runs()
        self.lane.arm(order)

    async def act(self) -> None:
        """Does what the case is about, up to the end of the task. Raises `Died`."""
        lane, task = self.lane, {"taskID": self.task_id}
        lane.told.pop(self.task_id, None)
        match self.case.way:
            case Way.CALL:
                await self._call()
                self._is_answered = True
            case Way.STOP:
                await self._call()
                self._is_answered = True
                await self._until_a_child_works()
                await lane.call("Task.stop", task)
            case Way.REVERT:
                await lane.call("Task.revert", task)
            case Way.CLEAR:
                await lane.call("Task.clear", task)
                return
        await lane.heard(self.task_id)

    async def carry_on(self, order: str) -> None:
        """By the next agent: what was accepted goes on by itself, and what was not has changed nothing."""
        lane, task = self.lane, {"taskID": self.task_id}
        status = await lane.status(self.task_id)
        if self.case.way is Way.CLEAR:
            if status is not None:
                await lane.call("Task.clear", task)
            return
        assert (status is None) == (order == UNACCEPTED and self.case.way is not Way.REVERT), (
            "unknown, or known too soon"
        )
        if status is None:
            assert not self._is_answered
            different = lane.storage.differences(self.before)
            assert not different, f"never begun, yet {different}"
            await self._call()
        if self.case.way is Way.STOP:
            await self._until_a_child_works()
            await lane.call("Task.stop", task)
        elif self.case.way is Way.REVERT:
            with suppress(RpcError):  # it is under way, or done
                await lane.call("Task.revert", task)

    async def judge(self) -> None:
        """Asserts that the task has ended as it may, that this is true of the files, and that nothing else is left."""
        case, lane = self.case, self.lane
        if case.way is not Way.CLEAR:
            self._status = await lane.ended(self.task_id)
        assert self.end in {case.end, *case.other_ends}, self._status
        await self._nothing_runs()
        again = await self._call()
        assert again == case.answer(self.task_id, self._status), f"the same call was answered {again!r}"
        assert await lane.status(self.task_id) == self._status, "the same call changed the task"
        async with asyncio.timeout(LOCK_S):
            await self._locks_are_free()
        is_changed = self.end == case.end and case.after is not None
        different = lane.storage.differences(self.after if is_changed else self.before)
        assert not different, f"after {self._status}: {different}"
        assert not lane.complaints(), lane.complaints()
        if self._status is not None:
            await lane.call("Task.clear", {"taskID": self.task_id})

    async def _call(self) -> Any:  # Any: a JSON value
        """The answer, or the code of the error."""
        params = self.case.call(self.task_id, self.lane.storage.root)
        try:
            return await self.lane.call(self.case.verb.method, params)
        except RpcError as error:
            return error.code

    async def _until_a_child_works(self) -> None:
        """Returns also if the task, or the agent, is over before."""
        jobs = self.lane.state / "jobs" / self.task_id

        def is_it() -> bool:
            is_over = self.lane.told.get(self.task_id) == "finished" or not self.lane.is_alive
            return is_over or any(running(job) for job in jobs.glob("*"))

        if (await self.lane.status(self.task_id) or {}).get("taskState") == "running":
            await self.lane.until(is_it, "a child is at work")

    async def _nothing_runs(self) -> None:
        await self.lane.until(lambda: self.lane.jobs() == [], "the job folder is removed")
        await self.lane.until(lambda: self.lane.processes() == [], "no child is left")

    async def _locks_are_free(self) -> None:
        """Asks for each lock of the case by a call that gets no further than its first step."""
        verb = self.case.verb
        params = {**self.case.call(self.task_id, self.lane.storage.root)}
        params.pop(TASK_ID_PARAM, None)
        wanted = PROGRAMS[verb].resources(parse(verb.method, params))
        await asyncio.gather(*(self._is_free(*resource.name.split(" ")) for resource in wanted))

    async def _is_free(self, kind: str, name: str) -> None:
        match kind:
            case "domain":
                made = {"storagedomainID": name, "domainName": "d", "typeArgs": "/nowhere"}
                code = await self._refused("StorageDomain.create", made)
                assert code == Code.FOLDER_NOT_ALLOWED, code
            case "image":
                domain, image = name.split("/")
                names = {"storagepoolID": _ELSEWHERE, "storagedomainID": domain, "imageID": image}
                parent = {"srcImgUUID": _ELSEWHERE, "srcVolUUID": _ELSEWHERE}
                create: dict[str, Any] = {**names, **parent, "volumeID": id_of(0xFFFE), "size": 1 << 16, "volFormat": 4}
                status = await self.lane.ended(await self.lane.call("Volume.create", create))
                assert status["taskResult"] == "cleanSuccess", status
                assert status["code"] != Code.RESOURCE_TIMEOUT
            case "pool":
                code = await self._refused("StoragePool.spmStop", {"storagepoolID": name})
                assert code in (Code.IS_SPM, Code.NOT_SPM), code
            case _:
                raise AssertionError(f"a lock of the unknown kind {kind!r}")

    async def _refused(self, method: str, params: dict[str, Any]) -> int:
        try:
            await self.lane.call(method, params)
        except RpcError as error:
            return error.code
        raise AssertionError(f"{method} was not refused")
