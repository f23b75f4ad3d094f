"""Cursors: where a page ended, for the same query only; new rows do not move them."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.model.errors import InvalidInput
from interlock.model.text import is_storable


@dataclass(frozen=True)
class Cursor:
    """The key of the last row that was looked at, and the time that `now` meant on the first page."""

    key: tuple[Any, Any]
    now: int


def write(cursor: Cursor, of: str) -> str:
    """As text; `of` is what was asked."""
    key, id = cursor.key
    told = [_digest(of), key, str(id) if isinstance(id, UUID) else id, cursor.now]
    told[1] = {"id": str(key)} if isinstance(key, UUID) else key
    return base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).decode().rstrip("=")


def read(text: str, of: str) -> Cursor:
    """What `write` wrote. Raises InvalidInput, also for the cursor of another query."""
    try:
        digest, key, id, now = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        key = UUID(key["id"]) if isinstance(key, dict) else key
        id = UUID(id) if isinstance(id, str) else id
        sound = isinstance(id, (int, UUID)) and isinstance(now, int) and all(map(_is_storable, (key, id, now)))
    except (ValueError, TypeError, KeyError, RecursionError):
        sound, digest = False, None
    if not sound or digest != _digest(of):
        raise InvalidInput("this cursor belongs to another query; ask without it for the first page")
    return Cursor((key, id), now)


def _is_storable(value: object) -> bool:
    """Whether a row can hold it; nobody but us writes cursors, but anybody may send what looks like one."""
    if isinstance(value, str):
        return is_storable(value)
    return isinstance(value, UUID) or (isinstance(value, int) and abs(value) < 1 << 62)


def _digest(of: str) -> str:
    return hashlib.sha256(of.encode("utf-8", "surrogatepass")).hexdigest()[:12]
