"""An image of several volumes with known contents, to merge and to copy, and what a guest sees of it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.agent.asked import Asked, Domain, fresh
from tests.agent.verbs.images import COW, KINDS, MIB, change_meta, metadata


@dataclass(frozen=True)
class Chain:
    """An image, its volumes base first."""

    domain: Domain
    image: str
    volumes: tuple[str, ...]

    def path(self, volume: str) -> Path:
        return self.domain.path(self.image, volume)

    def meta(self, volume: str) -> dict[str, str]:
        return metadata(self.domain, self.image, volume)

    def describe(self, volume: str, **changed: str) -> None:
        """Writes something else into a description."""
        change_meta(self.domain, self.image, volume, **changed)

    def shown(self, volume: str) -> bytes:
        return shown(self.path(volume))

    def subchain(self, top: int = -1, **more: Any) -> dict[str, Any]:
        """The call's words for a volume, by its place, and the one below it."""
        at = top % len(self.volumes)
        names = {"top_id": self.volumes[at], "base_id": self.volumes[at - 1]}
        return {"sd_id": self.domain.id, "img_id": self.image, **names, **more}

    def endpoint(self, place: int = -1, **more: Any) -> dict[str, Any]:
        """The call's words for a volume by its place."""
        names = {"sd_id": self.domain.id, "img_id": self.image, "vol_id": self.volumes[place]}
        return {"endpoint_type": "div", **names, **more}


async def chain(domain: Domain, length: int = 2, *, base_format: int = COW, **more: Any) -> Chain:
    """A new image; volume n (from 0) holds the byte n + 1 from quarter n of a MiB on, half a MiB long."""
    image = fresh()
    volumes = [fresh() for _ in range(length)]
    for at, volume in enumerate(volumes):
        parent = {"srcImgUUID": image, "srcVolUUID": volumes[at - 1]} if at else {"volFormat": base_format}
        result = await domain.create(image, volume, **{**more, **parent})
        assert result[0] == "success", result
        write(domain.path(image, volume), COW if at else base_format, at + 1, at * MIB // 4, MIB // 2)
    return Chain(domain, image, tuple(volumes))


def write(path: Path, kind: int, byte: int, at: int, length: int) -> None:
    """Writes the same byte over and over, as a guest would."""
    command = ["qemu-io", "-f", KINDS[kind], "-c", f"write -P {byte} {at} {length}", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def shown(path: Path) -> bytes:
    """What a guest sees, without the zeros at the end."""
    data = path.with_name("shown")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(path), str(data)], check=True)
    try:
        return data.read_bytes().rstrip(b"\0")
    finally:
        data.unlink()


def layers(*lengths: int) -> bytes:
    """Runs of bytes: as many 1s as the first number of quarters of a MiB says, then 2s, and so on."""
    return b"".join(bytes([at]) * (length * MIB // 4) for at, length in enumerate(lengths, start=1))


def state(domain: Domain) -> dict[str, str]:
    """Each file of the domain and a digest of its bytes."""
    root = domain.images.parent
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): sha256(path.read_bytes()).hexdigest() for path in paths}


async def job(agent: Asked, method: str, **params: Any) -> tuple[str, int, str]:
    """Starts a host job and waits for its end: result, code and message."""
    job_id = fresh()
    assert await agent.call(method, {"job_id": job_id, **params}) is True
    return await agent.result(job_id)
