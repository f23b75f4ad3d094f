"""A server to talk to, and the program run in this process."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from interlock.cli.program import run
from tests.cli.serving import Server


@dataclass(frozen=True)
class Ran:
    """What a run of the program did."""

    code: int
    out: str
    err: str


Interlock = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What the server logs is not what the program prints."""
    with capture_logs():
        yield


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.close()


@pytest.fixture
def interlock(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Interlock:
    """Runs `interlock --socket <of the server> …`; with `terminal` as if on a narrow one."""
    monkeypatch.setenv("INTERLOCK_SOCKET", str(tmp_path / "s"))

    def call(*arguments: str, terminal: bool = False) -> Ran:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if terminal:
                patch.setattr(sys.stdout, "isatty", lambda: True)
                patch.setenv("COLUMNS", "80")
                patch.setenv("TERM", "xterm-256color")
            code = run(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call
