"""A bounded memory by id, in which what was forgotten is known to be older than a low-water id."""

from __future__ import annotations

import heapq
import re
from typing import Generic, TypeVar

V = TypeVar("V")
_TIME_ORDERED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_time_ordered(id: str) -> bool:
    """Whether the id is a UUID of version 7, which tells by itself whether it is older than another one."""
    return _TIME_ORDERED.fullmatch(id) is not None


class Remembered(Generic[V]):
    """Values of at most `ids_max` time-ordered ids, and of as many others.

    Of the former the oldest ids are forgotten first, and the low-water id rises to them. Of the latter those that
    came first are forgotten first: nothing tells their age, so nothing can be refused for it.
    """

    def __init__(self, ids_max: int) -> None:
        self._ids_max = ids_max
        self.values: dict[str, V] = {}
        self.low_water = ""
        #: A heap; an id that was dropped and put again is in it twice.
        self._by_age: list[str] = []
        self._as_they_came: dict[str, None] = {}

    def put(self, id: str, value: V) -> None:
        """Remembers a value, and forgets others if there are too many."""
        if id not in self.values:
            if is_time_ordered(id):
                heapq.heappush(self._by_age, id)
            else:
                self._as_they_came[id] = None
        self.values[id] = value
        while len(self._as_they_came) > self._ids_max:
            self.drop(next(iter(self._as_they_came)))
        while len(self.values) - len(self._as_they_came) > self._ids_max:
            oldest = heapq.heappop(self._by_age)
            if oldest in self.values:  # one that was dropped is there no more
                del self.values[oldest]
                self.raise_low_water(oldest)

    def drop(self, id: str) -> None:
        """Has no value for this id any more, without calling it forgotten; an unknown one is fine."""
        self.values.pop(id, None)
        self._as_they_came.pop(id, None)

    def raise_low_water(self, id: str) -> None:
        """Calls everything forgotten up to this id that is not remembered; it never sinks."""
        self.low_water = max(self.low_water, id)
