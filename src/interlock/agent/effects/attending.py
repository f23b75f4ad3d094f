"""Attending children: started once or found again, waited for, their progress told, and ended if need be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from interlock import failpoints
from interlock.agent.records import StepFailed
from interlock.agent.storage.qemu_img import progress_percent, reason
from interlock.agent.tasks.children import Child, Fate
from interlock.agent.tasks.steps import Host, Work, stopped
from interlock.verbs import Code

_POLL_S_MIN = 0.01
_POLL_S_MAX = 0.05
#: A child's end is noticed after at most this part of the time that it was waited for, within the two above.
_LATENESS = 0.01
_KILL_POLL_S = 0.05
_KILL_POLLS_MAX = 600
#: A child that does all the work of its task.
WHOLE = (0, 100)


async def attend(
    work: Work[Any],  # Any: whatever verb needs a child
    name: str,
    command: Callable[[], Sequence[str]],
    *,
    code: Code,
    span: tuple[int, int] = WHOLE,
) -> None:
    """Returns when the task's child of that name has succeeded; `command` prepares it if it has yet to begin.

    An earlier agent's child is found again, never begun twice. Its progress counts from the first to the second
    percentage of `span`. Raises `StepFailed`: with `code` when it fails, ABORTED when the task is to stop.
    """
    child = await work.host.blocking(work.host.children.find, work.task_id, name)
    if child is None:
        child = await work.host.blocking(lambda: work.host.children.start(work.task_id, name, command()))
    began_s = time.monotonic()
    while True:
        verdict = await work.host.blocking(child.judge)
        percent = progress_percent(await work.host.blocking(child.output))
        if percent is not None:
            work.report(span[0] + percent * (span[1] - span[0]) // 100)
        match verdict.fate:
            case Fate.ENDED if verdict.exit_status == 0:
                return
            case Fate.ENDED:
                text = await work.host.blocking(child.error_text)
                raise reason(text or f"the program ended with status {verdict.exit_status}", code)
            case Fate.DIED:
                raise StepFailed(Code.INTERRUPTED, "the program was lost together with its job; start the task anew")
            case Fate.RUNNING if work.stop.is_set():
                raise stopped()
        with suppress(TimeoutError):
            pause_s = (time.monotonic() - began_s) * _LATENESS
            await asyncio.wait_for(work.stop.wait(), min(max(pause_s, _POLL_S_MIN), _POLL_S_MAX))


async def end_children(host: Host, task_id: str) -> None:
    """Ends all children of a task. Raises `StepFailed` if one cannot be ended."""
    for child in await host.blocking(host.children.of, task_id):
        with suppress(FileNotFoundError):  # forgotten meanwhile: it is over
            await _end(host, child)


async def _end(host: Host, child: Child) -> None:
    """Ends a child whoever started it, also one that has yet to begin."""
    with failpoints.around("agent_end_child"):
        await host.blocking(child.forbid_start)
        for _ in range(_KILL_POLLS_MAX):
            await host.blocking(child.kill)
            if (await host.blocking(child.judge)).fate is not Fate.RUNNING:
                return
            await asyncio.sleep(_KILL_POLL_S)
    raise StepFailed(Code.GENERAL, f"the process behind {child.folder} cannot be ended; end it by hand")
