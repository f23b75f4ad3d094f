"""Answers that are lost: submitted once all the same, watched on, or said to be unknown."""

import gc
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.cli import job_commands
from interlock.cli.client import Client, Cut, NoServer
from interlock.cli.exits import Exit, Stop
from interlock.cli.watching import AWAY_S_MAX, Lines, watch
from tests.cli.conftest import Interlock

WAIT_S = 10.0


class RawServer:
    """Answers requests with given bytes, one per request; b"" cuts the connection."""

    def __init__(self, path: Path) -> None:
        self.answers: list[bytes] = []
        self.bodies: list[Any] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(WAIT_S)
                data = connection.recv(65536)
                if data == b"stop":
                    return
                while not data.endswith(b"}"):
                    data += connection.recv(65536)
                self.bodies.append(json.loads(data.partition(b"\r\n\r\n")[2]))
                connection.sendall(self.answers.pop(0))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self._listener.getsockname())
            last.sendall(b"stop")
        self._thread.join(WAIT_S)
        self._listener.close()


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[RawServer]:
    made = RawServer(tmp_path / "s")
    yield made
    made.close()


def http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.hard_case(17)
def test_a_lost_answer_is_asked_for_again_under_the_same_key(raw: RawServer, interlock: Interlock) -> None:
    raw.answers = [b"", http("200 OK", b'{"job_id": "j1", "repeated": true}')]
    ran = interlock("run", "vm.remove", "vm=web1")
    assert (ran.code, ran.out) == (0, "j1\n")
    assert len(raw.bodies) == 2
    assert raw.bodies[0] == raw.bodies[1]
    assert raw.bodies[0]["idempotency_key"]


def test_an_answer_that_stays_lost_is_unknown_and_says_how_to_find_out(
    raw: RawServer, interlock: Interlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_commands, "RESEND_S_MAX", 0.0)
    raw.answers = [b""]
    ran = interlock("run", "vm.remove", "vm=web1")
    assert ran.code == 3
    assert f"--idempotency-key {raw.bodies[0]['idempotency_key']}" in ran.err


@pytest.mark.parametrize(
    ("status", "code"), [("403 Forbidden", 4), ("500 Oops", 3), ("409 Conflict", 1), ("422 No", 64), ("503 Busy", 1)]
)
def test_statuses_become_exit_codes(raw: RawServer, interlock: Interlock, status: str, code: int) -> None:
    raw.answers = [http(status, b'{"error": "x", "reasons": ["because"]}')]
    ran = interlock("run", "vm.remove")
    assert (ran.code, ran.err) == (code, "interlock: because\n")


def test_an_answer_that_is_not_json_is_no_stack_trace(raw: RawServer, interlock: Interlock) -> None:
    raw.answers = [http("200 OK", b"<html>")]
    ran = interlock("run", "vm.remove")
    assert (ran.code, ran.err) == (1, "interlock: the server answered 200 and no reason in JSON\n")


@pytest.mark.parametrize("bound", [False, True])
def test_a_server_that_had_just_gone_left_a_socket_open(tmp_path: Path, bound: bool) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as deaf:
        if bound:
            deaf.bind(path)
        with pytest.raises(NoServer, match="no server answers"):
            Client(path).get("/jobs")
    gc.collect()  # a socket that is still open would warn, and a warning is an error


class Gone:
    """A client whose server never comes back; a clock that only moves when somebody sleeps."""

    def __init__(self, error: type[Stop]) -> None:
        self.socket = "s"
        self.error = error
        self.now = 0.0

    def get(self, path: str, **query: Any) -> Any:
        raise self.error(Exit.FAILED, "no server answers on s")

    def monotonic_s(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("error", [NoServer, Cut])
def test_watching_gives_up_when_the_server_stays_away(error: type[Stop]) -> None:
    gone = Gone(error)
    with pytest.raises(Stop) as stopped:
        watch(gone, "j1", Lines(print), monotonic_s=gone.monotonic_s, sleep=gone.sleep)
    assert (stopped.value.code, stopped.value.reasons) == (Exit.UNKNOWN, ("no server answers on s",))
    assert AWAY_S_MAX < gone.now < AWAY_S_MAX + 2


def test_a_time_limit_holds_while_the_server_is_away() -> None:
    gone = Gone(NoServer)
    with pytest.raises(Stop) as stopped:
        watch(gone, "j1", Lines(print), timeout_s=3.2, monotonic_s=gone.monotonic_s, sleep=gone.sleep)
    assert stopped.value.code is Exit.TIMEOUT
    assert gone.now == pytest.approx(3.2)
