"""The agent as a process: one per state folder, reachable over the wire, ended by a signal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from interlock.agent import durable
from interlock.agent.agent import opened
from interlock.agent.config import AgentConfig, BadConfig
from interlock.verbs import TaskStatus
from interlock.wire.limits import DEFAULT_LIMITS
from interlock.wire.server import Server
from interlock.wire.tls import server_context

log = structlog.get_logger()

#: The statuses of a full task table, some 300 bytes each, must fit into one answer.
BODY_BYTES_MAX = 4 << 20
LIMITS = replace(DEFAULT_LIMITS, body_bytes_max=BODY_BYTES_MAX, send_buffer_bytes_max=4 * BODY_BYTES_MAX)


async def run(config: AgentConfig) -> None:
    """Serves until SIGTERM or SIGINT; children go on. The file `port` in the state folder says it is ready.

    Raises `BadConfig`, `JournalDamaged`, `PlainRefused` and OSError.
    """
    durable.make_folder(config.state_dir, mode=0o700)
    with _only_one(config.state_dir):
        port_file = config.state_dir / "port"
        port_file.unlink(missing_ok=True)
        tls = server_context(config.tls_dir) if config.tls_dir is not None else None
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ending.set)

        def publish(status: TaskStatus) -> None:
            if not config.stock:
                server.publish(f"|storage|task_status|{status.taskID}", status.to_wire())

        async with opened(config, publish=publish) as agent:
            server = Server(agent.handle, tls=tls, limits=LIMITS)
            port = await server.start(config.listen_host, config.listen_port)
            agent.recover()
            _write_port(port_file, port)
            log.info("agent_started", name=config.name, port=port, incarnation=agent.incarnation)
            try:
                await ending.wait()
            finally:
                port_file.unlink(missing_ok=True)
                await server.close()
        log.info("agent_ended", name=config.name)


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
            raise BadConfig(
                f"state_dir: another agent uses {state_dir}; end it, or give this one its own folder"
            ) from None
        yield
    finally:
        os.close(descriptor)
