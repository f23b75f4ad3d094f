"""After every test, all invariants hold in every database that it used. Logs are kept, not printed."""

from collections import Counter
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from interlock.invariants import check
from tests import databases

#: what these show depends on the database: all their tests run on both
ON_BOTH = {
    "test_actions",
    "test_changed",
    "test_database_lost",
    "test_engine",
    "test_hard_cases",
    "test_limits",
    "test_lock_waiting",
    "test_locking",
    "test_preview",
    "test_recovery",
    "test_retention",
    "test_submitting",
    "test_why",
}
#: of each other module so many, the first, do: they show decisions, over the statements that these execute, too
FIRST = 3


@pytest.hookimpl(tryfirst=True)  # before what is long is left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The other tests of those modules run on PostgreSQL in `make kill`."""
    seen = Counter[Path]()
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.stem not in ON_BOTH:
            seen[item.path] += (is_second := "[postgresql" in item.nodeid)
            if is_second and seen[item.path] > FIRST:
                item.add_marker(pytest.mark.long)


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
