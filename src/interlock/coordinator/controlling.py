"""Controlling: what people do to jobs. Each wish is one transaction of the job's flow, with a record of who and why."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from interlock.catalog import Unreadable
from interlock.coordinator import auditing, recovery, settling
from interlock.coordinator.accepting import submission
from interlock.coordinator.job import Job
from interlock.coordinator.submitting import Submitting
from interlock.core import cancelling, pausing
from interlock.core.flow import Flow
from interlock.core.settling import Settlement
from interlock.ids import new_id
from interlock.model.actions import Action
from interlock.model.decisions import Decision
from interlock.model.errors import InvalidInput, Missing, Refused
from interlock.model.locks import PRIORITY_MAX
from interlock.model.records import JobRecord, TaskRecord
from interlock.model.replacing import replace
from interlock.model.wishes import Wish, checked
from interlock.store.queries import jobs

#: writes a wish into a flow, given the time; the tasks that nobody is to watch any more
Change = Callable[[Flow, Wish, int], list[TaskRecord] | None]


class Controlling(Submitting):
    """An open coordinator, as far as people steer its jobs. Everything here is audited, and refused whole where it
    would change nothing: Missing where there is no such job or part, else Refused."""

    async def cancel(
        self, job_id: UUID, *, by: str, reason: str = "", target: UUID | None = None, force: bool = False
    ) -> None:
        """Stops a job, or a command, step or task of it (`target`), and undoes what completed; it ends CANCELLED,
        unless it succeeds all the same. What has passed a point of no return goes on.

        With `force` tasks that have not ended are abandoned: each is of unknown fate, and a leftover.
        """
        change: Change = cancelling.force if force else cancelling.cancel
        await self._steer(
            job_id, Action.JOB_FORCE if force else Action.JOB_CANCEL, Wish(new_id(), by, reason, target), change
        )

    async def stop_tasks(self, job_id: UUID, *, by: str, reason: str = "", target: UUID | None = None) -> None:
        """Asks hosts to stop all tasks of a job, or of a command of it (`target`); its commands then end as they do
        when tasks fail."""
        await self._steer(job_id, Action.JOB_STOP, Wish(new_id(), by, reason, target), cancelling.stop_tasks)

    async def settle(
        self,
        job_id: UUID,
        decision: Decision,
        *,
        by: str,
        reason: str,
        command_id: UUID | None = None,
        leave_tasks: bool = False,
    ) -> None:
        """A person decides about the command of a job that needs attention or asks (`command_id`, or the only one).

        Of one that asks, `command_id` may be a part that failed: then only that is retried or skipped. A forced end
        runs no phase of it, so that its value is None. Tasks that may still run become leftovers with `leave_tasks`,
        else they keep it from being forced.
        """
        settlement = Settlement(decision, command_id, by, reason, leave_tasks)

        def change(flow: Flow, wish: Wish, now: int) -> list[TaskRecord]:
            return settling.settle(flow, settlement, self.catalog, self._keyring, self._clock)

        await self._steer(job_id, Action(f"job.{decision}"), Wish(new_id(), by, reason, command_id), change)

    async def pause(self, job_id: UUID, *, by: str, reason: str = "") -> None:
        """No part of the job that has not begun begins, until it is resumed."""
        await self._steer(job_id, Action.JOB_PAUSE, Wish(new_id(), by, reason), pausing.pause)

    async def resume(self, job_id: UUID, *, by: str, reason: str = "") -> None:
        """A paused job goes on."""
        await self._steer(job_id, Action.JOB_RESUME, Wish(new_id(), by, reason), pausing.resume)

    async def set_priority(self, job_id: UUID, priority: int, *, by: str, reason: str = "") -> None:
        """Also of what waits already (-10 to 10). Raises InvalidInput."""
        if abs(priority) > PRIORITY_MAX:
            raise InvalidInput(f"the priority {priority} is not between -{PRIORITY_MAX} and {PRIORITY_MAX}")

        def change(flow: Flow, wish: Wish, now: int) -> None:
            pausing.prioritize(flow, priority, wish, now)

        await self._steer(job_id, Action.JOB_PRIORITY, Wish(new_id(), by, reason), change)

    async def set_visible(self, job_id: UUID, *, visible: bool, by: str, reason: str = "") -> None:
        """Whether lists show the job; it may have ended long ago."""

        def change(flow: Flow, wish: Wish, now: int) -> None:
            pausing.hide(flow, wish, now, visible=visible)

        await self._steer(job_id, Action.JOB_SHOW if visible else Action.JOB_HIDE, Wish(new_id(), by, reason), change)

    async def restart(self, job_id: UUID, *, by: str, reason: str = "", idempotency_key: str | None = None) -> Job[Any]:
        """Does an ended job once more, as a new one: the same command, its parameters upgraded, with the same priority
        and time. Raises what `submit` raises."""
        self._check_works()
        wish = checked(Wish(new_id(), by, reason))
        former, root = await asyncio.to_thread(self._job, job_id), await asyncio.to_thread(self._root, job_id)
        if root.result is None:
            raise Refused(f"job {job_id} has not ended; wait for that, or cancel it first")
        try:
            command = self.catalog.read_command(root.name, root.version, root.parameters_json, self._keyring)
        except Unreadable as error:
            raise Refused(f"job {job_id} cannot be done once more: {error}") from None
        wanted = submission(
            self.catalog, command, idempotency_key=idempotency_key, user=by, priority=former.priority,
            timeout_s=root.options.timeout_s, ask=root.options.asks and command.command_type.resumable,
            wait_for_locks=root.options.waits_for_locks,
        )  # fmt: skip
        return await self._accepted(replace(wanted, restart_of=job_id, reason=wish.reason))

    async def _steer(self, job_id: UUID, what: Action, wish: Wish, change: Change) -> None:
        """Writes the wish and its record into the flow, which then goes on."""
        self._check_works()
        checked(wish)
        await asyncio.to_thread(self._root, job_id)
        left: list[TaskRecord] = []

        def write(flow: Flow) -> None:
            before, now = _shown(flow, wish), self._clock.now_us()
            left[:] = change(flow, wish, now) or []
            after = {**_shown(flow, wish), "target": wish.target and str(wish.target)}
            auditing.note(flow, wish, what, now, before=before, after=after)

        await self._engine.errand(job_id, write, lambda connection: recovery.load(connection, job_id), resumes=True)
        for task in left:
            self._supervision.acting.task_left(task)

    def _job(self, job_id: UUID) -> JobRecord:
        with self.reading() as connection:
            record = jobs.by_id(connection, job_id)
        if record is None:
            raise Missing(f"there is no job {job_id}; `interlock jobs` lists them")
        return record


def _shown(flow: Flow, wish: Wish) -> Mapping[str, Any]:
    """What a wish may change at once, of the job and of the part that is meant."""
    job, part = flow.job, flow.commands.get(wish.target or flow.id) or flow.tasks.get(wish.target or flow.id)
    shown = {
        "priority": job.priority,
        "paused_by": job.paused_by,
        "visible": job.visible,
        "attention": job.attention,
    }
    if part is not None:
        shown |= {"state": part.state, "stopping": part.stopping}
    return shown
