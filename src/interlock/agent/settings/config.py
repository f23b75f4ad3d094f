"""What an agent is started with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.agent.tasks.intake import TASKS_MAX, UNFINISHED_MAX
from interlock.agent.tasks.resource_locks import TIMEOUT_S

#: The least and the most that a number may be.
RANGES: Mapping[str, tuple[int, int]] = {
    "listen_port": (0, 65535),
    "workers": (1, 64),
    "unfinished_tasks_max": (1, TASKS_MAX),
    "lock_timeout_s": (1, 86_400),
    "copy_rate_bytes_per_s": (1, (1 << 63) - 1),
}
_NAME_CHARS_MAX = 255


class BadConfig(Exception):
    """The agent is told to do what cannot work; each of `mistakes` names the setting, the fact and the remedy."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """The settings of one agent. Raises `BadConfig` when made of what cannot work."""

    #: The host's name, as `Host.getCapabilities` tells it.
    name: str
    #: Journal, job folders, the lock that keeps a second agent away, the socket, and the file `port`.
    state_dir: Path
    #: The folders in which storage domains may lie; nothing outside them is touched.
    storage_roots: tuple[Path, ...]
    listen_host: str = "127.0.0.1"
    #: 0 for any free port; the file `port` in the state folder tells which.
    listen_port: int = 54321
    #: A folder with ca.pem, cert.pem and key.pem; None for plain TCP, which only loopback may use.
    tls_dir: Path | None = None
    #: Behave as a VDSM host without our extension.
    stock: bool = False
    #: How many tasks are at work at once.
    workers: int = 4
    #: How many tasks may be unfinished, at work or waiting; beyond them a start is refused.
    unfinished_tasks_max: int = UNFINISHED_MAX
    #: How long a task waits for each of its resource locks, before it fails with code 851.
    lock_timeout_s: int = int(TIMEOUT_S)
    #: Bytes per second of each copy; None for as fast as it goes.
    copy_rate_bytes_per_s: int | None = None
    #: The program that makes, copies and checks images.
    qemu_img: str = "qemu-img"
    #: Log one JSON object per line.
    json_logs: bool = False

    def __post_init__(self) -> None:
        wrong = [f"{key}: {fact}" for key, fact in mistakes(vars(self))]
        if wrong:
            raise BadConfig(*wrong)
        object.__setattr__(self, "storage_roots", tuple(_real(root) for root in self.storage_roots))
        object.__setattr__(self, "state_dir", _real(self.state_dir))


def mistakes(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:  # Any: each of its setting's type
    """The settings among `values` that cannot work, and why. What is not among them is not missed."""
    if "name" in values and not _is_name(values["name"]):
        yield "name", f"give a name of 1 to {_NAME_CHARS_MAX} printable characters"
    for key, (least, most) in RANGES.items():
        value = values.get(key)
        if value is not None and not least <= value <= most:
            yield key, f"{value} is not between {least} and {most}"
    if "storage_roots" in values:
        roots = [_real(root) for root in values["storage_roots"]]
        yield from (("storage_roots", fact) for fact in _wrong_roots(roots, values.get("state_dir")))


def _wrong_roots(roots: list[Path], state_dir: Path | None) -> Iterator[str]:
    if not roots:
        yield "name at least one folder"
    if Path("/") in roots:
        yield "'/' would give the agent every file of the host; name the folders that hold images"
    elif state_dir is not None and (outer := next((root for root in roots if _is_within(state_dir, root)), None)):
        yield f"the state folder {state_dir} lies within {outer}, among the images; keep it elsewhere"


def _is_within(folder: Path, root: Path) -> bool:
    return _real(folder).is_relative_to(root)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _NAME_CHARS_MAX and text.isprintable()


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
