"""When to look again: 1, 2, 4, 8, 10 seconds while nothing changes, back to the first on a change."""

from typing import Any


class Backoff:
    """Pauses that double up to a bound; also remembers what was last seen, so that news is known as news."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s
        self._seen: dict[Any, Any] = {}

    def next(self) -> float:
        """The pause to make now, in seconds."""
        pause_s = self._next_s
        self._next_s = min(pause_s * 2, self._longest_s)
        return pause_s

    def reset(self) -> None:
        self._next_s = self._first_s

    def note(self, key: Any, value: Any) -> bool:
        """Whether this is news; news resets the pause."""
        if self._seen.get(key) == value:
            return False
        self._seen[key] = value
        self.reset()
        return True

    def forget(self, key: Any) -> None:
        """The key is of no more interest; that, too, is a change."""
        self._seen.pop(key, None)
        self.reset()
