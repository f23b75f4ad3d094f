"""Before a commit: is all that a run read still so, in the database and within its batch?"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from interlock.coordinator.change_set import ChangeSet
from interlock.coordinator.work import Work
from interlock.model.limits import LimitRecord
from interlock.model.locks import LockMode, conflict
from interlock.model.records import EntityRecord, LockRecord
from interlock.model.refs import Ref
from interlock.store.queries import entities, locks


class Checker:
    """Reads versions and locks for a whole batch at once, then judges its runs in order."""

    def __init__(self, connection: Connection, works: Sequence[Work], limits: Mapping[str, LimitRecord]) -> None:
        self._works = works
        self._limits = limits
        sets = [work.change_set for work in works if work.change_set is not None]
        touched = {ref for each in sets for ref in (*each.reads, *each.link_reads)}
        wanted = {ref for each in sets for ref in each.lock_wants}
        self._versions = entities.versions(connection, touched) if touched else {}
        self._held: dict[Ref[Any], list[tuple[UUID, LockMode]]] = {}
        for row in locks.on(connection, wanted) if wanted else ():
            self._hold(row.lock)
        self._written: set[Ref[Any]] = set()

    def split(self, conflicted: list[Work]) -> list[Work]:
        """The runs that may be stored; the others are added to `conflicted`."""
        valid = []
        for work in self._works:
            is_alone = work.in_writer or work.change_set is None or not work.change_set.needs_writer
            if work.change_set is None or (is_alone and self._holds(work.change_set)):
                valid.append(work)
            else:
                conflicted.append(work)
        return valid

    def _holds(self, each: ChangeSet) -> bool:
        if each.limits is not None and each.limits is not self._limits:
            return False
        for index, reads in enumerate((each.reads, each.link_reads)):
            for ref, seen in reads.items():
                if ref in self._written or self._versions.get(ref, (0, 0))[index] != seen:
                    return False
        for ref, mode in each.lock_wants.items():
            for flow_id, other in self._held.get(ref, ()):
                if flow_id != each.flow.id and conflict(mode, other):
                    return False
        self._note(each)
        return True

    def _note(self, each: ChangeSet) -> None:
        """What this run writes is news to the runs after it."""
        self._written |= each.bumps
        for change in each.changes:
            row = change.new or change.old
            if isinstance(row, EntityRecord):
                self._written.add(row.ref)
            elif isinstance(change.new, LockRecord):
                self._hold(change.new)

    def _hold(self, lock: LockRecord) -> None:
        self._held.setdefault(lock.ref, []).append((lock.flow_id, lock.mode))
