"""The life of one task: its turn, its steps, and its undoing when a step fails or somebody stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import structlog

from interlock.agent.durable import FsyncFailed
from interlock.agent.records import Failure, HostTask, StepFailed
from interlock.agent.task_machine import Inner, running_message, success_message
from interlock.agent.tasks.attempts import attempt, named, unless
from interlock.agent.tasks.resource_locks import ResourceLocks
from interlock.agent.tasks.steps import Host, Program, Step, StepKind, Work, stopped
from interlock.agent.tasks.table import TaskTable
from interlock.agent.tasks.undoing import UNDOING, Undoing
from interlock.verbs import Code, Verb

log = structlog.get_logger()

_FORWARD = (Inner.INIT, Inner.PREPARING, Inner.ACQUIRING, Inner.QUEUED, Inner.RUNNING)

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
        end_children: Callable[[Host, str], Awaitable[None]],
        die: Callable[[str], NoReturn],
    ) -> None:
        self._table = table
        self._programs = programs
        self._host = host
        self._workers = asyncio.Semaphore(workers)
        self._locks = locks
        self._end_children = end_children
        self._die = die

    async def run(self, task_id: str) -> None:
        """Carries one task to its end. Cancelled, it leaves the task as a crash would."""
        task = self._table[task_id]
        try:
            if not task.state.is_done:
                await self._live(task)
            if not task.is_kept:  # whoever waits for it has its record
                self._table.remove(task_id, is_remembered=False)
        except FsyncFailed as failed:
            self._die(str(failed))
        except Exception:
            log.exception("task_lost_by_a_bug", **named(task))
            await attempt(partial(self._end_children, self._host, task_id), task)
            error = f"a mistake in the agent; see its log for task {task_id}, and look at the host"
            self._table.give_up(task_id, Failure(Code.GENERAL, error, is_unclean=True))
            await self._table.announce(task_id)

    async def _live(self, task: HostTask) -> None:
        program, work = self._programs[type(task.verb)].of(task.verb), self._work(task)
        async with AsyncExitStack() as held:
            had_turn, failure = False, task.failure
            if task.state not in UNDOING:
                try:
                    await self._take_turn(task, held)
                    had_turn = True
                    failure = await self._go_forward(task.id, program, work)
                except StepFailed as refused:
                    failure = refused.failure
            if failure is None:
                self._table.move(task.id, Inner.FINISHED, code=0, message=success_message(len(program.steps)))
            else:
                retake = None if had_turn else partial(self._retake, task, held)
                end_children = partial(self._end_children, self._host, task.id)
                await Undoing(self._table, program, work, retake, end_children).run(failure)
            state = self._table[task.id].state  # once announced the task may be reverted, or cleared and gone
            await self._table.announce(task.id)
            log.info("task_ended", **named(task), state=state.value, failure=failure)
            await self._forget_children(task)

    async def _forget_children(self, task: HostTask) -> None:
        """Removes what the task's children have left; where that fails, the sweep of the next start does it."""
        try:
            if self._host.children.of(task.id):
                await self._host.blocking(self._host.children.forget, task.id)
        except OSError as failed:
            log.error("job_folder_not_removed", **named(task), reason=str(failed))

    async def _take_turn(self, task: HostTask, held: AsyncExitStack) -> None:
        """Takes the task's locks and a worker. Raises `StepFailed` if that fails or it is stopped first."""
        if task.state is Inner.RUNNING:  # it had its turn before the agent ended
            await self._retake(task, held)
            return
        self._advance(task.id, Inner.ACQUIRING)
        await self._table.announce(task.id)

        async def take() -> None:
            await held.enter_async_context(self._locks_of(task))
            self._advance(task.id, Inner.QUEUED)
            await held.enter_async_context(self._workers)

        await unless(self._table.stops[task.id], take(), stopped())

    async def _retake(self, task: HostTask, held: AsyncExitStack) -> None:
        """Takes again what the task held before the agent ended. Raises `StepFailed` (RESOURCE_TIMEOUT)."""
        await held.enter_async_context(self._locks_of(task))
        await held.enter_async_context(self._workers)

    def _locks_of(self, task: HostTask) -> Any:  # Any: an asynchronous context
        return self._locks.held(self._programs[type(task.verb)].resources(task.verb))

    def _advance(self, task_id: str, target: Inner) -> None:
        """Moves a task forward to `target`, through the states between; one that is there already stays."""
        reached = _FORWARD.index(self._table[task_id].state)
        for state in _FORWARD[reached + 1 : _FORWARD.index(target) + 1]:
            self._table.move(task_id, state)

    async def _go_forward(self, task_id: str, program: Program[Any], work: Work[Any]) -> Failure | None:
        self._advance(task_id, Inner.RUNNING)
        while (task := self._table[task_id]).steps_done < len(program.steps):
            is_past_no_return = program.is_past_no_return(task.steps_done + task.is_begun)
            step = program.steps[task.steps_done]
            is_unknown = task.is_begun and step.kind is StepKind.ONCE
            if task.is_stopping and not is_past_no_return and not is_unknown:
                raise stopped()
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
        return await attempt(partial(_do_unless_it_holds, step, work, self._host, task.is_begun), task)

    def _work(self, task: HostTask) -> Work[Any]:  # Any: as in Programs
        report = partial(self._table.report_progress, task.id)
        return Work(task.id, task.verb, self._host, self._table.stops[task.id], report)


async def _do_unless_it_holds(step: Step[Any], work: Work[Any], host: Host, is_resumed: bool) -> None:
    if is_resumed and step.holds is not None and await host.blocking(step.holds, work):
        return
    await step.do(work)
