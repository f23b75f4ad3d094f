"""After every test, all invariants hold in every database that it used. Logs are kept, not printed."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from interlock.invariants import check
from tests import databases


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged so far."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def scratch(scratch: databases.Scratch, tmp_path: Path) -> Iterator[databases.Scratch]:
    yield scratch
    urls = [f"sqlite:///{file}" for file in tmp_path.glob("*.db")]
    for url in urls if scratch.dialect == "sqlite" else databases.postgres().urls_taken():
        with databases.looking(url) as connection:
            assert check(connection) == [], url
