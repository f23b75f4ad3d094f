"""Room on a host: which of the tasks that wait to be sent may be sent now, where a limit of the host says how many.

What is held back is not bound to the host's journal yet, so that its row says for certain that it was never sent.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from interlock.clock import Clock
from interlock.coordinator.configured import ConfiguredLimits
from interlock.coordinator.watched import Watched
from interlock.core import limiting
from interlock.core.facts import Fact, TaskHeldBack
from interlock.core.limiting import Standing
from interlock.model.limits import STARTS_MAX, of_host
from interlock.model.refs import Ref
from interlock.model.states import TaskState


class HostRoom:
    """One per host; lives in the loop."""

    def __init__(
        self, host: Ref[Any], limits: ConfiguredLimits, clock: Clock, tell: Callable[[UUID, Fact], None]
    ) -> None:
        self._key = of_host(host)
        self._limits = limits
        self._clock = clock
        self._tell = tell
        self._under_way: set[UUID] = set()
        self._starts: deque[int] = deque(maxlen=STARTS_MAX)
        self._told: set[UUID] = set()
        #: how many were held back when it was last asked
        self.held_back = 0

    def started_before(self, starts: Iterable[int]) -> None:
        """What the rows say of starts before this engine's."""
        self._starts.extend(sorted(starts))

    def note(self, watched: Watched) -> None:
        """A task came into the host's care: it is under way unless it was certainly never sent, or has ended."""
        if watched.task.outcome is not None:
            self.forget(watched.task.id)
        elif not _may_wait(watched):
            self._under_way.add(watched.task.id)

    def forget(self, task_id: UUID) -> None:
        """The task is under way no more."""
        self._under_way.discard(task_id)
        self._told.discard(task_id)

    def admit(self, to_do: Iterable[Watched]) -> list[Watched]:
        """Those for which something may be done now, the first in line first. Patience with the others begins anew:
        it is not their host that makes them wait."""
        to_do = list(to_do)
        limit, self.held_back = self._limits.now.get(self._key), 0
        waiting = sorted((each for each in to_do if _may_wait(each)), key=_place)
        admitted = [each for each in to_do if not _may_wait(each)]
        now, now_s = self._clock.now_us(), self._clock.monotonic_s()
        recent = limiting.in_window(limit, self._starts, now) if limit is not None else []
        for each in waiting:
            if limit is not None:
                standing = Standing(limit, len(self._under_way), recent, self.held_back)
                if not limiting.room(standing):
                    self._hold(each, standing, now_s)
                    continue
            self._under_way.add(each.task.id)
            self._starts.append(now)
            recent.append(now)
            admitted.append(each)
        return admitted

    def _hold(self, watched: Watched, standing: Standing, now_s: float) -> None:
        task = watched.task
        self.held_back += 1
        watched.since_s = watched.heard_s = now_s
        if task.id not in self._told:
            self._told.add(task.id)
            self._tell(task.flow_id, TaskHeldBack(task.id, limiting.words(standing)))


def _may_wait(watched: Watched) -> bool:
    return watched.task.state is TaskState.INITIALIZING and watched.task.incarnation is None


def _place(watched: Watched) -> tuple[int, UUID]:
    return watched.rank, watched.task.id
