"""How many connections readers share."""

from typing import Any

from sqlalchemy.pool import QueuePool

#: connections kept open, how many more there may be at once, and how long one waits for one
READERS_KEPT, READERS_MORE_MAX, READER_WAIT_S = 8, 24, 30

READERS: dict[str, Any] = {
    "poolclass": QueuePool,
    "pool_size": READERS_KEPT,
    "max_overflow": READERS_MORE_MAX,
    "pool_timeout": READER_WAIT_S,
}
