"""A program whose steps do what a test tells them to, in place of work on disks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from interlock.agent.records import StepFailed
from interlock.agent.tasks.runner import Programs
from interlock.agent.tasks.steps import Program, Step, StepKind, Work, image_resource, stopped
from interlock.verbs import ImageDelete

Deleting = Work[ImageDelete]


@dataclass
class Script:
    """What happened, and what is to happen."""

    #: Steps begun and undone, in order.
    log: list[str] = field(default_factory=list)
    #: Steps that wait until told to go on.
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    began: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    fails: dict[str, Exception] = field(default_factory=dict)
    #: Observable steps whose effect is there.
    held: set[str] = field(default_factory=set)

    def hold(self, name: str) -> None:
        """The step will wait at its gate."""
        self.gates[name] = asyncio.Event()

    def step(self, name: str, kind: StepKind = StepKind.REPEATABLE, **more: Any) -> Step[ImageDelete]:
        """A step that does as it is told; all but those of no return can be undone."""

        async def do(work: Deleting) -> None:
            self.log.append(name)
            self.began[name].set()
            if name in self.gates:
                await self._wait(self.gates[name], work)
            if name in self.fails:
                raise self.fails[name]

        async def undo(work: Deleting) -> None:
            self.log.append(f"undo {name}")
            self.began[f"undo {name}"].set()
            if f"undo {name}" in self.gates:
                await self.gates[f"undo {name}"].wait()
            if f"undo {name}" in self.fails:
                raise self.fails[f"undo {name}"]

        holds = (lambda _: name in self.held) if kind is StepKind.OBSERVABLE else None
        return Step(name, kind, do, holds=holds, undo=None if more.get("is_no_return") else undo, **more)

    async def _wait(self, gate: asyncio.Event, work: Deleting) -> None:
        opened, stopping = asyncio.ensure_future(gate.wait()), asyncio.ensure_future(work.stop.wait())
        try:
            await asyncio.wait({opened, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
            stopping.cancel()
        if work.stop.is_set():
            raise stopped()


def programs(*steps: Step[ImageDelete]) -> Programs:
    """Image.delete carried out by these steps, under a lock on its image."""

    def resources(verb: ImageDelete) -> Any:
        return (image_resource(verb.storagedomainID, verb.imageID, is_exclusive=True),)

    return {ImageDelete: Program(steps, resources)}


def failing(code: int, error: str) -> StepFailed:
    """A failure of a step."""
    return StepFailed(code, error)
