"""A host that keeps its word unless a test tells it otherwise, and remembers all that was sent to it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any  # JSON values
from uuid import uuid4

from interlock.hosts.vdsm import LIMITS
from interlock.wire.jsonrpc import RpcError
from interlock.wire.server import Call, Server

Answer = Callable[[Call], Awaitable[Any]]

STATUSES = "Host.getAllTasksStatuses"
CAPABILITIES = "Host.getCapabilities"
STATUS = "Task.getStatus"
CLEAR = "Task.clear"
STOP = "Task.stop"
FORBID_OR_GET = "Task.forbidOrGet"
DELETE = "Image.delete"
MAKE = "StorageDomain.create"
READING = frozenset({STATUSES, CAPABILITIES, STATUS})


def status(state: str = "running", result: str = "", code: int = 0, **more: Any) -> dict[str, Any]:
    """What a host says of a task."""
    return {"taskState": state, "taskResult": result, "code": code, "message": "said by the host", **more}


DONE = status("finished", "success")
STOPPED = status("finished", "cleanSuccess", 411)


class ScriptedHost:
    """Honest by default: a start is a task (`new_task` says how it stands), done once per task id.

    `on[method]` answers in place of the honest host, which `honest` asks; `agent` is that host, where given.
    """

    def __init__(self, *, stock: bool = False, new_task: dict[str, Any] = DONE, agent: Answer | None = None) -> None:
        self._agent = agent
        self.incarnation: str | None = None if stock else str(uuid4())
        self.new_task = new_task
        self.on: dict[str, Answer] = {}
        self.calls: list[Call] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        #: ids that were closed for good
        self.closed: set[str] = set()
        #: how often each task id, and each image or domain, was worked upon
        self.effects: Counter[str] = Counter()
        #: when each connection came, by the loop's clock
        self.came_at: list[float] = []
        self.port = 0
        self._server: Server
        self._inner = 0
        self._door: asyncio.Server | None = None
        self._streams: list[bytearray] = []
        self._open: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._pipes: set[asyncio.Task[None]] = set()

    # what it was sent -------------------------------------------------------------------------------

    def asked(self, method: str) -> list[Call]:
        """The calls of that method, in order."""
        return [call for call in self.calls if call.method == method]

    def frames(self, method: str) -> list[bytes]:
        """The frames that carried calls of that method, as the bytes that came."""
        frames = [frame.lstrip(b"\n") for stream in self._streams for frame in bytes(stream).split(b"\0")]
        return [frame for frame in frames if f'"method":"{method}"'.encode() in frame]

    @property
    def heard(self) -> bytes:
        """All that ever came over the wire."""
        return b"".join(bytes(stream) for stream in self._streams)

    # what it does -----------------------------------------------------------------------------------

    async def handle(self, call: Call) -> Any:
        self.calls.append(call)
        return await self.on.get(call.method, self.honest)(call)

    async def honest(self, call: Call) -> Any:
        """The answer of a host that keeps its word. Raises RpcError."""
        if self._agent is not None:
            return await self._agent(call)
        match call.method:
            case "Host.getCapabilities":
                known = {"version": 1, "incarnation": self.incarnation}
                return {"hostName": "scripted"} | ({"interlock": known} if self.incarnation else {})
            case "Host.getAllTasksStatuses":
                return dict(self.tasks)
            case "Task.getStatus" | "Task.forbidOrGet":
                return self._known(call)
            case "Task.stop":
                if self._known(call)["taskState"] != "finished":
                    self.tasks[call.params["taskID"]] = dict(STOPPED)
                return True
            case "Task.clear":
                self._known(call)
                del self.tasks[call.params["taskID"]]
                return True
        return self._work(call)

    def _known(self, call: Call) -> dict[str, Any]:
        id = call.params["taskID"]
        if id not in self.tasks:
            if call.params.get("forGood"):
                self.closed.add(id)
            raise RpcError(401, f"there is no task {id}")
        return self.tasks[id]

    def _work(self, call: Call) -> Any:
        id = call.params.get("taskID") or str(uuid4())
        if id in self.closed:
            raise RpcError(4702, f"task {id} may not be started any more")
        if id not in self.tasks:
            self.tasks[id] = dict(self.new_task)
            self.effects[id] += 1
            self.effects[call.params.get("imageID") or call.params["storagedomainID"]] += 1
        return True if call.method == MAKE else id

    def finish_all(self, **changed: Any) -> None:
        """Every task is done; says so to nobody."""
        self.tasks = {id: DONE | changed for id in self.tasks}

    def tell(self, id: str, told: dict[str, Any]) -> None:
        """Publishes an event about a task."""
        self._server.publish(f"|storage|task_status|{id}", told)

    def forget(self) -> None:
        """Is reinstalled: knows no task, under another incarnation."""
        self.incarnation = str(uuid4())
        self.tasks.clear()

    # the wire ---------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Every connection breaks at once."""
        for pair in list(self._open.items()):
            for writer in pair:
                writer.transport.abort()

    def spit(self, data: bytes) -> None:
        """Every connection gets these bytes, whatever they are."""
        for writer in self._open:
            writer.write(data)

    async def shut(self) -> None:
        """Nobody listens any more."""
        if self._door is not None:
            self._door.close()
            self.cut()
            self._door = None

    async def listen(self) -> None:
        """Listens, from the second time on the same port."""
        self._door = await asyncio.start_server(self._enter, "127.0.0.1", self.port)
        self.port = self._door.sockets[0].getsockname()[1]

    async def start(self, tls: ssl.SSLContext | None) -> None:
        self._server = Server(self.handle, tls=tls, limits=LIMITS)
        self._inner = await self._server.start("127.0.0.1", 0)
        await self.listen()

    async def close(self) -> None:
        await self.shut()
        await asyncio.gather(*self._pipes)
        await self._server.close()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        self.came_at.append(asyncio.get_running_loop().time())
        heard = bytearray()
        self._streams.append(heard)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._inner)
        self._open[writer] = inner_writer
        try:
            await asyncio.gather(_pipe(reader, inner_writer, heard), _pipe(inner_reader, writer, None))
        finally:
            del self._open[writer]


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray | None) -> None:
    try:
        while data := await reader.read(1 << 16):
            if heard is not None:
                heard += data
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        writer.transport.abort()
    finally:
        writer.close()


@asynccontextmanager
async def hosting(
    *,
    stock: bool = False,
    new_task: dict[str, Any] = DONE,
    agent: Answer | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ScriptedHost]:
    """A host that listens on this machine."""
    host = ScriptedHost(stock=stock, new_task=new_task, agent=agent)
    await host.start(tls)
    try:
        yield host
    finally:
        await host.close()


def params_bytes(frame: bytes) -> bytes:
    """The params of a call exactly as they stood in its frame."""
    body = frame.partition(b"\n\n")[2]
    start = body.index(b'"params":') + len(b'"params":')
    end = body.rindex(b',"id":')
    assert isinstance(json.loads(body[start:end]), dict)
    return body[start:end]
