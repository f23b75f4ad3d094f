"""`db.restore()` after any writes, whatever others have changed since: once is as good as twice."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from interlock import Catalog, Ref
from interlock.coordinator.phase_db import PhaseDb
from interlock.coordinator.snapshot import Snapshot
from interlock.core.flow import Flow
from interlock.model.records import EntityRecord
from tests.coordinator.support import Disk
from tests.core.shapes import Mint, Spec

CATALOG = Catalog(Disk)
REFS: tuple[Ref[Disk], ...] = tuple(Ref("disk", UUID(int=0xD0 + n)) for n in range(3))
#: a write: which disk, whether it is removed, its note and its name
Write = tuple[int, bool, str, str]
Rows = dict[Ref[Any], EntityRecord]

_WRITES = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from("xyz"), st.sampled_from(["a", "b", "c", "d"])),
    max_size=6,
)


class Stored(Snapshot):
    """Entities in a dictionary."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(_no_database, CATALOG)
        self._rows = rows

    def entity(self, ref: Ref[Any]) -> EntityRecord | None:
        return self._rows.get(ref)

    def named(self, type: str, name: str) -> EntityRecord | None:
        return next((row for row in self._rows.values() if row.name == name), None)


def _no_command(_: object) -> Any:
    raise AssertionError("nothing asks for commands")


def _no_database() -> Any:
    raise AssertionError("entities are asked for by ref and by name alone")


class Site:
    """Entities, and a flow whose command writes and restores; each call is one transaction."""

    def __init__(self, before: list[Write]) -> None:
        self.rows: Rows = {}
        self.mint = Mint()
        self.flow = self._accepted()
        self.write(self._accepted(), before)

    def _accepted(self) -> Flow:
        flow = self.mint.flow_of(Spec())
        flow.committed()
        return flow

    def _db(self, flow: Flow) -> PhaseDb:
        return PhaseDb(flow, flow.root, Stored(self.rows), CATALOG, _no_command, self.mint.new_id, 1)

    def write(self, flow: Flow, writes: list[Write]) -> None:
        """Each write as far as it is one: a name that is taken, or nothing to remove, is none."""
        db = self._db(flow)
        for index, removes, note, name in writes:
            ref = REFS[index]
            owner = db.named(Disk, name)
            if removes:
                db.remove(ref)
            elif owner is None or owner.ref == ref:
                if db.exists(ref):
                    db.put(replace(db.get(ref), note=note, name=name))
                else:
                    db.add(Disk(id=ref.id, name=name, note=note))
        self._commit(flow)

    def theirs(self, writes: list[Write]) -> None:
        self.write(self._accepted(), writes)

    def restore(self, *, times: int = 1) -> list[str]:
        """What was reported."""
        for _ in range(times):
            self._db(self.flow).restore()
        told = [event.message for event in self.flow.events]
        self._commit(self.flow)
        return told

    def crash_in_restoring(self) -> None:
        """The transaction is not committed."""
        self._db(self.flow).restore()
        self.flow.roll_back()

    def bodies(self) -> dict[Ref[Any], str]:
        return {ref: row.body_json for ref, row in self.rows.items()}

    def _commit(self, flow: Flow) -> None:
        for ref, change in flow.entities.items():
            self.rows.pop(ref, None)
            if isinstance(change.new, EntityRecord):
                self.rows[ref] = change.new
        flow.committed()


def played(before: list[Write], mine: list[Write], theirs: list[Write]) -> Site:
    site = Site(before)
    site.write(site.flow, mine[:2])
    site.write(site.flow, mine[2:])
    site.theirs(theirs)
    return site


def names_went_round(before: Rows, after: Rows) -> bool:
    """Whether entities have each other's former names."""
    has_now = {row.name: ref for ref, row in after.items()}
    for start in before:
        ref: Ref[Any] | None = start
        for _ in REFS:
            ref = has_now.get(before[ref].name) if ref in before else None
            if ref == start and before[start].name != after[start].name:
                return True
    return False


@pytest.mark.hard_case(22)
@settings(max_examples=300, deadline=None, database=None)
@given(_WRITES, _WRITES, _WRITES)
def test_restoring_twice_has_the_effect_of_once(before: list[Write], mine: list[Write], theirs: list[Write]) -> None:
    once, at_once, later, crashed = (played(before, mine, theirs) for _ in range(4))
    told = once.restore()
    assert (at_once.restore(times=2), at_once.rows) == (told, once.rows)
    assert (later.restore(), later.restore(), later.rows) == (told, [], once.rows)
    crashed.crash_in_restoring()
    assert (crashed.restore(), crashed.rows) == (told, once.rows)
    assert once.flow.snapshots == {}


@settings(max_examples=300, deadline=None, database=None)
@given(_WRITES, _WRITES)
def test_what_nobody_else_has_changed_is_as_it_was(before: list[Write], mine: list[Write]) -> None:
    """But for names that went round in a circle: of those each is taken, whichever comes first."""
    site = played(before, mine, [])
    assume(not names_went_round(Site(before).rows, site.rows))
    assert (site.restore(), site.bodies()) == ([], Site(before).bodies())


def test_a_name_that_was_handed_on_among_what_a_command_wrote_is_given_back() -> None:
    """A new disk under another name, the old one removed, its name taken over: the old one was not put back."""
    site = Site([(1, False, "x", "a")])
    before = site.bodies()
    site.write(site.flow, [(0, False, "x", "b"), (1, True, "", ""), (0, False, "x", "a")])
    assert (site.restore(), site.bodies()) == ([], before)
