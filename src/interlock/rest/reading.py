"""Reading without holding up the event loop: views run in worker threads, a few at a time."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import Connection

from interlock.model.errors import InvalidInput
from interlock.rest.contract import Coordinating

P = ParamSpec("P")
T = TypeVar("T")

#: how many views are read at once; more wait their turn
READERS_MAX = 8


class Reading:
    """Runs a view over a read snapshot: `await reading(jobs.page, limit=10)`."""

    def __init__(self, coordinator: Coordinating) -> None:
        self._coordinator = coordinator
        self._turn = asyncio.Semaphore(READERS_MAX)

    async def __call__(self, view: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def read() -> T:
            with self._coordinator.reading() as connection:
                return view(connection, *args, **kwargs)

        async with self._turn:
            return await asyncio.to_thread(read)


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer; values of ours are ready for JSON, a host's may hold an id or a path."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return Response(text.encode(), status, headers, "application/json")


def no_query(request: Request) -> None:
    """Refuses query parameters where none is known."""
    if request.query_params:
        raise InvalidInput(*(f"query.{key}: unknown; leave it out" for key in request.query_params))
