"""Whether what a run was decided by is still so when it is committed: no write skew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from interlock.coordinator.change_set import ChangeSet
from interlock.model.records import EntityRecord
from interlock.model.refs import Ref


class Reads:
    """The versions of all entities, as commits write them; one that was there before is known when it is first read."""

    def __init__(self) -> None:
        self._versions: dict[Ref[Any], int] = {}

    def saw(self, sets: Sequence[ChangeSet], checked: Counter[int]) -> Iterator[str]:
        """What is wrong with a commit, whose sets were written in this order."""
        for each in sets:
            for ref, seen in each.reads.items():
                checked[10] += 1
                stored = self._versions.setdefault(ref, seen)
                if stored != seen:
                    flow = each.flow.id
                    yield f"10: flow {flow} was decided by version {seen} of {ref}, which has version {stored} by then"
            for change in each.changes:
                if isinstance(change.new, EntityRecord):
                    self._versions[change.new.ref] = change.new.version
                elif isinstance(change.old, EntityRecord):
                    self._versions[change.old.ref] = 0
