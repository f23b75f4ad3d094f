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
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
