"""Closing to the end, whatever is cancelled meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(using: Coroutine[Any, Any, T]) -> T:
    """What it returns, waited for whatever is cancelled meanwhile: no thread may outlive the database that it uses."""
    task = asyncio.ensure_future(using)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:  # also where it failed: who was cancelled must not go on
        raise cancelled from task.exception()
    return task.result()
