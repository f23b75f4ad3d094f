"""Trying something for a task: how it went is a value, whatever was raised."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from interlock.agent.durable import FsyncFailed
from interlock.agent.records import Failure, HostTask, StepFailed
from interlock.verbs import Code

log = structlog.get_logger()

_CODES = {errno.ENOSPC: Code.NO_SPACE, errno.EDQUOT: Code.NO_SPACE, errno.EROFS: Code.READ_ONLY}


async def attempt(act: Callable[[], Awaitable[None]], task: HostTask) -> Failure | None:
    """Why `act` failed, or None. Raises `FsyncFailed` only, after which nothing can be trusted."""
    try:
        await act()
    except StepFailed as failed:
        return failed.failure
    except OSError as error:
        return Failure(_CODES.get(error.errno or 0, Code.GENERAL), str(error))
    except FsyncFailed:
        raise
    except Exception as bug:
        log.exception("task_step_raised", **named(task))
        return Failure(Code.GENERAL, f"{type(bug).__name__} in the agent; see its log for task {task.id}")
    return None


def named(task: HostTask) -> dict[str, str | None]:
    """What every log line about a task says."""
    return {
        "task_id": task.id,
        "method": task.method,
        "flow": task.flow,
        "correlation_id": task.correlation_id,
    }


async def unless(event: asyncio.Event, turn: Coroutine[Any, Any, None], failure: StepFailed) -> None:
    """Awaits `turn`, whose value nobody wants; raises `failure` if `event` is set before it comes."""
    taking, waiting = asyncio.ensure_future(turn), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({taking, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            raise failure
        taking.result()
    finally:
        taking.cancel()
        waiting.cancel()
        await asyncio.gather(taking, waiting, return_exceptions=True)
