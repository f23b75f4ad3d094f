"""What is checked while a run goes on: each commit against what was stored before, and against what hosts truly did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from interlock.coordinator.change_set import ChangeSet
from interlock.invariants import OF_A_FLOW, check_flow
from interlock.model.changes import Change
from interlock.model.records import CommandRecord, JobRecord, Role, StepRecord, TaskRecord, Undo
from interlock.model.states import COMMAND_MOVES, TASK_MOVES, Outcome, State, TaskState, row_moves
from interlock.sim.generated import Work
from interlock.sim.holders import Holders
from interlock.sim.mirror import Mirror
from interlock.sim.reads import Reads
from interlock.sim.storage import Place, Storage
from interlock.sim.too_soon import TooSoon
from interlock.verbs import TaskResult

_COMMAND_MOVES, _TASK_MOVES = row_moves(COMMAND_MOVES), row_moves(TASK_MOVES)
_NEVER_RAN = (Outcome.REFUSED, Outcome.STOPPED)


class Witness:
    """Sees each commit; `checked` counts how often each invariant was looked at."""

    def __init__(self, storages: Mapping[UUID, Storage]) -> None:
        self._storages = storages
        self._holders, self._reads = Holders(), Reads()
        self.mirror = Mirror()
        self._too_soon = TooSoon(self.mirror)
        self.checked: Counter[int] = Counter()

    def saw(self, sets: Sequence[ChangeSet]) -> list[str]:
        """What is wrong with a commit."""
        changes = [change for each in sets for change in each.changes]
        early = list(self._too_soon.before(changes))
        flows = [self.mirror.picture(id) for id in self.mirror.write(sets)]
        found = [*early, *self._too_soon.after(changes)]
        found += [problem for change in changes for problem in self._of(change)]
        found += [f"{each.number}: {each.message}" for flow in flows for each in check_flow(flow)]
        found += self._holders.saw(changes, self.checked)
        found += self._reads.saw(sets, self.checked)
        for number, _, _ in OF_A_FLOW:
            self.checked[number] += len(flows)
        return found

    def _of(self, change: Change) -> Iterator[str]:
        match change.old, change.new:
            case CommandRecord() as old, CommandRecord() as new:
                yield from self._command(old, new)
            case TaskRecord() as old, TaskRecord() as new:
                yield from self._task(old, new)
            case None, TaskRecord(outcome=Outcome()) as new:
                yield from self.truth(new)
            case (JobRecord() | StepRecord()) as old, (JobRecord() | StepRecord()) as new:
                self.checked[20] += 1
                if new.progress < old.progress:
                    yield f"20: the progress of {new.id} goes back from {old.progress} to {new.progress}"
            case _:
                return

    def _command(self, old: CommandRecord, new: CommandRecord) -> Iterator[str]:
        if old.state is not new.state and (old.state, new.state) not in _COMMAND_MOVES:
            yield f"2: command {new.id} moves from {old.state} to {new.state}"
        if old.result is not None and new.result is not old.result:
            yield f"3: command {new.id} had ended {old.result} and now has {new.result}"
        if old.stopping is not None and new.stopping is None and new.state is State.EXECUTING:
            yield f"16: the wish to stop command {new.id} is forgotten"

    def _task(self, old: TaskRecord, new: TaskRecord) -> Iterator[str]:
        if old.state is not new.state and (old.state, new.state) not in _TASK_MOVES:
            yield f"2: task {new.id} moves from {old.state} to {new.state}"
        if old.outcome is not None and new.outcome is not old.outcome:
            yield f"3: task {new.id} had ended {old.outcome} and now has {new.outcome}"
        if old.stopping is not None and new.stopping is None:
            yield f"16: the wish to stop task {new.id} is forgotten"
        if new.progress < old.progress:
            yield f"20: the progress of task {new.id} goes back from {old.progress} to {new.progress}"
        if new.outcome is not None and old.outcome is None:
            yield from self.truth(new)

    def truth(self, task: TaskRecord) -> Iterator[str]:
        """What is told of a task's end, against what its host did."""
        storage = None if task.host is None else self._storages.get(task.host.id)
        if storage is None:
            return
        self.checked[8] += 1
        id = str(task.id)
        if task.outcome is Outcome.SUCCEEDED and not storage.is_done(id):
            yield f"6: task {id} is told to have succeeded, and its host did {storage.steps_of(id)}"
        if task.outcome in _NEVER_RAN and storage.is_there(id):
            yield f"8: task {id} is {task.outcome}, and its host did {storage.steps_of(id)}"
        if task.outcome is Outcome.REFUSED and id in storage.taken:
            yield f"8: task {id} is said to have done nothing, and its host took it"
        if task.outcome is Outcome.FAILED and task.host_result != TaskResult.CLEAN_FAILURE and storage.is_there(id):
            yield f"8: task {id} is told to have left nothing, and its host did {storage.steps_of(id)}"
        if task.outcome is Outcome.LOST and storage.journal() == task.incarnation and id in storage.tasks():
            yield f"17: task {id} is lost, and its host knows it"

    def at_the_end(self, running: Mapping[UUID, Sequence[str]]) -> Iterator[str]:
        """What is wrong when everything is over; `running` are the tasks that hosts have not ended."""
        for task in self.mirror.tasks.values():
            yield from self.truth(task)
        for name, storage in ((each.name, each) for each in self._storages.values()):
            for task_id, step, many in storage.twice():
                yield f"8: {name} did the step {step} of task {task_id} {many} times"
        for host, ids in running.items():
            for id in ids:
                self.checked[17] += 1
                known = self.mirror.task(UUID(id))
                if known is None or known.outcome not in (Outcome.UNKNOWN, Outcome.LOST):
                    what = "nobody knows" if known is None else f"is {known.state}"
                    yield f"17: host {host} still runs task {id}, which {what}"
        yield from self._undone()

    def raised(self) -> int:
        """How many commands a phase of which raised, as their specs say."""
        commands = (command for flow in self.mirror.pictures() for command in flow.commands)
        return sum("raised" in (command.failure_json or "") for command in commands)

    def _undone(self) -> Iterator[str]:
        """15. What was compensated is gone from the hosts, however often it was undone."""
        for flow in self.mirror.pictures():
            for command in flow.commands:
                if command.undo is Undo.DONE and command.name == Work.command_type.name:
                    self.checked[15] += 1
                    for task in flow.tasks_for(command, Role.FORWARD):
                        image = self._image_of(task)
                        if image is not None:
                            yield f"15: command {command.id} is undone, and its image {image} is there"

    def _image_of(self, task: TaskRecord) -> Place | None:
        storage = None if task.host is None else self._storages.get(task.host.id)
        return None if storage is None else storage.image_of(str(task.id))


def is_quiet(mirror: Mirror) -> bool:
    """Whether no job is under way and no host is still to be told to forget a task."""
    return all(flow.job.ended_at is not None for flow in mirror.pictures()) and all(
        task.state is not TaskState.ENDED or task.host is None for task in mirror.tasks.values()
    )
