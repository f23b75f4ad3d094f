"""What the journal's entries add up to: tasks, terms of flows, and ids that must not be started again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from interlock.agent.journal.remembering import Remembered, is_time_ordered
from interlock.agent.records import Entry, HostTask

#: How many cleared or forbidden ids are remembered one by one; older ones lie below the low-water id.
CLOSED_MAX = 50_000
#: How many flows' terms are remembered; unknown flows older than the oldest dropped one are refused.
FLOWS_MAX = 50_000
#: How many clusters' generations are remembered; those that came first are forgotten first.
CLUSTERS_MAX = 1_000
_CHUNK = 1_000


class Ledger:
    """A fold over entries: `apply` them in order; `entries` gives back fewer that say the same."""

    def __init__(self, *, closed_max: int = CLOSED_MAX, flows_max: int = FLOWS_MAX) -> None:
        self.tasks: dict[str, HostTask] = {}
        self._closed: Remembered[int | None] = Remembered(closed_max)
        self._terms: Remembered[int] = Remembered(flows_max)
        #: The highest generation seen of each cluster.
        self.generations: dict[str, int] = {}

    @property
    def closed(self) -> Mapping[str, int | None]:
        """Cleared ids (None), and ids that only a start of at least this term may use."""
        return self._closed.values

    @property
    def low_water(self) -> str:
        """No time-ordered id up to this one may be started unless it is known."""
        return self._closed.low_water

    @property
    def terms(self) -> Mapping[str, int]:
        """The highest term seen of each flow."""
        return self._terms.values

    @property
    def flow_low_water(self) -> str:
        """The terms of time-ordered flows up to this one may have been forgotten."""
        return self._terms.low_water

    def apply(self, entry: Entry) -> None:
        """Takes in one entry. Raises KeyError on one that no version of the agent wrote."""
        match entry["kind"]:
            case "task":
                task = HostTask.from_entry(entry)
                self.tasks[task.id] = task
                self._closed.drop(task.id)
            case "forgotten":
                del self.tasks[entry["id"]]
            case "cleared":
                for task_id in entry["ids"]:
                    self.tasks.pop(task_id, None)
                    self._closed.put(task_id, None)
            case "forbidden":
                for task_id, term in entry["terms"].items():
                    self._closed.put(task_id, max(term, self.closed.get(task_id) or 0))
            case "terms":
                for flow, term in entry["terms"].items():
                    self._terms.put(flow, max(term, self.terms.get(flow, 0)))
            case "generations":
                for cluster, generation in entry["generations"].items():
                    self.generations[cluster] = max(generation, self.generations.pop(cluster, 0))
                while len(self.generations) > CLUSTERS_MAX:
                    del self.generations[next(iter(self.generations))]
            case "low_water":
                self._closed.raise_low_water(entry["task"])
                self._terms.raise_low_water(entry["flow"])
            case unknown:
                raise KeyError(f"the journal has an entry of the unknown kind {unknown!r}")

    def entries(self) -> Iterator[Entry]:
        """The shortest entries from which the same ledger comes."""
        yield {"kind": "low_water", "task": self.low_water, "flow": self.flow_low_water}
        for task in self.tasks.values():
            yield task.to_entry()
        for chunk in _chunks(self.generations.items()):
            yield {"kind": "generations", "generations": dict(chunk)}
        for chunk in _chunks(self.terms.items()):
            yield {"kind": "terms", "terms": dict(chunk)}
        for ids in _chunks((task_id, 0) for task_id, term in self.closed.items() if term is None):
            yield {"kind": "cleared", "ids": [task_id for task_id, _ in ids]}
        for pairs in _chunks((task_id, term) for task_id, term in self.closed.items() if term is not None):
            yield {"kind": "forbidden", "terms": dict(pairs)}

    def is_too_old(self, task_id: str) -> bool:
        """Whether what is remembered does not reach back to this id: it may have run and been cleared."""
        return is_time_ordered(task_id) and task_id <= self.low_water

    def highest_term(self, flow: str) -> int | None:
        """The highest term seen of a flow, or None if the flow is new."""
        return self.terms.get(flow)

    def is_flow_too_old(self, flow: str) -> bool:
        """Whether the flow's highest term may have been forgotten."""
        return flow not in self.terms and is_time_ordered(flow) and flow <= self.flow_low_water


def _chunks(pairs: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    rest = iter(pairs)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
