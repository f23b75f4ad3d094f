"""Running the API on a listening socket until it is told to stop."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

#: connections and requests under way at once; more are answered 503
CONCURRENT_MAX = 256
#: how long requests under way may take when the server stops
STOP_S_MAX = 5
BACKLOG = 128


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the composition root has the process's signals."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def listen(path: Path) -> socket.socket:
    """A Unix socket that only its owner may open. What lies there is replaced: the caller knows it is stale.

    Raises OSError, as where the path is too long for a socket (about 100 characters).
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))  # its folder is closed to others, so nobody connects before the chmod
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(app: FastAPI, listener: socket.socket, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Answers on `listener` until `stop` is set, then lets requests under way finish, for STOP_S_MAX."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONCURRENT_MAX,
        timeout_graceful_shutdown=STOP_S_MAX,
    )
    server = _Server(config, ready)

    async def stopper() -> None:
        await stop.wait()
        app.state.stopping.set()
        server.should_exit = True

    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(stopper())
        await server.serve(sockets=[listener])
        stopping.cancel()
