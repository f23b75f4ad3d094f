"""An agent in this process that dies at a chosen effect on the host, and programs in which a step fails."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from interlock import failpoints
from interlock.agent.durable import FsyncFailed
from interlock.agent.records import StepFailed
from interlock.agent.serving.agent import Setting
from interlock.agent.tasks.steps import Program, Step, StepKind, Work
from interlock.agent.verbs import PROGRAMS
from interlock.verbs import Code, Verb
from tests.agent.asked import asked, fresh, with_setting


class Died(Exception):
    """The agent's process ended, as far as the test can have it so."""


def die(reason: str) -> NoReturn:
    """What the agent is given in place of the end of its process."""
    raise Died(reason)


@dataclass
class Death:
    """Lets nothing happen on the host from the `number`-th effect on (before it, or after it); 0 for no death."""

    number: int = 0
    is_after: bool = False
    seen: int = 0

    @property
    def has_come(self) -> bool:
        return 0 < self.number <= self.seen

    def before(self, name: str) -> int:
        if _is_of_a_verb(name):
            self.seen += 1
            if self.has_come and not (self.is_after and self.seen == self.number):
                raise FsyncFailed(Path(name), OSError(0, "the agent is dead"))
        return 1

    def after(self, name: str, hit: int) -> None:
        if _is_of_a_verb(name) and self.has_come:
            raise FsyncFailed(Path(name), OSError(0, "the agent is dead"))


def _is_of_a_verb(name: str) -> bool:
    """Whether a step has the effect, and not the journal, which has a thread of its own."""
    return threading.current_thread().name.startswith("blocking") or name == "agent_end_child"


async def carry_through(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: Setting,
    death: Death,
    method: str,
    params: Mapping[str, Any],
) -> tuple[str, int, str]:
    """Starts a task under an agent that dies as told; the task's result under the next agent."""
    task_id = fresh()
    with monkeypatch.context() as patch:
        try:
            async with asked(folder, setting=setting) as agent:
                patch.setattr(failpoints, "before", death.before)
                patch.setattr(failpoints, "after", death.after)
                await agent.call(method, {**params, "taskID": task_id})
                return await agent.result(task_id)
        except* (Died, FsyncFailed):
            assert death.has_come
    async with asked(folder, setting=setting) as agent:
        return await agent.result(task_id)


def dying() -> Setting:
    """The usual setting of an agent that may die."""
    return with_setting(die=die)


def failing_after(verb: type[Verb], name: str) -> Setting:
    """A setting in which a step fails that comes just after the step of that name, and every undo is done twice."""
    program = PROGRAMS[verb]
    steps = [_undone_twice(step) for step in program.steps]
    index = [step.name for step in steps].index(name)
    steps.insert(index + 1, Step("fail", StepKind.REPEATABLE, _fail))
    broken: Program[Any] = replace(program, steps=tuple(steps))
    return with_setting(programs={**PROGRAMS, verb: broken}, die=die)


async def _fail(work: Work[Any]) -> None:
    raise StepFailed(Code.GENERAL, "the test wants it so")


def _undone_twice(step: Step[Any]) -> Step[Any]:
    undo = step.undo
    if undo is None:
        return step

    async def twice(work: Work[Any]) -> None:
        await undo(work)
        await undo(work)

    return replace(step, undo=twice)
