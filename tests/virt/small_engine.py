"""Runs whole command trees against a file system of one dictionary; each host task ends as a script says.

Only what the phases can see of the coordinator: plans, sequences, ends, and compensation of what had completed.
After every host task each disk that is OK must have its whole image, as a crash there would show it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from interlock import Cause, Child, Command, Failure, Outcome, Plan, Result, TaskResult
from interlock.model.layout import flatten
from interlock.model.plan import TaskWork
from interlock.virt.entities import Disk, DiskStatus
from tests.virt.memory_tx import MemoryTx, World


class Fate(Enum):
    """How a host task ends, whether it had its effect, and whether it is a leftover."""

    SUCCEEDED = (Outcome.SUCCEEDED, True, False)
    FAILED = (Outcome.FAILED, False, False)
    #: failed and not rolled back (cleanFailure)
    FAILED_DONE = (Outcome.FAILED, True, True)
    FAILED_UNDONE = (Outcome.FAILED, False, True)
    REFUSED = (Outcome.REFUSED, False, False)
    LOST_DONE = (Outcome.LOST, True, True)
    LOST_UNDONE = (Outcome.LOST, False, True)
    UNKNOWN_DONE = (Outcome.UNKNOWN, True, True)
    UNKNOWN_UNDONE = (Outcome.UNKNOWN, False, True)

    def __repr__(self) -> str:
        return self.name

    @property
    def is_known(self) -> bool:
        return not self.value[2]


def script(work: Iterable[Fate], undo: Fate = Fate.SUCCEEDED) -> Callable[[str], Fate]:
    """The first tasks end as `work` says, those after them (undoing) as `undo`."""
    fates = iter(work)
    return lambda method: next(fates, undo)


@dataclass(frozen=True)
class Image:
    """What a host has of an image."""

    size: int
    is_whole: bool = True


#: the domain's id and the image's
Key = tuple[str, str]


def key_of(disk: Disk) -> Key:
    return str(disk.domain.id), str(disk.image_id)


def images_of(*disks: Disk) -> dict[Key, Image]:
    return {key_of(disk): Image(disk.size) for disk in disks}


@dataclass
class Run:
    """A command that ran (or never came to its turn), with what ran under it."""

    command: Command[Any]
    db: MemoryTx
    children: list["Run"] = field(default_factory=list)
    failure: Failure | None = None
    value: Any = None
    is_cancelled: bool = False

    def as_child(self) -> Child[Any]:
        return Child(self.command, self._result(), self.value, self.failure)

    def _result(self) -> Result:
        if self.is_cancelled:
            return Result.CANCELLED
        return Result.SUCCEEDED if self.failure is None else Result.FAILED

    def completed(self) -> Iterator["Run"]:
        """The completed commands under this one, in the order in which they ended."""
        for child in self.children:
            yield from child.completed()
            if child._result() is Result.SUCCEEDED:
                yield child


class _Refused(Exception):
    """The host does not do it; the number says why."""


class SmallEngine:
    """`fate_of` is asked once per host task, in the plan's order; `images` are those on the host's domains."""

    def __init__(self, world: World, fate_of: Callable[[str], Fate], images: Mapping[Key, Image]) -> None:
        self.world = world
        self.images = dict(images)
        self.detached: set[str] = set()
        #: the methods that were asked of the host, in order
        self.asked: list[str] = []
        self._fate_of = fate_of

    def healed(self) -> "SmallEngine":
        """The same world and the same files, with a host that does all it is asked."""
        engine = SmallEngine(self.world, script(()), {})
        engine.images, engine.detached = self.images, self.detached
        return engine

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
        stopped: set[int] = set()
        for planned in flatten(plan):
            work, found = planned.part.work, list[Cause]()
            if isinstance(work, TaskWork):
                result, leftover = self._on_host(work)
                tasks.append(result)
                if result.outcome is not Outcome.SUCCEEDED:
                    found = [Cause("it failed", leftover=leftover)]
            elif stopped.intersection(planned.after):
                run.children.append(Run(work, MemoryTx(self.world), is_cancelled=True))
                stopped.add(planned.position)
            else:
                child = self.run(work)
                run.children.append(child)
                if child.failure is not None:
                    found = list(child.failure.causes or (Cause(child.failure.message),))
            if found and not planned.part.best_effort:
                stopped.add(planned.position)
                causes += found
        return tasks, causes

    def _on_host(self, work: TaskWork) -> tuple[TaskResult, bool]:
        self.asked.append(work.method)
        fate = self._fate_of(work.method)
        outcome, has_effect, _ = fate.value
        code = None
        if has_effect:
            try:
                self._take_effect(work.method, work.arguments)
            except _Refused as refusal:
                fate, outcome, (code,) = Fate.FAILED, Outcome.FAILED, refusal.args
        for row in self.world.rows.values():
            if isinstance(row, Disk) and row.status is DiskStatus.OK:
                assert self.images[key_of(row)].is_whole, f"{work.method} took the image of {row.name}"
        return TaskResult(work.method, work.host, outcome, None, code), not fate.is_known

    def _take_effect(self, method: str, given: Any) -> None:  # Any: JSON
        domain = given["storagedomainID"]
        if domain in self.detached:
            raise _Refused(375)
        if method == "StorageDomain.detach":
            self.detached.add(domain)
            return
        key = (domain, given["imageID"])
        if method == "Volume.create":
            self.images[key] = Image(given["size"])
            return
        if key not in self.images:
            raise _Refused(268)
        match method:
            case "Volume.copy":
                self.images[given["dstSdUUID"], given["dstImgUUID"]] = self.images[key]
            case "Volume.extendSize":
                self.images[key] = replace(self.images[key], size=given["newSize"])
            case "Image.delete":
                del self.images[key]
            case "Image.cloneStructure":
                self.images[given["dstSdUUID"], given["imageID"]] = replace(self.images[key], is_whole=False)
            case "Image.syncData":
                self.images[given["dstSdUUID"], given["imageID"]] = self.images[key]
            case other:
                raise AssertionError(other)
