"""Undoing a task: what its steps did is taken back, latest first, each step's undoing paid off durably."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from interlock.agent.records import Failure, HostTask, StepFailed
from interlock.agent.task_machine import Inner
from interlock.agent.tasks.attempts import attempt, unless
from interlock.agent.tasks.steps import Program, RecoveryPolicy, Work
from interlock.agent.tasks.table import TaskTable
from interlock.verbs import Code

#: A task in one of these is not going forward any more.
UNDOING = frozenset({Inner.ABORTING, Inner.WAITRECOVER, Inner.RACQUIRING, Inner.RECOVERING, Inner.RABORTING})

Retake = Callable[[], Coroutine[Any, Any, None]]


class Undoing:
    """Brings a task that failed, was stopped or is reverted to its end; also one that an earlier agent left.

    `retake` takes its locks and a worker; None where it has them. `end_children` ends its processes.
    """

    def __init__(
        self,
        table: TaskTable,
        program: Program[Any],
        work: Work[Any],
        retake: Retake | None,
        end_children: Callable[[], Awaitable[None]],
    ) -> None:
        self._table = table
        self._program = program
        self._work = work
        self._retake = retake
        self._end_children = end_children
        self._task_id = work.task_id

    async def run(self, failure: Failure) -> None:
        """Ends the task: recovered if all was taken back, failed otherwise, and then it says what may remain."""
        await self._abort(failure)
        if self._task.state is Inner.ABORTING and not self._may_undo():
            await self._leave_nothing_running()
            self._table.move(self._task_id, Inner.FAILED)
            return
        if self._task.recoveries and not await self._undo_all():
            await self._leave_nothing_running()
            self._give_up()
            return
        await self._enter_recovering()
        is_clean = self._task.failure is None or not self._task.failure.is_unclean
        self._table.move(self._task_id, Inner.RECOVERED if is_clean else Inner.FAILED)

    @property
    def _task(self) -> HostTask:
        return self._table[self._task_id]

    async def _abort(self, failure: Failure) -> None:
        if self._task.state not in UNDOING:
            self._table.move(self._task_id, Inner.ABORTING, **_failed(self._task, failure))
            await self._table.announce(self._task_id)
        elif self._task.state is Inner.ABORTING and self._may_undo():  # the agent ended meanwhile
            self._table.move(self._task_id, Inner.WAITRECOVER)

    def _may_undo(self) -> bool:
        """Nothing is taken back of a task past its point of no return, nor under the policy `none`."""
        task = self._task
        is_past_no_return = self._program.is_past_no_return(task.steps_done + task.is_begun)
        is_left = self._program.recovery is RecoveryPolicy.NONE and task.has_begun
        return not is_past_no_return and not is_left

    async def _undo_all(self) -> bool:
        """Whether everything that is owed was attempted; not if that is given up, or the locks do not come free."""
        if self._task.state is Inner.RABORTING or self._task.is_giving_up:
            return False
        await self._enter_racquiring()
        if self._retake is not None:
            given_up = StepFailed(Code.ABORTED, "that was given up before it began")
            try:
                await unless(self._table.give_ups[self._task_id], self._retake(), given_up)
            except StepFailed as refused:
                self._note("it could not be undone", refused.failure)
                return False
        await self._enter_recovering()
        await self._table.sync()  # a revert may be news to the journal
        while self._task.recoveries and not self._task.is_giving_up:
            await self._undo_latest()
        return not self._task.recoveries

    async def _enter_racquiring(self) -> None:
        if self._task.state in (Inner.ABORTING, Inner.WAITRECOVER):
            self._table.move(self._task_id, Inner.RACQUIRING)
            await self._table.announce(self._task_id)

    async def _enter_recovering(self) -> None:
        await self._enter_racquiring()
        if self._task.state is Inner.RACQUIRING:
            self._table.move(self._task_id, Inner.RECOVERING)

    async def _undo_latest(self) -> None:
        *rest, name = self._task.recoveries
        step = self._program.step(name)
        failure = None
        if step.undo is not None:
            failure = await attempt(partial(step.undo, self._work), self._task)
        if failure is not None:
            self._note(f"undoing {name!r} failed", failure)
        self._table.change(self._task_id, recoveries=tuple(rest))
        await self._table.sync()

    async def _leave_nothing_running(self) -> None:
        """A task that is over does not write any more, also where nothing is undone."""
        failure = await attempt(self._end_children, self._task)
        if failure is not None:
            self._note("it may still write", failure)

    def _give_up(self) -> None:
        names = ", ".join(map(repr, reversed(self._task.recoveries)))
        self._note("not undone", Failure(Code.ABORTED, names))
        if self._task.state not in (Inner.ABORTING, Inner.RABORTING):
            self._table.move(self._task_id, Inner.RABORTING)
        self._table.move(self._task_id, Inner.FAILED)

    def _note(self, what: str, failure: Failure) -> None:
        """Adds to the reason of the task's failure, which is an unclean one from here on."""
        former = self._task.failure
        assert former is not None  # nothing is undone without a reason
        error = f"{former.error}; {what}: {failure.error}"
        changed = Failure(former.code, error, is_unclean=True)
        self._table.change(self._task_id, **_failed(self._task, changed))


def _failed(task: HostTask, failure: Failure) -> dict[str, Any]:  # Any: fields of HostTask
    failed = task.failed(failure)
    return {"failure": failed.failure, "code": failed.code, "message": failed.message}
