"""What Volume.copy of 1 GiB costs above the very qemu-img that it runs, in pairs, one after the other."""

import asyncio
import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.agent.serving.agent import Agent, opened
from interlock.agent.settings.config import AgentConfig
from interlock.agent.storage.qemu_img import QemuImg
from interlock.ids import new_id
from interlock.verbs import VolumeFormat
from interlock.wire.server import Call, Peer

SIZE_BYTES = 1 << 30
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Copies:
    """Seconds of each pair: the agent's copy, and qemu-img alone."""

    agent_s: tuple[float, ...]
    plain_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How much longer the agent takes, in the median of all pairs."""
        return statistics.median(ours / plain for ours, plain in zip(self.agent_s, self.plain_s, strict=True))


async def measure(folder: Path, pairs: int) -> Copies:
    """Copies random data, raw to qcow2, alternately by the agent and by qemu-img with the same options."""
    (root := folder / "agent-copy").mkdir()
    config = AgentConfig(name="bench", state_dir=folder / "agent-copy-state", storage_roots=(root,))
    async with opened(config, publish=lambda status: None) as agent:
        agent.recover()
        names = await _source(agent, root)
        source = root / names["storagedomainID"] / "images" / names["imageID"] / names["volumeID"]
        found = [(await _by_agent(agent, root, names), _by_qemu_img(source, root / "plain")) for _ in range(pairs)]
    return Copies(tuple(ours for ours, _ in found), tuple(plain for _, plain in found))


async def _source(agent: Agent, root: Path) -> dict[str, str]:
    """A raw volume full of random data."""
    names = {name: str(new_id()) for name in ("storagepoolID", "storagedomainID", "imageID", "volumeID")}
    domain = {"storagedomainID": names["storagedomainID"], "domainName": "d", "typeArgs": str(root)}
    await _call(agent, "StorageDomain.create", domain)
    await _done(agent, await _call(agent, "Volume.create", {**names, "size": SIZE_BYTES, "volFormat": 5}))
    with (root / names["storagedomainID"] / "images" / names["imageID"] / names["volumeID"]).open("r+b") as file:
        for _ in range(SIZE_BYTES // _CHUNK):
            file.write(os.urandom(_CHUNK))
        os.fsync(file.fileno())
    return names


async def _by_agent(agent: Agent, root: Path, names: dict[str, str]) -> float:
    image = str(new_id())
    target = {"dstSdUUID": names["storagedomainID"], "dstImgUUID": image, "dstVolUUID": str(new_id())}
    began_s = time.monotonic()
    await _done(agent, await _call(agent, "Volume.copy", {**names, **target, "volFormat": 4}))
    took_s = time.monotonic() - began_s
    await _done(agent, await _call(agent, "Image.delete", {**names_of_image(names), "imageID": image}))
    return took_s


def names_of_image(names: dict[str, str]) -> dict[str, str]:
    """The same without the volume."""
    return {name: value for name, value in names.items() if name != "volumeID"}


def _by_qemu_img(source: Path, target: Path) -> float:
    """The same command line, and its result made durable, as the agent makes it."""
    target.touch()
    command = QemuImg().convert_command((source, VolumeFormat.RAW), (target, VolumeFormat.COW))
    began_s = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    took_s = time.monotonic() - began_s
    target.unlink()
    return took_s


async def _call(agent: Agent, method: str, params: dict[str, Any]) -> Any:  # Any: a JSON value
    return await agent.handle(Call(method, params, {}, Peer((), "127.0.0.1")))


async def _done(agent: Agent, task_id: str) -> None:
    while (status := await _call(agent, "Task.getStatus", {"taskID": task_id}))["taskState"] != "finished":  # noqa: ASYNC110  # another side of a wire sets no event
        await asyncio.sleep(0.005)
    if status["taskResult"] != "success":
        raise RuntimeError(f"the copy that was to be measured failed: {status['message']}")
