"""After every test, all invariants hold in every database that it used. Logs are kept, not printed."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from interlock.invariants import check
from interlock.store.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's database goes."""
    return tmp_path / "state.db"


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged so far."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture(autouse=True)
def _invariants_hold(tmp_path: Path) -> Iterator[None]:
    yield
    for file in tmp_path.glob("*.db"):
        with Database.open(f"sqlite:///{file}") as database, database.reader() as connection:
            assert check(connection) == [], file.name
