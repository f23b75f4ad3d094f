"""The life of one task: its turn, its steps, and its undoing when a step fails or somebody stops it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import structlog

from interlock.agent.durable import FsyncFailed
from interlock.agent.records import Failure, HostTask, StepFailed
from interlock.agent.resource_locks import ResourceLocks
from interlock.agent.steps import Host, Program, Step, StepKind, Work, stopped
from interlock.agent.task_machine import Inner, running_message, success_message
from interlock.agent.task_table import TaskTable
from interlock.verbs import Code, Verb

log = structlog.get_logger()

_FORWARD = (Inner.INIT, Inner.PREPARING, Inner.ACQUIRING, Inner.QUEUED, Inner.RUNNING)
_UNDOING = frozenset({Inner.ABORTING, Inner.WAITRECOVER, Inner.RACQUIRING, Inner.RECOVERING})

Programs = Mapping[type[Verb], Program[Any]]  # Any: a program of its own verb, which is the key


class Runner:
    """Carries tasks through. `run` may be called for a task in any state, after any crash."""

    def __init__(
        self,
        table: TaskTable,
        programs: Programs,
        host: Host,
        *,
        workers: int,
        locks: ResourceLocks,
        die: Callable[[str], NoReturn],
    ) -> None:
        self._table = table
        self._programs = programs
        self._host = host
        self._workers = asyncio.Semaphore(workers)
        self._locks = locks
        self._die = die

    async def run(self, task_id: str) -> None:
        """Carries one task to its end. Cancelled, it leaves the task as a crash would."""
        task = self._table[task_id]
        try:
            if not task.state.is_done:
                await self._live(task)
            if self._host.children.of(task_id):
                await self._host.blocking(self._host.children.forget, task_id)
            if not task.is_kept:  # whoever waits for it has its record
                self._table.remove(task_id, is_remembered=False)
        except FsyncFailed as failed:
            self._die(str(failed))
        except Exception:
            log.exception("task_lost_by_a_bug", **_named(task))
            error = f"a mistake in the agent; see its log for task {task_id}, and look at the host"
            self._table.give_up(task_id, Failure(Code.GENERAL, error, is_unclean=True))
            await self._table.announce(task_id)

    async def _live(self, task: HostTask) -> None:
        async with AsyncExitStack() as held:
            try:
                await self._take_turn(task, held)
                if task.state in _UNDOING:
                    failure = task.failure
                else:
                    failure = await self._go_forward(task.id)
            except StepFailed as refused:
                failure = refused.failure
            if failure is None:
                message = success_message(len(self._program(task).steps))
                self._table.move(task.id, Inner.FINISHED, code=0, message=message)
            else:
                await self._undo(task.id, failure)
            await self._table.announce(task.id)
            log.info("task_ended", **_named(task), state=self._table[task.id].state.value, failure=failure)

    async def _take_turn(self, task: HostTask, held: AsyncExitStack) -> None:
        """Takes the task's locks and a worker. Raises `StepFailed` if that fails or it is stopped first."""
        locks = self._locks.held(self._program(task).resources(task.verb))
        if task.state is Inner.RUNNING or task.state in _UNDOING:  # it had its turn before the agent ended
            await held.enter_async_context(locks)
            await held.enter_async_context(self._workers)
            return
        self._advance(task.id, Inner.ACQUIRING)
        await self._table.announce(task.id)

        async def take() -> None:
            await held.enter_async_context(locks)
            self._advance(task.id, Inner.QUEUED)
            await held.enter_async_context(self._workers)

        await _unless_stopped(take(), self._table.stops[task.id])

    def _advance(self, task_id: str, target: Inner) -> None:
        """Moves a task forward to `target`, through the states between; one that is there already stays."""
        reached = _FORWARD.index(self._table[task_id].state)
        for state in _FORWARD[reached + 1 : _FORWARD.index(target) + 1]:
            self._table.move(task_id, state)

    async def _go_forward(self, task_id: str) -> Failure | None:
        self._advance(task_id, Inner.RUNNING)
        program = self._program(self._table[task_id])
        work = self._work(self._table[task_id])
        while (task := self._table[task_id]).steps_done < len(program.steps):
            is_past_no_return = program.is_past_no_return(task.steps_done + task.is_begun)
            if task.is_stopping and not is_past_no_return:
                raise stopped()
            step = program.steps[task.steps_done]
            failure = await self._do(step, task, work, len(program.steps))
            if failure is not None:
                is_unclean = failure.is_unclean or step.is_no_return or is_past_no_return
                return replace(failure, is_unclean=is_unclean)
            self._table.change(task_id, steps_done=task.steps_done + 1, is_begun=False)
        return None

    async def _do(self, step: Step[Any], task: HostTask, work: Work[Any], steps: int) -> Failure | None:
        """Carries out one step, or carries it on after a crash in its middle."""
        if task.is_begun and step.kind is StepKind.ONCE:
            return Failure(
                Code.OUTCOME_UNKNOWN,
                f"the agent ended inside the step {step.name!r}, which may have happened; look at the host",
                is_unclean=True,
            )
        if not task.is_begun:
            recoveries = (*task.recoveries, step.name) if step.undo is not None else task.recoveries
            message = running_message(task.steps_done + 1, steps)
            self._table.change(task.id, is_begun=True, recoveries=recoveries, message=message)
            await self._table.sync()
        return await self._attempt(partial(_do_unless_it_holds, step, work, self._host, task.is_begun), task)

    async def _undo(self, task_id: str, failure: Failure) -> None:
        """Runs what undoing is owed, latest first; one that fails does not keep the others from running."""
        task = self._table[task_id]
        if task.state not in _UNDOING:
            task = self._table.move(task_id, Inner.ABORTING, **_failed(task, failure))
            await self._table.announce(task_id)
            if self._program(task).is_past_no_return(task.steps_done + task.is_begun):
                self._table.move(task_id, Inner.FAILED)
                return
        elif task.state is Inner.ABORTING:  # the agent ended meanwhile
            task = self._table.move(task_id, Inner.WAITRECOVER)
        for state in (Inner.RACQUIRING, Inner.RECOVERING):
            if task.state is not Inner.RECOVERING and task.state is not state:
                task = self._table.move(task_id, state)
        await self._table.announce(task_id)
        while (task := self._table[task_id]).recoveries:
            await self._undo_latest(task)
        is_clean = task.failure is None or not task.failure.is_unclean
        self._table.move(task_id, Inner.RECOVERED if is_clean else Inner.FAILED)

    async def _undo_latest(self, task: HostTask) -> None:
        *rest, name = task.recoveries
        step = self._program(task).step(name)
        failure = None
        if step.undo is not None:
            failure = await self._attempt(partial(step.undo, self._work(task)), task)
        changed = task
        if failure is not None and task.failure is not None:
            error = f"{task.failure.error}; undoing {name!r} failed: {failure.error}"
            changed = task.failed(Failure(task.failure.code, error, is_unclean=True))
        self._table.change(task.id, recoveries=tuple(rest), **_failed(changed, changed.failure))
        await self._table.sync()

    async def _attempt(self, act: Callable[[], Awaitable[None]], task: HostTask) -> Failure | None:
        try:
            await act()
        except StepFailed as failed:
            return failed.failure
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return Failure(Code.NO_SPACE if is_full else Code.GENERAL, str(error))
        except FsyncFailed:
            raise
        except Exception as bug:
            log.exception("task_step_raised", **_named(task))
            return Failure(Code.GENERAL, f"{type(bug).__name__} in the agent; see its log for task {task.id}")
        return None

    def _program(self, task: HostTask) -> Program[Any]:  # Any: as in Programs
        return self._programs[type(task.verb)]

    def _work(self, task: HostTask) -> Work[Any]:  # Any: as in Programs
        report = partial(self._table.report_progress, task.id)
        return Work(task.id, task.verb, self._host, self._table.stops[task.id], report)


async def _do_unless_it_holds(step: Step[Any], work: Work[Any], host: Host, is_resumed: bool) -> None:
    if is_resumed and step.holds is not None and await host.blocking(step.holds, work):
        return
    await step.do(work)


def _named(task: HostTask) -> dict[str, str | None]:
    """What every log line about a task says."""
    return {
        "task_id": task.id,
        "method": task.method,
        "flow": task.flow,
        "correlation_id": task.correlation_id,
    }


def _failed(task: HostTask, failure: Failure | None) -> dict[str, Any]:  # Any: fields of HostTask
    if failure is None:
        return {}
    failed = task.failed(failure)
    return {"failure": failed.failure, "code": failed.code, "message": failed.message}


async def _unless_stopped(turn: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Awaits `turn`; raises `StepFailed` (ABORTED) if `stop` is set before it comes."""
    taking, stopping = asyncio.ensure_future(turn), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            raise stopped()
        taking.result()
    finally:
        taking.cancel()
        stopping.cancel()
        await asyncio.gather(taking, stopping, return_exceptions=True)
