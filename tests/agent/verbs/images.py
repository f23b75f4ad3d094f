"""Images to copy between two domains, and what tests look at in them."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interlock import failpoints
from interlock.verbs import TaskState
from tests.agent.asked import WAIT_S, Asked, Domain, asked, fresh

MIB = 1 << 20
COW, RAW = 4, 5
KINDS = {COW: "qcow2", RAW: "raw"}
COPY, MOVE = 1, 2

Files = Mapping[str, str]


#: For tests in which a child outlives the agent that started it.
outlives = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@dataclass
class Two:
    """A domain to copy from and one to copy to."""

    source: Domain
    target: Domain

    @property
    def asked(self) -> Asked:
        return self.source.asked

    def params(self, image: str, **more: Any) -> dict[str, Any]:
        return {**self.source.names(image), "dstSdUUID": self.target.id, **more}

    async def start(self, method: str, image: str, **more: Any) -> str:
        task_id: str = await self.asked.call(method, self.params(image, **more))
        return task_id

    async def run(self, method: str, image: str, **more: Any) -> tuple[str, int, str]:
        return await self.asked.result(await self.start(method, image, **more))

    def files(self) -> tuple[Files, Files]:
        """What is in both domains."""
        return contents(self.source), contents(self.target)


@asynccontextmanager
async def two_domains(folder: Path, **config: Any) -> AsyncIterator[Two]:
    """An agent with two domains; opened again on the same folder, the same ones after a restart."""
    async with asked(folder, **config) as agent:
        known = folder / "domains"
        if known.exists():
            source, target = (Domain(agent, domain_id) for domain_id in known.read_text().split())
        else:
            source, target = await agent.domain(), await agent.domain()
            known.write_text(f"{source.id} {target.id}")
        yield Two(source, target)
    gc.collect()  # what this agent has left running is forgotten now, and not within another test


async def chain(
    domain: Domain, *kinds: int, mib: int = 1, upon: tuple[str, str] | None = None
) -> tuple[str, list[str]]:
    """An image of as many volumes, base first; each holds random data of its own in another place."""
    image = fresh()
    volumes: list[str] = []
    parent = upon
    for place, kind in enumerate(kinds):
        volume = fresh()
        more = {} if parent is None else {"srcImgUUID": parent[0], "srcVolUUID": parent[1]}
        size = 2 * mib * len(kinds) * MIB
        result = await domain.create(image, volume, size=size, volFormat=kind, desc=f"disk {place}", **more)
        assert result[0] == "success", result
        fill(domain.path(image, volume), kind, place * mib, mib)
        volumes.append(volume)
        parent = (image, volume)
    return image, volumes


def fill(path: Path, kind: int, start_mib: int, mib: int) -> None:
    """Writes bytes that differ from place to place into a part of an image."""
    data = path.with_name("data")
    data.write_bytes(os.urandom(mib * MIB))
    write = f"write -q -s {data} {start_mib}M {mib}M"
    subprocess.run(["qemu-io", "-f", KINDS[kind], "-c", write, str(path)], check=True, capture_output=True)
    data.unlink()


def contents(domain: Domain) -> Files:
    """The digest of every file below `images`, folders with none."""
    return {
        str(path.relative_to(domain.images)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(domain.images.rglob("*"))
    }


def metadata(domain: Domain, image: str, volume: str) -> dict[str, str]:
    lines = (domain.images / image / f"{volume}.meta").read_text().splitlines()
    assert lines[-1] == "EOF"
    return dict(line.split("=", 1) for line in lines[:-1])


def change_meta(domain: Domain, image: str, volume: str, **changed: str) -> None:
    lines = [f"{key}={value}" for key, value in {**metadata(domain, image, volume), **changed}.items()]
    (domain.images / image / f"{volume}.meta").write_text("\n".join([*lines, "EOF\n"]))


def image_info(path: Path) -> dict[str, Any]:
    output = subprocess.run(["qemu-img", "info", "--output=json", str(path)], check=True, capture_output=True).stdout
    found: dict[str, Any] = json.loads(output)
    return found


def shows(path: Path, kind: int) -> str:
    """The digest of what an image shows."""
    aside = path.with_name("shown")
    subprocess.run(["qemu-img", "convert", "-f", KINDS[kind], "-O", "raw", str(path), str(aside)], check=True)
    digest = hashlib.sha256(aside.read_bytes()).hexdigest()
    aside.unlink()
    return digest


def is_same(one: Path, other: Path) -> bool:
    return subprocess.run(["qemu-img", "compare", "-q", str(one), str(other)], check=False).returncode == 0


def program(folder: Path, *lines: str) -> str:
    """A qemu-img that does something else first."""
    path = folder / "qemu-img"
    path.write_text("\n".join(["#!/bin/sh", *lines, 'exec qemu-img "$@"', ""]))
    path.chmod(0o755)
    return str(path)


@dataclass(frozen=True)
class Gate:
    """Holds up one copy that qemu-img makes, while others go on."""

    folder: Path

    @property
    def qemu_img(self) -> str:
        """The program to give to the agent."""
        held = f'[ "$1" = convert ] && [ -e {self.folder}/shut ] && mv {self.folder}/shut {self.folder}/held'
        return program(self.folder, f"{held} && while [ -e {self.folder}/held ]; do sleep 0.01; done")

    def shut(self) -> None:
        """The next copy is held up."""
        (self.folder / "shut").touch()

    async def reached(self) -> None:
        """Returns when a copy is held up."""
        async with asyncio.timeout(WAIT_S):
            while not (self.folder / "held").exists():
                await asyncio.sleep(0.01)

    def open(self) -> None:
        """Lets it go on."""
        (self.folder / "held").unlink()


async def progressed(agent: Asked, task_id: str, percent: int) -> dict[str, Any]:
    """The task's status once it is so far."""
    async with asyncio.timeout(WAIT_S):
        while ((status := await agent.status(task_id)).get("progress") or 0) < percent:
            assert status["taskState"] != TaskState.FINISHED, status
            await asyncio.sleep(0.01)
    return status


async def progress(agent: Asked, task_id: str) -> list[int]:
    """Every progress that the task tells until it is done."""
    seen: list[int] = []
    async with asyncio.timeout(WAIT_S):
        while (status := await agent.status(task_id))["taskState"] != TaskState.FINISHED:
            seen.append(status.get("progress") or 0)
            await asyncio.sleep(0.01)
    return seen


EFFECTS = ("agent_write", "agent_rename", "agent_remove", "agent_folder", "agent_spawn", "agent_qemu_img")


@contextmanager
def failing_effect(monkeypatch: pytest.MonkeyPatch, number: int, side: str) -> Iterator[list[str]]:
    """Just before or after the n-th effect from here on the disk is full; yields the names of the effects so far."""
    seen: list[str] = []
    full = OSError(errno.ENOSPC, "No space left on device")
    around = failpoints.around

    @contextmanager
    def counting(name: str) -> Iterator[None]:
        if name in EFFECTS:
            seen.append(name)
        is_meant = name in EFFECTS and len(seen) == number
        if is_meant and side == "before":
            raise full
        with around(name):
            yield
        if is_meant and side == "after":
            raise full

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "around", counting)
        yield seen


async def fail_at_each_effect(
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], Awaitable[tuple[str, int, str]]],
    files: Callable[[], Any],
    side: str,
) -> tuple[str, int]:
    """Runs a verb again and again, each time with the disk full at another effect, as long as that is undone.

    Returns the result of the first run in which nothing was undone, and how many were.
    """
    before = files()
    for number in range(1, 200):
        with failing_effect(monkeypatch, number, side) as seen:
            result = await run()
        if result[0] != "cleanSuccess":
            return result[0], number - 1
        assert files() == before, (number, seen, result)
    raise AssertionError("it never ended")
