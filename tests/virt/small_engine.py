"""Runs whole command trees against a file system of one dictionary; each host task ends as a script says.

Only what the phases can see of the coordinator: plans, ends, and compensation of what had completed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from interlock import Cause, Child, Command, Failure, Outcome, Plan, Result, TaskResult
from interlock.model.plan import TaskWork, walk
from tests.virt.memory_tx import MemoryTx, World


class Fate(Enum):
    """How a host task ends, and whether it had its effect."""

    SUCCEEDED = (Outcome.SUCCEEDED, True)
    FAILED = (Outcome.FAILED, False)
    REFUSED = (Outcome.REFUSED, False)
    LOST_DONE = (Outcome.LOST, True)
    LOST_UNDONE = (Outcome.LOST, False)
    UNKNOWN_DONE = (Outcome.UNKNOWN, True)
    UNKNOWN_UNDONE = (Outcome.UNKNOWN, False)

    @property
    def is_known(self) -> bool:
        return self.value[0] in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REFUSED)


@dataclass
class Run:
    """A command that ran, with what ran under it."""

    command: Command[Any]
    db: MemoryTx
    children: list["Run"] = field(default_factory=list)
    failure: Failure | None = None
    value: Any = None

    def as_child(self) -> Child[Any]:
        result = Result.SUCCEEDED if self.failure is None else Result.FAILED
        return Child(self.command, result, self.value, self.failure)

    def completed(self) -> Iterator["Run"]:
        """The completed commands under this one, in the order in which they ended."""
        for child in self.children:
            yield from child.completed()
            if child.failure is None:
                yield child


class SmallEngine:
    """`fate_of` is asked once per host task, in the plan's order; `images` are the ids of images there."""

    def __init__(self, world: World, fate_of: Callable[[str], Fate], images: set[str]) -> None:
        self.world = world
        self.images = images
        self._fate_of = fate_of

    def run(self, command: Command[Any]) -> Run:
        run = Run(command, MemoryTx(self.world))
        refusals = list(command.validate(run.db))
        if refusals:
            run.failure = Failure(refusals[0].message)
            return run
        tasks, causes = self._carry_out(run, command.execute(run.db))
        run.db.learn((child.as_child() for child in run.children), tasks)
        if not causes:
            run.value = command.end_successfully(run.db)
            return run
        run.failure = Failure(f"{len(causes)} parts failed", tuple(causes))
        for done in reversed(list(run.completed())):
            self._carry_out(Run(done.command, done.db), done.command.compensate(done.db))
        self._carry_out(Run(command, run.db), command.end_with_failure(run.db, run.failure))
        return run

    def _carry_out(self, run: Run, plan: Plan) -> tuple[list[TaskResult], list[Cause]]:
        tasks: list[TaskResult] = []
        causes: list[Cause] = []
        for piece in walk(plan):
            if isinstance(piece.work, TaskWork):
                result, leftover = self._on_host(piece.work)
                tasks.append(result)
                if result.outcome is not Outcome.SUCCEEDED:
                    causes.append(Cause("it failed", leftover=leftover))
            else:
                child = self.run(piece.work)
                run.children.append(child)
                if child.failure is not None:
                    causes += child.failure.causes or (Cause(child.failure.message),)
        return tasks, causes

    def _on_host(self, work: TaskWork) -> tuple[TaskResult, bool]:
        fate = self._fate_of(work.method)
        outcome, has_effect = fate.value
        code = None
        if work.method == "Image.delete" and work.arguments["imageID"] not in self.images and has_effect:
            fate, outcome, code = Fate.FAILED, Outcome.FAILED, 268
        elif has_effect:
            self._take_effect(work)
        return TaskResult(work.method, work.host, outcome, None, code), not fate.is_known

    def _take_effect(self, work: TaskWork) -> None:
        match work.method:
            case "Volume.create":
                self.images.add(work.arguments["imageID"])
            case "Volume.copy":
                self.images.add(work.arguments["dstImgUUID"])
            case "Image.delete":
                self.images.remove(work.arguments["imageID"])
            case other:
                raise AssertionError(other)
