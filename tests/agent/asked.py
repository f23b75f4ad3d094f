"""An agent in this process that tests call without a network, and a storage domain to call it about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from interlock.agent.serving.agent import DEFAULT_SETTING, Agent, Setting, opened
from interlock.agent.settings.config import AgentConfig
from interlock.ids import new_id
from interlock.verbs import TaskState, TaskStatus
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call, Peer

POOL = str(new_id())
WAIT_S = 30.0


def fresh() -> str:
    """A new id."""
    return str(new_id())


def headers(flow: str, term: int) -> dict[str, str]:
    """Whose call it is."""
    return {"interlockFlow": flow, "interlockTerm": str(term)}


@dataclass
class Asked:
    """The agent, what it told by itself, and short ways to call it."""

    agent: Agent
    root: Path
    told: list[TaskStatus] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """The answer, or RpcError."""
        return await self.agent.handle(Call(method, params, headers or {}, Peer((), "127.0.0.1")))

    async def code(
        self, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Code and message of the error that the call must end with."""
        try:
            answer = await self.call(method, params, headers)
        except RpcError as error:
            return error.code, error.message
        raise AssertionError(f"{method} was answered {answer!r}")

    async def status(self, task_id: str) -> dict[str, Any]:
        """Task.getStatus."""
        found: dict[str, Any] = await self.call("Task.getStatus", {"taskID": task_id})
        return found

    async def ended(self, task_id: str) -> dict[str, Any]:
        """The task's status once it is done."""
        async with asyncio.timeout(WAIT_S):
            while (status := await self.status(task_id))["taskState"] != TaskState.FINISHED:
                self.news.clear()
                await self.news.wait()
        return status

    async def result(self, task_id: str) -> tuple[str, int, str]:
        """taskResult, code and message of a task once it is done."""
        status = await self.ended(task_id)
        return status["taskResult"], status["code"], status["message"]

    async def domain(self) -> Domain:
        """A new storage domain."""
        domain_id = fresh()
        params = {"storagedomainID": domain_id, "domainName": "d", "typeArgs": str(self.root)}
        assert await self.call("StorageDomain.create", params) is True
        return Domain(self, domain_id)


@dataclass
class Domain:
    """A storage domain and the calls about it."""

    asked: Asked
    id: str

    @property
    def images(self) -> Path:
        return self.asked.root / self.id / "images"

    def path(self, image: str, volume: str) -> Path:
        return self.images / image / volume

    def create_params(self, image: str, volume: str, **more: Any) -> dict[str, Any]:
        return {**self.names(image), "volumeID": volume, "size": 1 << 20, "volFormat": 4, **more}

    def names(self, image: str) -> dict[str, Any]:
        return {"storagepoolID": POOL, "storagedomainID": self.id, "imageID": image}

    def copy_params(self, image: str, volume: str, to: tuple[str, str], **more: Any) -> dict[str, Any]:
        target = {"dstSdUUID": self.id, "dstImgUUID": to[0], "dstVolUUID": to[1]}
        return {**self.names(image), "volumeID": volume, **target, **more}

    async def create(self, image: str, volume: str, **more: Any) -> tuple[str, int, str]:
        task_id = await self.asked.call("Volume.create", self.create_params(image, volume, **more))
        return await self.asked.result(task_id)

    async def volume(self, **more: Any) -> tuple[str, str]:
        """A new image with one volume."""
        image, volume = fresh(), fresh()
        assert (await self.create(image, volume, **more))[0] == "success"
        return image, volume

    async def copy(self, image: str, volume: str, to: tuple[str, str], **more: Any) -> tuple[str, int, str]:
        task_id = await self.asked.call("Volume.copy", self.copy_params(image, volume, to, **more))
        return await self.asked.result(task_id)

    async def delete(self, image: str, **more: Any) -> tuple[str, int, str]:
        task_id = await self.asked.call("Image.delete", {**self.names(image), **more})
        return await self.asked.result(task_id)

    def files(self) -> list[str]:
        """Everything below `images`, relative to it."""
        return sorted(str(path.relative_to(self.images)) for path in self.images.rglob("*"))


@asynccontextmanager
async def asked(
    folder: Path, *, setting: Setting = DEFAULT_SETTING, is_recovered: bool = True, **config: Any
) -> AsyncIterator[Asked]:
    """An agent on `folder`; opened again on the same folder, it is the same one after a restart."""
    root = folder / "storage"
    root.mkdir(exist_ok=True)
    made = AgentConfig(name="host1", state_dir=folder / "state", storage_roots=(root,), **config)
    told: list[TaskStatus] = []
    news = asyncio.Event()

    def publish(status: TaskStatus) -> None:
        told.append(status)
        news.set()

    async with opened(made, publish=publish, setting=setting) as agent:
        if is_recovered:
            agent.recover()
        yield Asked(agent, root, told, news)


def with_setting(**changes: Any) -> Setting:
    """The usual setting with something else in it."""
    return replace(DEFAULT_SETTING, **changes)
