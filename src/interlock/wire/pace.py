"""How fast a peer is read: a burst at once, then so many frames each second."""

from interlock.wire.limits import Limits

#: A budget of one frame, as far as the rounding of seconds can tell.
_WHOLE = 0.999


class Pace:
    """A budget of frames that refills with time; times are seconds on any one clock that never goes back."""

    def __init__(self, limits: Limits) -> None:
        self._burst = float(limits.frames_burst_max)
        self._per_s = limits.frames_per_s_max
        self._left = self._burst
        self._at_s: float | None = None

    def wait_s(self, now_s: float) -> float:
        """How long to wait before the next frame; 0 = take it now.

        A budget that is used up is waited for until a tenth of a second's worth is there again, so that a peer at
        the bound is not paused and resumed for each frame.
        """
        if self._at_s is not None:
            self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left >= _WHOLE:
            return 0.0
        worth = max(1.0, min(self._burst, self._per_s / 10))
        return (worth - self._left) / self._per_s

    def count(self) -> None:
        """One frame was taken."""
        self._left -= 1
