"""What a simulated host's disks hold: images, and how often each step of each task had its effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

#: a storage domain and an image in it
Place = tuple[str, str]

#: the steps that must have their effect once, but for what was taken back
ONLY_ONCE = frozenset({"make", "extend", "format", "detach"})
#: of these, those of which nobody can see whether they had it
BLIND = frozenset({"format", "detach"})
#: the last step of each verb
LAST = frozenset({"make", "fill", "extend", "remove", "format", "detach"})


@dataclass
class Image:
    """An image that is there: the task that made it, and whether it holds what it should."""

    maker: str
    is_whole: bool = True


@dataclass(eq=False)
class Storage:
    """Effects that are there. It survives the agent, and the loss of its journal."""

    name: str
    images: dict[Place, Image] = field(default_factory=dict)
    #: how often each step of each task had its effect, and was taken back
    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    undone: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: it works a hundred times slower until then
    slow_until_s: float = 0.0
    #: called with its step when an effect is there, of which nobody knows yet
    after_effect: Callable[[str], None] = lambda step: None
    #: the ids of the tasks that the agent has ever taken
    taken: set[str] = field(default_factory=set)
    #: the incarnation of the journal, and the ids of the tasks in it, as long as an agent answers
    journal: Callable[[], str | None] = lambda: None
    tasks: Callable[[], Collection[str]] = tuple

    def steps_of(self, task_id: str) -> str:
        """What was done for a task, in words."""
        done = [f"{step} {many}" for (task, step), many in self.made.items() if task == task_id]
        undone = [f"{step} undone {many}" for (task, step), many in self.undone.items() if task == task_id]
        return ", ".join(done + undone) or "nothing"

    def is_done(self, task_id: str) -> bool:
        """Whether all of a task was done, and none of it taken back."""
        return any(self._net(task_id, step) > 0 for step in LAST)

    def is_there(self, task_id: str) -> bool:
        """Whether an effect of the task is there."""
        return any(self._net(task_id, step) > 0 for task, step in self.made if task == task_id)

    def twice(self) -> Iterator[tuple[str, str, int]]:
        """What must have its effect once and had it more often, but for what was taken back: task, step, how often."""
        for (task, step), many in self.made.items():
            if step in ONLY_ONCE and many > 1 + self.undone[task, step]:
                yield task, step, many

    def image_of(self, task_id: str) -> Place | None:
        """The image that is there because of a task."""
        return next((place for place, image in self.images.items() if image.maker == task_id), None)

    def _net(self, task_id: str, step: str) -> int:
        return self.made[task_id, step] - self.undone[task_id, step]
