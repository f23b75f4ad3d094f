"""What holds for all tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that take longest first, so that every worker has work to the end."""
    items.sort(key=lambda item: "killing" not in item.path.parts)
