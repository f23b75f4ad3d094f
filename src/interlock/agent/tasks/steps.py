"""What the work of a verb is made of: steps that say what a crash in their middle means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Domains
from interlock.agent.storage.qemu_img import QemuImg
from interlock.agent.tasks.children import Children
from interlock.agent.tasks.resource_locks import Resource
from interlock.verbs import Code, Verb

V = TypeVar("V", bound=Verb)
R = TypeVar("R")


class StepKind(Enum):
    """What is done about a step in whose middle the agent ended."""

    #: Doing it again does no harm: it is done again.
    REPEATABLE = "repeatable"
    #: Whether it happened can be seen (`holds`); if not, it is done again.
    OBSERVABLE = "observable"
    #: It may have happened and must not happen twice: the task's outcome is unknown.
    ONCE = "once"


@dataclass(frozen=True)
class Host:
    """What steps may use."""

    domains: Domains
    qemu_img: QemuImg
    children: Children
    blocking_threads: Executor
    #: What the agent remembers beside its journal.
    state_dir: Path
    #: The ids of a pool's tasks that were not cleared.
    uncleared_of_pool: Callable[[str], Sequence[str]]

    async def blocking(self, function: Callable[..., R], *arguments: Any) -> R:  # Any: the function's own
        """Runs a function that waits for disks or programs, away from the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.blocking_threads, function, *arguments)


@dataclass(frozen=True)
class Work(Generic[V]):
    """One task, as its steps see it."""

    task_id: str
    verb: V
    host: Host
    #: Set when the task is to stop; long steps look at it.
    stop: asyncio.Event
    #: Tells the percentage done.
    report: Callable[[int], None]


@dataclass(frozen=True)
class Step(Generic[V]):
    """One job of a task."""

    name: str
    kind: StepKind
    do: Callable[[Work[V]], Awaitable[None]]
    #: For observable steps: whether the effect is there.
    holds: Callable[[Work[V]], bool] | None = None
    #: Takes the effect back, however much of it there is; doing it again does no harm.
    undo: Callable[[Work[V]], Awaitable[None]] | None = None
    #: From here on the task only goes forward: it is not stopped, and a failure is not undone.
    is_no_return: bool = False
    #: Which calls need the step; None for all. The others have one job less.
    applies: Callable[[V], bool] | None = None

    def __post_init__(self) -> None:
        if (self.kind is StepKind.OBSERVABLE) != (self.holds is not None):
            raise ValueError(f"step {self.name}: an observable step, and only such a one, has `holds`")


class RecoveryPolicy(Enum):
    """What is done with what a task has done, when it fails or is stopped."""

    #: Its steps are undone, latest first.
    AUTO = "auto"
    #: Nothing: it ends `cleanFailure`, and what remains is the caller's.
    NONE = "none"


@dataclass(frozen=True)
class Program(Generic[V]):
    """How a verb is carried out."""

    steps: tuple[Step[V], ...]
    #: The resources that are locked from the first step to the end.
    resources: Callable[[V], tuple[Resource, ...]]
    recovery: RecoveryPolicy = RecoveryPolicy.AUTO

    def of(self, verb: V) -> Program[V]:
        """The same with the steps that this call needs."""
        return replace(self, steps=tuple(step for step in self.steps if step.applies is None or step.applies(verb)))

    def step(self, name: str) -> Step[V]:
        """The step of that name. Raises KeyError."""
        return {step.name: step for step in self.steps}[name]

    @property
    def can_be_reverted(self) -> bool:
        """Whether a task that succeeded can be undone."""
        can_undo = any(step.undo is not None for step in self.steps)
        return self.recovery is RecoveryPolicy.AUTO and can_undo and not self.is_past_no_return(len(self.steps))

    def is_past_no_return(self, steps_begun: int) -> bool:
        """Whether a step of no return is among the first `steps_begun`."""
        return any(step.is_no_return for step in self.steps[:steps_begun])


def blocking(function: Callable[[Work[V]], None]) -> Callable[[Work[V]], Awaitable[None]]:
    """What a step does, carried out away from the event loop because it waits for disks or programs."""

    async def act(work: Work[V]) -> None:
        await work.host.blocking(function, work)

    return act


def stopped() -> StepFailed:
    """The failure of a step that was asked to stop."""
    return StepFailed(Code.ABORTED, "the task was stopped")


def image_resource(domain_id: str, image_id: str, *, is_exclusive: bool) -> Resource:
    """The lock on an image."""
    return Resource(f"image {domain_id}/{image_id}", is_exclusive)


def domain_resource(domain_id: str, *, is_exclusive: bool) -> Resource:
    """The lock on a domain: shared by all that work in it."""
    return Resource(f"domain {domain_id}", is_exclusive)
