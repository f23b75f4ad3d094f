"""What callers may ask of tasks: start, stop, clear, forbid; durable before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from interlock.agent.records import Failure, HostTask
from interlock.agent.task_machine import Inner
from interlock.agent.tasks import refusals
from interlock.agent.tasks.host_jobs import host_job
from interlock.agent.tasks.runner import Programs
from interlock.agent.tasks.table import TaskTable
from interlock.ids import new_id
from interlock.verbs import Code, TaskStatus, Verb
from interlock.verbs.fields import TERM_MAX

#: A term that no flow ever has.
FOREVER = TERM_MAX
#: Tasks that are not done yet: running, and waiting for their turn.
UNFINISHED_MAX = 1_000
#: All tasks that were not cleared.
TASKS_MAX = 10_000
#: Host jobs that are done and still told of.
HOST_JOBS_DONE_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Sender:
    """On whose behalf a call is made; all None without the extension."""

    flow: str | None = None
    term: int | None = None
    correlation_id: str | None = None
    cluster: str | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many tasks a host takes."""

    unfinished_max: int = UNFINISHED_MAX
    tasks_max: int = TASKS_MAX
    host_jobs_done_max: int = HOST_JOBS_DONE_MAX


class Intake:
    """The doors to the task table. Until `recover` was called every one of them is closed (code 99)."""

    def __init__(
        self, table: TaskTable, spawn: Callable[[str], None], programs: Programs, *, bounds: Bounds = Bounds()
    ) -> None:
        self._table = table
        self._spawn = spawn
        self._programs = programs
        self._bounds = bounds
        self._is_open = False

    def recover(self) -> None:
        """Carries on every unfinished task; those that had begun take their locks first. Opens the doors."""
        tasks = sorted(self._table.ledger.tasks.values(), key=lambda task: (_waits(task), task.id))
        for task in tasks:
            if not task.state.is_done:
                self._spawn(task.id)
            elif not task.is_kept:
                self._table.remove(task.id, is_remembered=False)
        self._is_open = True

    def check_open(self) -> None:
        """Raises `Refused` (RECOVERY_IN_PROGRESS) while what is known is no answer yet."""
        if not self._is_open:
            raise refusals.recovering()

    async def hear_of(self, sender: Sender) -> None:
        """Who only asks is answered, of whatever generation; a newer one is remembered, durably."""
        if sender.cluster is None or sender.generation is None:
            return
        if sender.generation > self._table.ledger.generations.get(sender.cluster, 0):
            self._table.note_generation(sender.cluster, sender.generation)
            await self._table.sync()

    async def start(self, verb: Verb, task_id: str | None, sender: Sender) -> str:
        """Makes a task, or finds the one of that id. Raises `Refused`; returns its id, durably accepted."""
        self.check_open()
        self._fence(sender)
        known = self._table.get(task_id) if task_id is not None else None
        if known is not None:
            if not known.is_same(verb, sender.flow):
                raise refusals.known_with_other_arguments(known.id)
            await self._table.sync()
            return known.id
        if verb.is_host_job:
            self._drop_old_host_jobs()
        if task_id is not None:
            self._check_unused(task_id, sender.term)  # before what may change, and be tried again
        self._check_bounds()
        task = HostTask(
            id=task_id or str(new_id()),
            method=verb.method,
            params=verb.wire_params(),
            flow=sender.flow,
            term=sender.term,
            correlation_id=sender.correlation_id,
            is_kept=task_id is not None or verb.is_async,
            is_host_job=verb.is_host_job,
        )
        self._table.add(task)
        self._spawn(task.id)  # it waits for the journal before its first effect, as the caller does here
        await self._table.sync()
        return task.id

    async def run(self, verb: Verb, task_id: str | None, sender: Sender) -> HostTask:
        """Starts a task and waits for its end. Raises `Refused`; a failure is in the returned record."""
        started = await self.start(verb, task_id, sender)
        ended = self._table.ends.get(started)
        if ended is None:
            raise refusals.cleared(started)
        task = await asyncio.shield(ended)  # others may wait for the same end
        await self._table.sync()
        return task

    async def stop(self, task_id: str, sender: Sender, *, is_giving_up: bool = False) -> None:
        """Asks a task to stop. One that still waits for its turn is over when this returns.

        With `is_giving_up` a task that is being undone, or will be, ends with what remains named.
        """
        self.check_open()
        self._fence(sender)
        task = self._known(task_id)
        wished = {"is_stopping": True, "is_giving_up": task.is_giving_up or is_giving_up}
        if not task.state.is_done and wished != {"is_stopping": task.is_stopping, "is_giving_up": task.is_giving_up}:
            task = self._table.change(task_id, **wished)
        stop, give_up, ended = self._table.stops[task_id], self._table.give_ups[task_id], self._table.ends[task_id]
        await self._table.sync()
        stop.set()
        if task.is_giving_up:
            give_up.set()
        if _waits(task):
            await asyncio.shield(ended)
            await self._table.sync()

    async def revert(self, task_id: str, sender: Sender) -> None:
        """Has a task that succeeded undone. Raises `Refused` (NOT_FINISHED, TRANSITION)."""
        self.check_open()
        self._fence(sender)
        task = self._known(task_id)
        if not task.state.is_done:
            raise refusals.not_finished(task_id, task.state)
        if task.state is not Inner.FINISHED or not self._programs[type(task.verb)].of(task.verb).can_be_reverted:
            raise refusals.not_revertible(task_id, task.state)
        failed = task.failed(Failure(Code.ABORTED, "the task was reverted"))
        self._table.forget_wishes(task_id)  # they were about what is done by now
        self._table.move(task_id, Inner.RACQUIRING, failure=failed.failure, code=failed.code, message=failed.message)
        self._spawn(task_id)
        await self._table.announce(task_id)

    async def clear(self, task_id: str, sender: Sender) -> None:
        """Forgets a task that is done; its id is never run again."""
        self.check_open()
        self._fence(sender)
        task = self._known(task_id)
        if not task.state.is_done:
            raise refusals.not_done(task_id, task.state)
        self._table.remove(task_id, is_remembered=True)
        await self._table.sync()

    async def forbid_or_get(
        self, task_id: str, flow: str, term: int, sender: Sender, *, is_for_good: bool = False
    ) -> TaskStatus:
        """The task's status; if it is unknown, closes its id to older terms and raises `Refused` (401). For good it
        is closed to all terms, unless it may have run before: that is refused."""
        self.check_open()
        self._fence(replace(sender, flow=flow, term=term))
        if self._table.get(task_id) is None:
            if is_for_good:
                self._check_unused(task_id, FOREVER)
            self._table.forbid_unless_closed(task_id, FOREVER if is_for_good else term)
            await self._table.sync()
            raise refusals.unknown_task(task_id)
        return await self.status(task_id)

    async def status(self, task_id: str) -> TaskStatus:
        """The task's status, which is durable. Raises `Refused` (UNKNOWN_TASK)."""
        self.check_open()
        self._known(task_id)
        status = self._table.status(task_id)
        await self._table.sync()
        return status

    async def method(self, task_id: str) -> str:
        """The verb of a task. Raises `Refused` (UNKNOWN_TASK)."""
        self.check_open()
        method = self._known(task_id).method
        await self._table.sync()
        return method

    async def statuses(self) -> dict[str, dict[str, Any]]:  # Any: JSON values
        """The statuses of all tasks by id, as they go over the wire."""
        self.check_open()
        statuses = self._table.statuses()
        await self._table.sync()
        return statuses

    async def statuses_with_verbs(self) -> dict[str, dict[str, Any]]:  # Any: JSON values
        """The same, and each task's verb."""
        self.check_open()
        found = {
            known: {"verb": self._table[known].method, **status} for known, status in self._table.statuses().items()
        }
        await self._table.sync()
        return found

    async def infos(self) -> dict[str, dict[str, str]]:
        """Id and verb of all tasks by id, as they go over the wire."""
        self.check_open()
        found = {known: {"id": known, "verb": self._table[known].method} for known in self._table.statuses()}
        await self._table.sync()
        return found

    async def host_jobs(self, job_type: str | None, job_ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """What `Host.getJobs` answers. Any: JSON values."""
        self.check_open()
        wanted = [task for task in self._table.host_jobs() if not job_ids or task.id in job_ids]
        told = {task.id: host_job(task, self._table.progress(task.id)) for task in wanted}
        await self._table.sync()
        return {known: info for known, info in told.items() if job_type in (None, info["job_type"])}

    def _known(self, task_id: str) -> HostTask:
        task = self._table.get(task_id)
        if task is None or not self._table.is_shown(task):
            raise refusals.unknown_task(task_id)
        return task

    def _drop_old_host_jobs(self) -> None:
        """Forgets the oldest host jobs that are done: VDSM's callers have no call by which they would."""
        done = [task.id for task in self._table.host_jobs() if task.state.is_done]
        for task_id in done[: max(0, len(done) + 1 - self._bounds.host_jobs_done_max)]:
            self._table.remove(task_id, is_remembered=True)

    def _fence(self, sender: Sender) -> None:
        """Raises `Refused` if the flow has another owner by now, or the caller's database was replaced by one from a
        backup; remembers the term otherwise."""
        ledger = self._table.ledger
        if sender.cluster is not None and sender.generation is not None:
            newest = ledger.generations.get(sender.cluster, sender.generation)
            if sender.generation < newest:
                raise refusals.generation_too_old(sender.cluster, sender.generation, newest)
        if sender.flow is None or sender.term is None:
            return
        highest = ledger.highest_term(sender.flow)
        if highest is not None and sender.term < highest:
            raise refusals.term_too_old(sender.flow, sender.term, highest)
        if ledger.is_flow_too_old(sender.flow):
            raise refusals.flow_too_old(sender.flow, ledger.flow_low_water)
        self._table.note_term(sender.flow, sender.term)

    def _check_unused(self, task_id: str, term: int | None) -> None:
        ledger = self._table.ledger
        if task_id in ledger.closed:
            needed = ledger.closed[task_id]
            if needed is None:
                raise refusals.cleared(task_id)
            if term is None or term < needed:
                raise refusals.forbidden(task_id, term, needed)
        elif ledger.is_too_old(task_id):
            raise refusals.too_old(task_id, ledger.low_water)

    def _check_bounds(self) -> None:
        if len(self._table.ledger.tasks) >= self._bounds.tasks_max:
            raise refusals.full("tasks", self._bounds.tasks_max)
        if self._table.unfinished >= self._bounds.unfinished_max:
            raise refusals.full("unfinished tasks", self._bounds.unfinished_max)


def _waits(task: HostTask) -> bool:
    """Whether the task has not had its turn yet."""
    return task.state in (Inner.INIT, Inner.PREPARING, Inner.ACQUIRING, Inner.QUEUED)
