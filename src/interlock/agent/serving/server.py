"""The agent as a process: one per state folder, reachable over the wire, ended by a signal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from interlock.agent import durable
from interlock.agent.serving import service_manager
from interlock.agent.serving.agent import DEFAULT_SETTING, Setting, opened
from interlock.agent.serving.control import Control
from interlock.agent.serving.door import LIMITS, socket_path
from interlock.agent.settings.config import AgentConfig
from interlock.verbs import TaskStatus
from interlock.wire.server import Server
from interlock.wire.tls import CertificatesUnusable, server_context

log = structlog.get_logger()


class CannotStart(Exception):
    """What the agent needs is not there, or is not free; the message says what, and what to do."""


async def run(config: AgentConfig) -> None:
    """Serves until SIGTERM or SIGINT; children go on. The file `port` in the state folder says it is ready.

    Raises `CannotStart`, `FsyncFailed`, `OtherVersion`, `PlainRefused` and OSError.
    """
    tls = _tls(config)
    _check_roots(config)
    _make_state_dir(config.state_dir)
    with _only_one(config.state_dir):
        port_file = config.state_dir / "port"
        port_file.unlink(missing_ok=True)
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ending.set)

        def publish(status: TaskStatus) -> None:
            if not config.stock:
                server.publish(f"|storage|task_status|{status.taskID}", status.to_wire())

        async with opened(config, publish=publish, setting=_setting(config)) as agent:
            server = Server(Control(agent).handle, tls=tls, limits=LIMITS)
            try:
                port = await _listen(server, config)
                agent.recover()
                _write_port(port_file, port)
                log.info("agent_started", name=config.name, port=port, incarnation=agent.incarnation)
                service_manager.tell(f"READY=1\nSTATUS={config.name} answers on port {port}")
                await ending.wait()
                service_manager.tell("STOPPING=1")
            finally:
                port_file.unlink(missing_ok=True)
                await server.close()
        log.info("agent_ended", name=config.name)


def _setting(config: AgentConfig) -> Setting:
    bounds = replace(DEFAULT_SETTING.bounds, unfinished_max=config.unfinished_tasks_max)
    return replace(DEFAULT_SETTING, bounds=bounds, lock_timeout_s=config.lock_timeout_s)


def _tls(config: AgentConfig) -> ssl.SSLContext | None:
    try:
        return server_context(config.tls_dir) if config.tls_dir is not None else None
    except CertificatesUnusable as error:
        raise CannotStart(f"tls_dir: {error}") from None


def _check_roots(config: AgentConfig) -> None:
    missing = [str(root) for root in config.storage_roots if not root.is_dir()]
    if missing:
        raise CannotStart(f"storage_roots: {', '.join(missing)}: not a folder; make it or mount it first")


def _make_state_dir(folder: Path) -> None:
    try:
        durable.make_folder(folder, mode=0o700)
    except OSError as error:
        raise CannotStart(
            f"state_dir: {folder} cannot be made: {error.strerror}; make {folder.parent} first, or choose another one"
        ) from None


async def _listen(server: Server, config: AgentConfig) -> int:
    """The port. Raises `CannotStart` and `PlainRefused`."""
    try:
        port = await server.start(config.listen_host, config.listen_port)
    except OSError as error:
        where = f"{config.listen_host} port {config.listen_port}"
        raise CannotStart(
            f"listen_host, listen_port: cannot listen on {where}: {error.strerror}; choose others, or end who does"
        ) from None
    path = socket_path(config.state_dir)
    try:
        await server.start_unix(path)
    except OSError as error:
        raise CannotStart(f"state_dir: cannot listen on {path}: {error}; choose a shorter, local folder") from None
    return port


def _write_port(path: Path, port: int) -> None:
    aside = path.with_name("port.new")
    aside.write_text(f"{port}\n")
    os.rename(aside, path)


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Keeps a second agent away from the same journal; the lock ends with the process."""
    descriptor = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(
                f"state_dir: another agent uses {state_dir}; end it, or give this one its own folder"
            ) from None
        yield
    finally:
        os.close(descriptor)
