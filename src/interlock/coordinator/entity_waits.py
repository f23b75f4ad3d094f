"""Ends that wait for the tasks of other flows on an entity: who is in the way, and who is woken when that has ended."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from interlock.coordinator.snapshot import Snapshot
from interlock.core.entity_ends import awaits_entities
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.records import CommandRecord, TaskRecord
from interlock.model.refs import Ref


def others_at_work(flow: Flow, command_id: UUID, snapshot: Snapshot) -> list[str]:
    """Who works on the refs of a command in other flows. That nobody does must still hold at the commit."""
    others = [task for task in snapshot.unfinished_tasks(flow.commands[command_id].refs) if task.flow_id != flow.id]
    snapshot.needs_writer |= not others
    return [f"{task.ref} is worked on by {task.method} of job {task.flow_id} ({task.job_title})" for task in others]


class EntityWaits:
    """The commands whose end waits so, kept in memory from what is committed; rows decide. `wake` brings a command
    to ask again."""

    def __init__(self, wake: Callable[[UUID, UUID], None]) -> None:
        self._wake = wake
        self._waiting: dict[Ref[Any], dict[UUID, UUID]] = {}

    def stored(self, changes: Iterable[Change]) -> None:
        """These changes are committed: who waits is noted, and woken where a task has ended."""
        for change in changes:
            old, new = change.old, change.new
            if isinstance(new, CommandRecord):
                self.note(new)
            elif isinstance(new, TaskRecord) and self._waiting and new.outcome is not None:
                was_open = isinstance(old, TaskRecord) and old.outcome is None
                if was_open:
                    self._task_ended(new)

    def note(self, command: CommandRecord) -> None:
        """A command is stored. What its end waits for may have ended while it was: so one that is new asks again."""
        waits = awaits_entities(command)
        if waits and command.id not in self._waiting.get(command.refs[0], {}):
            for ref in command.refs:
                self._waiting.setdefault(ref, {})[command.id] = command.flow_id
            self._wake(command.flow_id, command.id)
        elif not waits and self._waiting:
            self._forget(command)

    def _forget(self, command: CommandRecord) -> None:
        for ref in command.refs:
            waiting = self._waiting.get(ref, {})
            waiting.pop(command.id, None)
            if not waiting:
                self._waiting.pop(ref, None)

    def _task_ended(self, task: TaskRecord) -> None:
        for ref in task.refs:
            for command_id, flow_id in self._waiting.get(ref, {}).items():
                if flow_id != task.flow_id:
                    self._wake(flow_id, command_id)
