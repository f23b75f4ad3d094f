"""What an agent is started with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


class BadConfig(Exception):
    """The agent cannot be started like this; the message names the setting and the remedy."""


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """The settings of one agent. Raises `BadConfig` when made of what cannot work."""

    #: The host's name, as `Host.getCapabilities` tells it.
    name: str
    #: Journal, job folders, the lock that keeps a second agent away, and the file `port`.
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
    #: Bytes per second of each copy; None for as fast as it goes.
    copy_rate_bytes_per_s: int | None = None
    #: How many tasks are at work at once.
    workers: int = 4
    #: The program that makes, copies and checks images.
    qemu_img: str = "qemu-img"

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or len(self.name) > 255:
            raise BadConfig("name: give a name of 1 to 255 printable characters")
        if not 0 <= self.listen_port <= 65535:
            raise BadConfig(f"listen_port: {self.listen_port} is not between 0 and 65535")
        if not 1 <= self.workers <= 64:
            raise BadConfig(f"workers: {self.workers} is not between 1 and 64")
        if self.copy_rate_bytes_per_s is not None and self.copy_rate_bytes_per_s < 1:
            raise BadConfig("copy_rate_bytes_per_s: give 1 or more, or leave it out for no limit")
        if not self.storage_roots:
            raise BadConfig("storage_roots: name at least one folder")
        for root in self.storage_roots:
            if not root.is_dir():
                raise BadConfig(f"storage_roots: {root} is not a folder; make it first")
        roots = tuple(Path(os.path.realpath(root)) for root in self.storage_roots)
        if Path("/") in roots:
            raise BadConfig("storage_roots: '/' would give the agent every file of the host")
        object.__setattr__(self, "storage_roots", roots)
        object.__setattr__(self, "state_dir", Path(os.path.realpath(self.state_dir)))
