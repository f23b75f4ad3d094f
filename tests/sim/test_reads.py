"""What a run was decided by is held against what was committed before it."""

from collections import Counter
from typing import Any
from uuid import UUID

from interlock.coordinator.change_set import ChangeSet
from interlock.core.flow import Flow
from interlock.model.changes import Change
from interlock.model.records import EntityRecord
from interlock.model.refs import Ref
from interlock.sim.reads import Reads

DISK: Ref[Any] = Ref("disk", UUID(int=0xD))


def entity(version: int) -> EntityRecord:
    return EntityRecord(DISK, version, 0, "d", None, 1, "{}")


def decided(number: int, seen: int, *changes: Change) -> ChangeSet:
    return ChangeSet(Flow(UUID(int=number)), list(changes), set(), {DISK: seen}, {}, {})


def told(*commits: list[ChangeSet]) -> list[str]:
    reads = Reads()
    return [words for commit in commits for words in reads.saw(commit, Counter())]


def test_what_is_decided_by_the_present_version_is_right() -> None:
    made, changed = Change(None, entity(1)), Change(entity(1), entity(2))
    assert told([decided(1, 0, made)], [decided(2, 1, changed)], [decided(3, 2)]) == []
    assert told([decided(1, 7)], [decided(2, 7)]) == []
    assert told([decided(1, 1, Change(entity(1), None))], [decided(2, 0)]) == []


def test_what_is_decided_by_a_former_version_is_told_also_within_a_commit() -> None:
    changed = Change(entity(1), entity(2))
    words = f"10: flow {UUID(int=2)} was decided by version 1 of {DISK}, which has version 2 by then"
    assert told([decided(1, 1, changed)], [decided(2, 1)]) == [words]
    assert told([decided(1, 1, changed), decided(2, 1)]) == [words]
