"""The server's calls of one connection: some run at once, some wait, answered in any order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any  # JSON values

import structlog

from interlock.wire import jsonrpc
from interlock.wire.jsonrpc import Batch, Invalid, Request, RequestId, RpcError
from interlock.wire.limits import Limits

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Peer:
    """Who calls: the names and addresses in its certificate's SAN (none without TLS), and its IP address.

    On a Unix-domain socket `uid` is the peer's user, as the kernel says, and `address` is "unix".
    """

    names: tuple[str, ...]
    address: str
    uid: int | None = None

    def __str__(self) -> str:
        return ", ".join(self.names) or (self.address if self.uid is None else f"{self.address} uid {self.uid}")


@dataclass(frozen=True)
class Call:
    """One request: method, params, the STOMP headers of the frame it came in, and its peer."""

    method: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    peer: Peer


#: Returns a JSON value, or raises RpcError; any other exception is answered as an internal error and logged.
Handler = Callable[[Call], Awaitable[Any]]


class Calls:
    """Runs a handler over what one connection asks.

    A call that has begun is never cancelled because its connection is gone: it may be in the middle of an
    effect. One that still waits then is dropped.
    """

    def __init__(self, handler: Handler, peer: Peer, limits: Limits) -> None:
        self._handler = handler
        self._peer = peer
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.calls_running_max)
        self._unfinished = 0
        self._unfinished_bytes = 0
        self._refusal: str | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    def refuse(self, why: str) -> None:
        """Start nothing any more; what waits is answered that it was not started."""
        self._refusal = why

    def serve(self, batch: Batch, headers: Mapping[str, str], body_bytes: int, answer: Callable[[bytes], None]) -> None:
        """Run the requests of a body of so many bytes; `answer` gets the reply's, unless there is nothing to reply."""
        if self._unfinished_bytes + body_bytes > self._limits.calls_bytes_max:
            batch, body_bytes = self._without_room(batch), 0
        self._unfinished_bytes += body_bytes
        task = asyncio.get_running_loop().create_task(self._serve(batch, headers, answer))
        self.tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, body_bytes))

    def _without_room(self, batch: Batch) -> Batch:
        """The same requests, to be refused; what they hold is not kept until then."""
        error = RpcError(
            jsonrpc.BUSY,
            f"the bodies of unfinished calls have {self._unfinished_bytes} bytes; nothing was started, try again later",
        )
        answered = (entry for entry in batch.entries if isinstance(entry, Invalid) or entry.wants_reply)
        refused = (entry if isinstance(entry, Invalid) else Invalid(error, entry.id) for entry in answered)
        return Batch(tuple(refused), batch.in_array)

    async def _serve(self, batch: Batch, headers: Mapping[str, str], answer: Callable[[bytes], None]) -> None:
        replies = await asyncio.gather(*(self._reply(entry, headers) for entry in batch.entries))
        self._answer(batch, replies, answer)

    def _answer(self, batch: Batch, replies: list[bytes | None], answer: Callable[[bytes], None]) -> None:
        wanted = [reply for reply in replies if reply is not None]
        if not wanted:
            return
        body = jsonrpc.reply_body(wanted, in_array=batch.in_array)
        if len(body) > self._limits.body_bytes_max:
            pairs = zip(batch.entries, replies, strict=True)
            short = [self._too_long(entry.id, len(body)) for entry, reply in pairs if reply is not None]
            body = jsonrpc.reply_body(short, in_array=batch.in_array)
        answer(body)

    def _too_long(self, request_id: RequestId, length: int) -> bytes:
        why = f"The answer has {length} bytes; {self._limits.body_bytes_max} are allowed; ask for less at once"
        return jsonrpc.failure(request_id, RpcError(jsonrpc.INTERNAL_ERROR, why))

    async def _reply(self, entry: Request | Invalid, headers: Mapping[str, str]) -> bytes | None:
        if isinstance(entry, Invalid):
            return jsonrpc.failure(entry.id, entry.error)
        try:
            reply = await self._outcome(entry, headers)
        except Exception:
            _log.exception("call_failed", method=entry.method, peer=str(self._peer))
            reply = jsonrpc.failure(entry.id, RpcError(jsonrpc.INTERNAL_ERROR, "Internal error"))
        return reply if entry.wants_reply else None

    async def _outcome(self, request: Request, headers: Mapping[str, str]) -> bytes:
        try:
            value = await self._bounded(Call(request.method, request.params, headers, self._peer))
        except RpcError as error:
            return jsonrpc.failure(request.id, error)
        return jsonrpc.result(request.id, value)

    async def _bounded(self, call: Call) -> Any:
        if self._unfinished >= self._limits.calls_running_max + self._limits.calls_waiting_max:
            raise RpcError(
                jsonrpc.BUSY, f"{self._unfinished} calls are unfinished; nothing was started, try again later"
            )
        self._unfinished += 1
        try:
            async with self._slots:
                if self._refusal is not None:
                    raise RpcError(jsonrpc.BUSY, f"{self._refusal}; nothing was started, try again later")
                return await self._handler(call)
        finally:
            self._unfinished -= 1

    def _ended(self, task: asyncio.Task[None], body_bytes: int) -> None:
        self._unfinished_bytes -= body_bytes
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("answer_failed", peer=str(self._peer), exc_info=error)
