"""The API's client: JSON over a Unix socket, every failure turned into a Stop with its exit code."""

import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode

from interlock.cli.exits import Exit, Stop

#: how long one answer may take; a long poll adds its own wait
ANSWER_S_MAX = 30.0
CONNECT_S_MAX = 5.0

ROOT = "/api/v1"


class NoServer(Stop):
    """Nothing listens, or it is stopping: certain that nothing was taken."""


class Cut(Stop):
    """The connection broke before the answer: what was asked may have happened."""


class Client:
    """Talks to `interlock serve` on one socket, a connection for each request."""

    def __init__(self, path: str) -> None:
        self.socket = path

    def get(self, path: str, *, wait_s: float = 0.0, **query: Any) -> Any:
        """The JSON at `path`; query values of None are left out. Raises Stop."""
        return self._send("GET", path, query={**query, "wait_s": wait_s or None}, timeout_s=ANSWER_S_MAX + wait_s)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the server answers to `body`. Raises Stop; Cut where the fate is open."""
        return self._send("POST", path, body=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """As `post`, to change what is at `path`. Raises Stop; Cut where the fate is open."""
        return self._send("PATCH", path, body=body)

    def delete(self, path: str, **query: Any) -> Any:
        """Removes what is at `path`. Raises Stop; Cut where the fate is open."""
        return self._send("DELETE", path, query=query)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float = ANSWER_S_MAX,
    ) -> Any:
        words = urlencode({key: _in_query(value) for key, value in _given(query or {}).items()})
        target = f"{ROOT}{quote(path, safe='/%')}?{words}"
        text = None if body is None else _json(_given(body))
        headers = {} if text is None else {"Content-Type": "application/json"}
        with closing(_Connection(self.socket, timeout_s)) as connection:
            self._connect(connection)
            try:
                connection.request(method, target, text, headers)
                answer = connection.getresponse()
                read = answer.read()
            except (OSError, http.client.HTTPException) as error:
                why = f"the server on {self.socket} did not answer {method} {path}: {_words(error)}"
                raise Cut(Exit.UNKNOWN, why) from None
        return _understood(answer.status, read)

    def _connect(self, connection: "_Connection") -> None:
        """Raises NoServer, or Stop with DENIED; the operating system's answer says which."""
        try:
            connection.connect()
        except PermissionError:
            raise Stop(
                Exit.DENIED, f"you may not use {self.socket}; it belongs to the user who runs the server"
            ) from None
        except OSError:
            raise self._no_server() from None

    def _no_server(self) -> NoServer:
        return NoServer(
            Exit.FAILED,
            f"no server answers on {self.socket}; start one with `interlock serve --state DIR`, "
            "or name its socket with --socket",
        )


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket. `close` gives the socket back, also where connecting failed."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("interlock")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_S_MAX)
        self.sock.connect(self._path)
        self.sock.settimeout(self._timeout_s)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _in_query(value: Any) -> str:
    return _json(value) if isinstance(value, bool) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _understood(status: int, text: bytes) -> Any:
    """The JSON of an answer that is a success. Raises Stop for any other."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if 200 <= status < 300 and body is not None:
        return body
    if not isinstance(body, dict):
        body = {}
    reasons = body.get("reasons") or [f"the server answered {status} and no reason in JSON"]
    if status == 503:
        raise NoServer(Exit.FAILED, *reasons)
    raise Stop(_exit_code(status), *reasons, job_id=body.get("job_id"), column=body.get("column"))


def _exit_code(status: int) -> Exit:
    if status in (401, 403):
        return Exit.DENIED
    if status in (400, 413, 415, 422):
        return Exit.USAGE
    return Exit.UNKNOWN if status >= 500 else Exit.FAILED


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
