"""JSON-RPC 2.0 bodies: reading requests and replies, building them; no I/O."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # JSON values are Any: their shape is the verbs' matter

from interlock.wire.limits import DEFAULT_LIMITS, Limits

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
#: The host has no room for the call; certainly nothing was started.
BUSY = 1100

RequestId = str | int | float | None


class RpcError(Exception):
    """The answer is an error: `code` and `message` as on the wire, `data` any JSON value or None."""

    def __init__(self, code: int, message: str, data: object | None = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RpcError):
            return NotImplemented
        return (self.code, self.message, self.data) == (other.code, other.message, other.data)

    def __hash__(self) -> int:
        return hash((self.code, self.message))


@dataclass(frozen=True)
class Request:
    """A valid request. Without `wants_reply` it is a notification, which is run and not answered."""

    method: str
    params: Mapping[str, Any]
    id: RequestId = None
    wants_reply: bool = True


@dataclass(frozen=True)
class Invalid:
    """A request that is answered by an error without being run."""

    error: RpcError
    id: RequestId = None


@dataclass(frozen=True)
class Batch:
    """The requests of one body; `in_array` says that the reply is an array too (two or more requests)."""

    entries: tuple[Request | Invalid, ...]
    in_array: bool = False


@dataclass(frozen=True)
class Reply:
    """An answer: to which request, and the result or the error. `malformed` = it is neither."""

    id: RequestId
    result: Any = None
    error: RpcError | None = None
    malformed: bool = False


def method_not_found(method: str) -> RpcError:
    """The error for a method that does not exist."""
    return RpcError(METHOD_NOT_FOUND, f"The method {method[:100]!r} does not exist or is not available")


def read_requests(body: bytes, limits: Limits = DEFAULT_LIMITS) -> Batch:
    """The requests in a body; one that holds none or too many is one Invalid entry with id null."""
    try:
        value = _load(body, limits)
    except RpcError as error:
        return Batch((Invalid(error),))
    if not isinstance(value, list):
        return Batch((_request(value),))
    if not value:
        return Batch((Invalid(RpcError(INVALID_REQUEST, "Invalid request: the array is empty")),))
    if len(value) > limits.batch_requests_max:
        message = f"Invalid request: {len(value)} requests in one array; {limits.batch_requests_max} allowed"
        return Batch((Invalid(RpcError(INVALID_REQUEST, message)),))
    return Batch(tuple(_request(item) for item in value), in_array=len(value) > 1)


def read_messages(body: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Reply | Request]:
    """The replies and notifications in a body that a server sent, an object or an array of them.

    Raises RpcError when the body is no such JSON. Items that are neither reply nor notification are left out.
    """
    value = _load(body, limits)
    items = value if isinstance(value, list) else [value]
    messages: list[Reply | Request] = []
    for item in items:
        if isinstance(item, dict) and "method" in item:
            request = _request(item)
            if isinstance(request, Request):
                messages.append(request)
        elif isinstance(item, dict) and _is_id(item.get("id")):
            messages.append(_reply(item))
    return messages


def reply_body(replies: Sequence[bytes], *, in_array: bool) -> bytes:
    """The body of some replies: an array, or the bare object of the only one."""
    return b"[" + b",".join(replies) + b"]" if in_array else replies[0]


def result(request_id: RequestId, value: Any) -> bytes:
    """The reply object that carries a result. Raises as `dump`."""
    return dump({"jsonrpc": "2.0", "id": request_id, "result": value})


def failure(request_id: RequestId, error: RpcError) -> bytes:
    """The reply object that carries an error. Raises as `dump`."""
    content: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        content["data"] = error.data
    return dump({"jsonrpc": "2.0", "id": request_id, "error": content})


def request_body(request_id: str, method: str, params: Mapping[str, Any]) -> bytes:
    """The array of one request, as hosts expect it. Raises as `dump`."""
    return dump([{"jsonrpc": "2.0", "method": method, "params": dict(params), "id": request_id}])


def notification_body(method: str, params: Mapping[str, Any]) -> bytes:
    """A notification. Raises as `dump`."""
    return dump({"jsonrpc": "2.0", "method": method, "params": dict(params)})


def dump(value: Any) -> bytes:
    """Compact JSON. Raises TypeError, ValueError or RecursionError for what JSON cannot carry."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _load(body: bytes, limits: Limits) -> Any:
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(limits) from None
    except ValueError:  # JSONDecodeError, UnicodeDecodeError, a number of too many digits
        raise RpcError(PARSE_ERROR, "Parse error: the body is not JSON in UTF-8") from None
    level = [value]
    for _ in range(limits.json_depth_max):
        level = [child for item in level for child in _children(item)]
        if not level:
            return value
    raise _too_deep(limits)


def _children(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _too_deep(limits: Limits) -> RpcError:
    return RpcError(INVALID_REQUEST, f"Invalid request: nested deeper than {limits.json_depth_max} levels")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_id(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _request(value: Any) -> Request | Invalid:
    if not isinstance(value, dict):
        return Invalid(RpcError(INVALID_REQUEST, "Invalid request: a request is an object"))
    request_id = value.get("id")
    if not _is_id(request_id):
        return Invalid(RpcError(INVALID_REQUEST, "Invalid request: id is a string, a number or null"))
    if value.get("jsonrpc") != "2.0":
        return Invalid(RpcError(INVALID_REQUEST, 'Invalid request: jsonrpc must be "2.0"'), request_id)
    method = value.get("method")
    if not isinstance(method, str):
        return Invalid(RpcError(INVALID_REQUEST, "Invalid request: method must be a string"), request_id)
    params = value.get("params")
    if params == []:  # how VDSM's own client says that there are none
        params = None
    if isinstance(params, list):
        return Invalid(RpcError(INVALID_PARAMS, "Invalid params: give them by name, in an object"), request_id)
    if params is not None and not isinstance(params, dict):
        return Invalid(RpcError(INVALID_REQUEST, "Invalid request: params must be an object"), request_id)
    return Request(method, params or {}, request_id, wants_reply="id" in value)


def _reply(item: dict[str, Any]) -> Reply:
    error = item.get("error")
    if error is None:
        return Reply(item.get("id"), item.get("result"), malformed="result" not in item)
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    if not isinstance(code, int) or not isinstance(message, str):
        return Reply(item.get("id"), malformed=True)
    return Reply(item.get("id"), error=RpcError(code, message, error.get("data")))
