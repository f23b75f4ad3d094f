"""An agent that answers people at its host from a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from interlock.agent.serving.door import socket_path
from interlock.wire.client import RpcError
from interlock.wire.server import Call, Server
from tests.agent.asked import fresh

TASK = fresh()


def task(state: str, result: str = "", progress: int | None = None) -> dict[str, Any]:
    return {"id": TASK, "state": state, "result": result, "progress": progress, "code": 0, "message": "m"}


class Script:
    """Answers each call by the next of its acts; the last act goes on for ever."""

    def __init__(self, folder: Path, *acts: Any) -> None:
        self.path = socket_path(folder)
        self.acts = list(acts)
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.server = Server(self.handle, tls=None)

    async def handle(self, call: Call) -> Any:
        self.calls.append((call.method, call.params))
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        answer = act(self) if callable(act) else act
        if isinstance(answer, RpcError):
            raise answer
        return answer

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]


@asynccontextmanager
async def script(folder: Path, *acts: Any) -> AsyncIterator[Script]:
    made = Script(folder, *acts)
    await made.server.start_unix(made.path)
    try:
        yield made
    finally:
        await made.server.close()
