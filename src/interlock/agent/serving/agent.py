"""One agent put together from its parts, without a network: tests use it as the server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from interlock.agent import durable
from interlock.agent.effects.attending import end_children
from interlock.agent.journal.files import Files, RealFiles
from interlock.agent.journal.journal import Journal, end_process
from interlock.agent.journal.ledger import Ledger
from interlock.agent.records import StepFailed
from interlock.agent.serving.dispatch import Dispatcher
from interlock.agent.settings.config import AgentConfig
from interlock.agent.storage.domain import Domains
from interlock.agent.storage.qemu_img import QemuImg
from interlock.agent.tasks.children import Children
from interlock.agent.tasks.intake import Bounds, Intake
from interlock.agent.tasks.resource_locks import TIMEOUT_S, ResourceLocks
from interlock.agent.tasks.runner import Programs, Runner
from interlock.agent.tasks.steps import Host
from interlock.agent.tasks.table import Publish, TaskTable
from interlock.agent.verbs import PROGRAMS
from interlock.wire.server import Call

log = structlog.get_logger()


@dataclass(frozen=True)
class Agent:
    """A running agent. It answers with code 99 until `recover` was called."""

    handle: Callable[[Call], Any]
    recover: Callable[[], None]
    incarnation: str
    #: What is told to people at the host comes from these two.
    table: TaskTable
    children: Children


@dataclass(frozen=True)
class Setting:
    """What only tests change."""

    files: Files
    programs: Programs
    bounds: Bounds
    ledger: Callable[[], Ledger]
    lock_timeout_s: float
    die: Callable[[str], NoReturn]


DEFAULT_SETTING = Setting(RealFiles(), PROGRAMS, Bounds(), Ledger, TIMEOUT_S, end_process)


@asynccontextmanager
async def opened(config: AgentConfig, *, publish: Publish, setting: Setting = DEFAULT_SETTING) -> AsyncIterator[Agent]:
    """Opens the journal and runs tasks until the context ends; what runs then is left as a crash leaves it.

    Raises `OtherVersion`.
    """
    durable.make_folder(config.state_dir, mode=0o700)
    journal = Journal(config.state_dir, setting.files, die=setting.die)
    table = TaskTable(journal, setting.ledger(), is_stock=config.stock, publish=publish)
    table.load()
    with ThreadPoolExecutor(2 * config.workers + 4, thread_name_prefix="blocking") as threads:
        host = Host(
            domains=Domains(config.storage_roots),
            qemu_img=QemuImg(config.qemu_img, config.copy_rate_bytes_per_s),
            children=Children(config.state_dir / "jobs"),
            blocking_threads=threads,
            state_dir=config.state_dir,
            uncleared_of_pool=table.uncleared_of_pool,
        )
        locks = ResourceLocks(timeout_s=setting.lock_timeout_s)
        runner = Runner(
            table,
            setting.programs,
            host,
            workers=config.workers,
            locks=locks,
            end_children=end_children,
            die=setting.die,
        )
        failure: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                running: set[asyncio.Task[None]] = set()

                def spawn(task_id: str) -> None:
                    task = group.create_task(runner.run(task_id))
                    running.add(task)
                    task.add_done_callback(running.discard)

                def recover() -> None:
                    tasks = table.ledger.tasks
                    known = {task_id for task_id in tasks if not tasks[task_id].state.is_done}
                    orphans = [name for name in host.children.names() if name not in known]
                    sweep = group.create_task(_sweep(host, orphans))
                    running.add(sweep)
                    sweep.add_done_callback(running.discard)
                    intake.recover()

                intake = Intake(table, spawn, setting.programs, bounds=setting.bounds)
                dispatcher = Dispatcher(config, intake, host, table)
                try:
                    yield Agent(dispatcher.handle, recover, journal.incarnation, table, host.children)
                except Exception as error:
                    failure = error  # raised below as it is, and not in a group
                for task in tuple(running):
                    task.cancel()
        finally:
            await journal.close()
        if failure is not None:
            raise failure


async def _sweep(host: Host, orphans: Sequence[str]) -> None:
    """Ends and forgets children that no task waits for: of a lost journal, or of a task that just ended."""
    for task_id in orphans:
        try:
            await end_children(host, task_id)
            await host.blocking(host.children.forget, task_id)
        except (StepFailed, OSError) as failed:
            log.error("orphan_not_ended", task_id=task_id, reason=str(failed))
