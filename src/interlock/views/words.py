"""How values are written: times, refs, JSON bodies."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from interlock.model.refs import Ref

Json: TypeAlias = dict[str, Any]  # an object ready for JSON

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(microseconds: int | None) -> str | None:
    """A stored time as ISO 8601 in UTC: `2026-01-31T08:00:00.000000Z`."""
    if microseconds is None:
        return None
    time = _EPOCH + timedelta(microseconds=microseconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def text(id: UUID | None) -> str | None:
    """An id in its usual form."""
    return None if id is None else str(id)


def refs(found: Iterable[Ref[Any]]) -> list[str]:
    """Refs as `type:id`."""
    return [str(ref) for ref in found]


def value(json_text: str | None) -> Any:
    """Stored JSON as a value."""
    return None if json_text is None else json.loads(json_text)
