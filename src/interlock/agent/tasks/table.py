"""The tasks of a host as they are now: the ledger, its journal, and who wants to hear of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from interlock.agent.journal.damage import Damage
from interlock.agent.journal.journal import Journal
from interlock.agent.journal.ledger import Ledger
from interlock.agent.records import Entry, Failure, HostTask
from interlock.agent.task_machine import Inner, check_move
from interlock.verbs import VERBS, TaskState, TaskStatus

Publish = Callable[[TaskStatus], None]

#: With more tasks than these, a list of their statuses cuts each message, so that it fits into one answer.
WHOLE_MESSAGES_MAX = 1_500
CUT_MESSAGE_CHARS = 100


class TaskTable:
    """Every change goes into memory and the journal's buffer at once; `sync` before anybody hears of it."""

    def __init__(self, journal: Journal, ledger: Ledger, *, is_stock: bool, publish: Publish) -> None:
        self._journal = journal
        self._is_stock = is_stock
        self._publish = publish
        self._shown: dict[str, TaskState] = {}
        self._progress: dict[str, int] = {}
        self._unfinished = 0
        #: Kept beside the records, so that asking for thousands of statuses costs one copy.
        self._answers: dict[str, dict[str, Any]] = {}  # Any: JSON values
        self._host_jobs: dict[str, None] = {}
        self.ledger = ledger
        self.stops: dict[str, asyncio.Event] = {}
        #: Set when even undoing is to be given up.
        self.give_ups: dict[str, asyncio.Event] = {}
        #: Each task's record once it is done.
        self.ends: dict[str, asyncio.Future[HostTask]] = {}

    def load(self) -> None:
        """Reads the journal. Raises `OtherVersion`."""
        for entry in self._journal.open():
            self.ledger.apply(entry)
        self._journal.compact_from(self.ledger.entries)
        for task in self.ledger.tasks.values():
            self._watch(task)
            self._shown[task.id] = task.outer_state

    def __getitem__(self, task_id: str) -> HostTask:
        return self.ledger.tasks[task_id]

    def get(self, task_id: str) -> HostTask | None:
        """The task, or None if it is not known."""
        return self.ledger.tasks.get(task_id)

    @property
    def incarnation(self) -> str:
        """The identity of the journal."""
        return self._journal.incarnation

    @property
    def journal_bytes(self) -> int:
        """How large the journal is."""
        return self._journal.size_bytes

    @property
    def damage(self) -> Damage | None:
        """What was lost of the journal before this one, if that was damaged."""
        return self._journal.damage

    @property
    def unfinished(self) -> int:
        """How many tasks are not done."""
        return self._unfinished

    def host_jobs(self) -> list[HostTask]:
        """The tasks that are host jobs, oldest first."""
        return [self.ledger.tasks[task_id] for task_id in self._host_jobs]

    def uncleared_of_pool(self, pool_id: str) -> list[str]:
        """The ids of the tasks about a pool, but for calls that were answered when they were over."""
        return [
            task.id
            for task in self.ledger.tasks.values()
            if task.params.get("storagepoolID") == pool_id and VERBS[task.method].is_async
        ]

    def add(self, task: HostTask) -> None:
        """Takes in a new task."""
        self._record(task.to_entry())
        self._watch(task)

    def change(self, task_id: str, **fields: Any) -> HostTask:  # Any: the fields of HostTask
        """Changes anything but the state."""
        return self._put(replace(self[task_id], **fields))

    def move(self, task_id: str, state: Inner, **fields: Any) -> HostTask:  # Any: as above
        """Changes the state. Raises `IllegalMove`."""
        check_move(task_id, self[task_id].state, state)
        return self._put(replace(self[task_id], state=state, **fields))

    def forget_wishes(self, task_id: str) -> None:
        """Nobody wants the task to stop any more."""
        self.stops[task_id].clear()
        self.give_ups[task_id].clear()
        self.change(task_id, is_stopping=False, is_giving_up=False)

    def give_up(self, task_id: str, failure: Failure) -> None:
        """Ends a task that the agent itself has wronged, from whatever state it is in."""
        if not self[task_id].state.is_done:
            self._put(replace(self[task_id].failed(failure), state=Inner.FAILED))

    def remove(self, task_id: str, *, is_remembered: bool) -> None:
        """Forgets a task; a remembered id can never be started again."""
        entry: Entry = {"kind": "cleared", "ids": [task_id]}
        self._record(entry if is_remembered else {"kind": "forgotten", "id": task_id})
        self._shown.pop(task_id, None)
        self._progress.pop(task_id, None)
        self._answers.pop(task_id, None)
        self._host_jobs.pop(task_id, None)
        self.stops.pop(task_id)
        self.give_ups.pop(task_id)
        self.ends.pop(task_id)

    def note_term(self, flow: str, term: int) -> None:
        """Remembers a flow's term if it is news."""
        if self.ledger.highest_term(flow) != term:
            self._record({"kind": "terms", "terms": {flow: term}})

    def note_generation(self, cluster: str, generation: int) -> None:
        """Remembers a cluster's newest generation."""
        self._record({"kind": "generations", "generations": {cluster: generation}})

    def forbid_unless_closed(self, task_id: str, term: int) -> None:
        """Closes an unknown id to terms older than `term`; one that is closed for good stays so."""
        closed = self.ledger.closed
        is_closed_for_good = closed.get(task_id, 0) is None or self.ledger.is_too_old(task_id)
        if not is_closed_for_good and (closed.get(task_id) or -1) < term:
            self._record({"kind": "forbidden", "terms": {task_id: term}})

    async def sync(self) -> None:
        """Returns when all changes so far are durable."""
        await self._journal.sync()

    async def announce(self, task_id: str) -> None:
        """Makes the task's change durable, then tells of it if its outer state is another than was told."""
        task, status = self[task_id], self.status(task_id)
        is_news = self.is_shown(task) and self._shown.get(task_id) is not task.outer_state
        self._shown[task_id] = task.outer_state
        await self.sync()
        if is_news:
            self._publish(status)

    def report_progress(self, task_id: str, percent: int) -> None:
        """Notes the percentage done, which never goes back."""
        self._progress[task_id] = max(min(percent, 99), self._progress.get(task_id, 0))  # 100 = done
        self._refresh(self[task_id])

    def status(self, task_id: str) -> TaskStatus:
        """The answer to `Task.getStatus`. Raises KeyError."""
        task = self[task_id]
        if self._is_stock:
            return task.status(progress=None, incarnation=None)
        return task.status(progress=self.progress(task_id), incarnation=self.incarnation)

    def progress(self, task_id: str) -> int | None:
        """The percentage done, where it is known; a task that failed has none, so that a restart changes no answer."""
        state = self[task_id].state
        if state.is_done:
            return 100 if state is Inner.FINISHED else None
        return self._progress.get(task_id)

    def statuses(self) -> dict[str, dict[str, Any]]:  # Any: JSON values
        """Every shown task's status as it goes over the wire, by id; messages are cut where there are very many."""
        if len(self._answers) <= WHOLE_MESSAGES_MAX:
            return dict(self._answers)
        return {
            task_id: {**answer, "message": answer["message"][:CUT_MESSAGE_CHARS]}
            for task_id, answer in self._answers.items()
        }

    def _put(self, task: HostTask) -> HostTask:
        was_done = self[task.id].state.is_done
        self._record(task.to_entry())
        self._refresh(task)
        if task.state.is_done and not was_done:
            self.ends[task.id].set_result(task)
            self._unfinished -= 1
        elif was_done and not task.state.is_done:  # it is being reverted
            self.ends[task.id] = asyncio.get_running_loop().create_future()
            self._unfinished += 1
        return task

    def _record(self, entry: Entry) -> None:
        self.ledger.apply(entry)
        self._journal.append(entry)

    def _watch(self, task: HostTask) -> None:
        if task.is_host_job:
            self._host_jobs[task.id] = None
        self.stops[task.id] = asyncio.Event()
        self.give_ups[task.id] = asyncio.Event()
        self.ends[task.id] = asyncio.get_running_loop().create_future()
        if task.is_stopping:
            self.stops[task.id].set()
        if task.is_giving_up:
            self.give_ups[task.id].set()
        if task.state.is_done:
            self.ends[task.id].set_result(task)
        else:
            self._unfinished += 1
        self._refresh(task)

    def is_shown(self, task: HostTask) -> bool:
        """Whether calls about tasks tell of it. VDSM knows its host jobs by `Host.getJobs` only."""
        return task.is_kept and not (self._is_stock and task.is_host_job)

    def _refresh(self, task: HostTask) -> None:
        if self.is_shown(task):
            self._answers[task.id] = self.status(task.id).to_wire()
