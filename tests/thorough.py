"""A state machine of hypothesis twice: few examples for `make test`, many for `make kill`."""

from typing import Any

import pytest
from hypothesis import settings


def with_examples(case: Any, number: int) -> Any:
    """The same test case, for `make kill`, with so many examples."""
    more = type(f"{case.__name__}Thoroughly", (case,), {"settings": settings(case.settings, max_examples=number)})
    return pytest.mark.long(more)
