"""Trials: after an engine died, the flows that it left are run one at a time, each attempt counted beforehand.

A flow that kills engine after engine is so found and parked, while those beside it are not blamed (hard case 14).
"""

from collections import deque
from collections.abc import Callable

from interlock.coordinator.work import Asked, Slot
from interlock.core.flow import Flow
from interlock.model.replacing import replace


class Trials:
    """Admits one suspect flow at a time."""

    def __init__(self, schedule: Callable[[Slot], None]) -> None:
        self._schedule = schedule
        self._current: Slot | None = None
        self._waiting: deque[Slot] = deque()

    def admit(self, slot: Slot) -> bool:
        """Whether the flow may run now; if so and it is new on trial, its attempt is to be counted first."""
        if self._current is slot:
            return True
        if self._current is not None:
            if slot not in self._waiting:
                self._waiting.append(slot)
            return False
        self._current = slot
        slot.errands.append(Asked(_count))
        return True

    def over(self, slot: Slot) -> None:
        """The flow's run has come to an end, whatever end; the next one's turn."""
        if self._current is slot:
            self._current = None
            if self._waiting:
                self._schedule(self._waiting.popleft())

    def dissolve(self) -> None:
        """No flow is suspect any more."""
        waiting, self._waiting = self._waiting, deque()
        for slot in waiting:
            self._schedule(slot)


def _count(flow: Flow) -> None:
    flow.put_job(replace(flow.job, claims=flow.job.claims + 1))
