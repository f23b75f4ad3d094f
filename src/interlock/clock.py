"""Time as a value that is handed in: wall time in microseconds, and a monotonic clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time. Tests and the simulator hand in their own."""

    def now_us(self) -> int:
        """Wall time, microseconds since 1970 in UTC; for showing, never for measuring."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only grow; for deadlines and back-off."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        return time.monotonic()
