"""What holds for all tests."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from interlock.app import calm_garbage_collector
from tests import compiling, databases

# what a shell has begun in the background ignores Ctrl-C, and so would all that tests begin
signal.signal(signal.SIGINT, signal.default_int_handler)
# what one process has compiled, the next hundred need not, whatever the environment says
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# thousands of tests are collected, and none of them goes
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that take longest first, so that every worker has work to the end."""
    items.sort(key=lambda item: "killing" not in item.path.parts)
    gc.enable()
    calm_garbage_collector()


def pytest_sessionfinish() -> None:
    databases.stop()


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    with compiling.shared():
        yield


@pytest.fixture(params=databases.DIALECTS)
def scratch(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[databases.Scratch]:
    """A database of this test alone, once on each dialect."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with databases.scratch(request.param, tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def _logs_as_they_come() -> None:
    """What a program run by another test has configured does not decide which lines this one hears."""
    structlog.reset_defaults()
