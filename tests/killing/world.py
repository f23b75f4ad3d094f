"""All that a virtualization site has, by its rows and by its files, in words that do not differ from run to run."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interlock.agent.storage.domain import read_meta
from interlock.testing.site import Site

#: what there is, by name, and how it is; None: it is not there
World = Mapping[str, str | None]
MIB = 1 << 20
_BLOCK = 64 << 10


class Worlds:
    """Looks at one site, again and again; an image that is as it was is not read again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._shown: dict[tuple[Any, ...], str] = {}

    def now(self) -> dict[str, str]:
        """Every entity, every image that none of them names, and every storage domain's files."""
        rows = self.site.rows("SELECT type, id, name, status, body_json FROM entities")
        bodies = {(type, str(json.loads(body)["id"])): (name, json.loads(body)) for type, _, name, _, body in rows}
        names = {f"{type}:{id}": name for (type, id), (name, _) in bodies.items()}
        found = dict(self._files())
        for type, _, name, status, text in rows:
            body = json.loads(text)
            words = [status, *(f"{names.get(ref, ref)}" for ref in body.get("disks", ()))]
            if type == "disk":
                words = [status, *self._disk(body, names, found)]
            elif type == "storage_domain":
                words.append(f"on {names[body['host']]}")
            found[f"{type} {name}"] = ", ".join(words)
        return found

    def _files(self) -> Iterator[tuple[str, str]]:
        for folder in self.site.storage.iterdir():
            description = folder / "dom_md" / "metadata"
            name = read_meta(description)["DESCRIPTION"] if description.exists() else folder.name
            yield f"files of {name}", "whole" if description.exists() and (folder / "images").is_dir() else "in part"
            for path in folder.glob("images/**/*"):
                if path.suffix != ".meta":
                    yield str(path.relative_to(self.site.storage)), "named by no disk"

    def _disk(self, body: dict[str, Any], names: Mapping[str, Any], found: dict[str, str]) -> Iterator[str]:
        """What is to be said of a disk; its files are taken out of those that are named by none."""
        yield f"{body['size'] / MIB:g} MiB on {names.get(body['domain'])}"
        if body["vm"] is not None:
            yield f"of {names.get(body['vm'])}"
        if body["parent"] is not None:
            yield f"upon {names.get(body['parent'])}"
        folder = f"{body['domain'].partition(':')[2]}/images/{body['image_id']}"
        file = f"{folder}/{body['volume_id']}"
        is_there = found.pop(folder, None) is not None
        is_whole = found.pop(file, None) is not None and (self.site.storage / f"{file}.meta").exists()
        if is_whole:
            yield self._holds(self.site.storage / file)
        else:
            yield "an image in part" if is_there else "no image"

    def _holds(self, path: Path) -> str:
        below = _backing(path)
        state = [(each, each.stat().st_ino, each.stat().st_mtime_ns, each.stat().st_size) for each in (path, *below)]
        key = tuple(state)
        if key not in self._shown:
            self._shown[key] = _read(path)
        return self._shown[key]


def fill(site: Site, disk: str, byte: int) -> None:
    """Writes that byte everywhere into a disk's image."""
    [(text,)] = site.rows("SELECT body_json FROM entities WHERE type = 'disk' AND name = ?", disk)
    body = json.loads(text)
    path = site.storage / body["domain"].partition(":")[2] / "images" / body["image_id"] / body["volume_id"]
    write = f"write -q -P {byte} 0 {body['size']}"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, str(path)], check=True)


def _backing(path: Path) -> list[Path]:
    command = ["qemu-img", "info", "-U", "-f", "qcow2", "--output=json", str(path)]
    done = subprocess.run(command, capture_output=True)
    name = json.loads(done.stdout).get("backing-filename") if done.returncode == 0 else None
    return [(path.parent / name).resolve()] if name is not None else []


def _read(path: Path) -> str:
    """What a reader of the image sees: the byte of each stretch of blocks."""
    if subprocess.run(["qemu-img", "check", "-q", "-U", "-f", "qcow2", str(path)]).returncode != 0:
        return "a broken image"
    shown = path.with_name(f"{path.name}.shown")
    command = ["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", str(path), str(shown)]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0:
        return "an image that cannot be read"
    data = shown.read_bytes()
    shown.unlink()
    stretches: list[str] = []
    for start in range(0, len(data), _BLOCK):
        block = set(data[start : start + _BLOCK])
        word = "mixed" if len(block) > 1 else str(block.pop())
        if stretches[-1:] != [word]:
            stretches.append(word)
    return f"holds {' then '.join(stretches)}"
