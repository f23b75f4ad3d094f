"""What holds for all tests."""

import pytest
import structlog


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that take longest first, so that every worker has work to the end."""
    items.sort(key=lambda item: "killing" not in item.path.parts)


@pytest.fixture(autouse=True)
def _logs_as_they_come() -> None:
    """What a program run by another test has configured does not decide which lines this one hears."""
    structlog.reset_defaults()
