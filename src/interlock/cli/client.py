"""The API's client: JSON over a Unix socket, every failure turned into a Stop with its exit code."""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from interlock.cli.exits import Exit, Stop

if TYPE_CHECKING:
    import httpx

#: how long one answer may take; a long poll adds its own wait
ANSWER_S_MAX = 30.0
CONNECT_S_MAX = 5.0


class NoServer(Stop):
    """Nothing listens, or it is stopping: certain that nothing was taken."""


class Cut(Stop):
    """The connection broke before the answer: what was asked may have happened."""


class Client:
    """Talks to `interlock serve` on one socket. Not safe for several threads."""

    def __init__(self, path: str) -> None:
        import httpx  # late: half of the start-up time

        self.socket = path
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=path),
            base_url="http://interlock/api/v1",
            timeout=httpx.Timeout(ANSWER_S_MAX, connect=CONNECT_S_MAX),
        )

    def get(self, path: str, *, wait_s: float = 0.0, **query: Any) -> Any:
        """The JSON at `path`; query values of None are left out. Raises Stop."""
        given = {key: value for key, value in query.items() if value is not None}
        if wait_s:
            given["wait_s"] = wait_s
        return self._send("GET", path, params=given, timeout_s=ANSWER_S_MAX + wait_s)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the server answers to `body`. Raises Stop; Cut where the fate is open."""
        return self._send("POST", path, json={key: value for key, value in body.items() if value is not None})

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """As `post`, to change what is at `path`. Raises Stop; Cut where the fate is open."""
        return self._send("PATCH", path, json={key: value for key, value in body.items() if value is not None})

    def delete(self, path: str, **query: Any) -> Any:
        """Removes what is at `path`. Raises Stop; Cut where the fate is open."""
        return self._send("DELETE", path, params=query)

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, *, timeout_s: float = ANSWER_S_MAX, **options: Any) -> Any:
        import httpx

        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S_MAX)
        self._check_listening()
        try:
            answer = self._http.request(method, path, timeout=timeout, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise self._no_server() from None
        except httpx.TransportError as error:
            raise Cut(
                Exit.UNKNOWN, f"the server on {self.socket} did not answer {method} {path}: {_words(error)}"
            ) from None
        return _read(answer)

    def _check_listening(self) -> None:
        """Raises NoServer, or Stop with DENIED; the operating system's answer says which."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(CONNECT_S_MAX)
            try:
                probe.connect(self.socket)
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


def _read(answer: "httpx.Response") -> Any:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_success and body is not None:
        return body
    if not isinstance(body, dict):
        body = {}
    reasons = body.get("reasons") or [f"the server answered {answer.status_code} and no reason in JSON"]
    if answer.status_code == 503:
        raise NoServer(Exit.FAILED, *reasons)
    raise Stop(_exit_code(answer.status_code), *reasons, job_id=body.get("job_id"), column=body.get("column"))


def _exit_code(status: int) -> Exit:
    if status in (401, 403):
        return Exit.DENIED
    if status in (400, 413, 415, 422):
        return Exit.USAGE
    return Exit.UNKNOWN if status >= 500 else Exit.FAILED


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
