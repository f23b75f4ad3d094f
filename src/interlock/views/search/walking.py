"""Reading: each branch of a plan within a bound of rows, then all of them in one order."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, case, literal, literal_column, select, text, tuple_

from interlock.views.search.atoms import Atom, Equal
from interlock.views.search.conditions import of_atom
from interlock.views.search.fields import Field
from interlock.views.search.planning import Branch, Plan
from interlock.views.search.refusing import BadQuery
from interlock.views.search.sources import Collection, Lookup, Walk
from interlock.views.search.subjects import Subjects

#: rows that one answer looks at on its walks, and how long it goes on looking; more are for the next page
LOOKED_MAX, LOOK_S_MAX = 10_000, 0.015
#: rows that are sorted for an answer, where no index has their order
SORTED_MAX = 1_000
#: ids, or rows to look at, in one statement; and by how much a walk grows its steps
_CHUNK, _GROWTH = 500, 4

#: the value of the order, and the id
Key: TypeAlias = tuple[Any, Any]


@dataclass(frozen=True)
class Read:
    """What a branch found; `frontier` is how far it has looked, None: to its end."""

    keys: list[Key]
    frontier: Key | None = None


@dataclass(frozen=True)
class Page:
    """The keys of a page in their order; `next`: from where to go on, None at the end. `is_partial`: the page is not
    full, but what was to be looked at for one answer is."""

    keys: list[Key]
    next: Key | None
    is_partial: bool


class Walker:
    """Carries out one plan; `after` is where the page before ended."""

    def __init__(self, connection: Connection, collection: Collection, plan: Plan, subjects: Subjects) -> None:
        self._connection = connection
        self._collection = collection
        self._plan = plan
        self._subjects = subjects
        #: when the walks of the page under way stop looking
        self._until_s = 0.0

    def page(self, limit: int, after: Key | None) -> Page:
        """The next `limit` rows."""
        found: list[Read] = []
        self._until_s = time.monotonic() + LOOK_S_MAX
        looked_max = max(LOOKED_MAX // max(len(self._plan.branches), 1), _CHUNK)
        for branch in self._plan.branches:
            read = self._branch(branch, limit, after, looked_max)
            if read is not None:
                found.append(read)
            else:
                found += [self._walk(each, limit, after, looked_max) for each in self._ways_out(branch)]
        return self._merged(found, limit)

    def _ways_out(self, branch: Branch) -> tuple[Branch, ...]:
        """What is walked through where there is too much to sort."""
        if branch.otherwise:
            return branch.otherwise
        assert self._plan.everything is not None
        return (Branch(self._plan.everything, None),)

    def _merged(self, found: list[Read], limit: int) -> Page:
        reverse = self._plan.descending
        keys = sorted({key for read in found for key in read.keys}, reverse=reverse)
        frontiers = [read.frontier for read in found if read.frontier is not None]
        frontier = (max(frontiers) if reverse else min(frontiers)) if frontiers else None
        if frontier is not None:
            keys = [key for key in keys if (key >= frontier if reverse else key <= frontier)]
        if len(keys) > limit:
            return Page(keys[:limit], keys[limit - 1], False)
        return Page(keys, frontier, frontier is not None and len(keys) < limit)

    def _branch(self, branch: Branch, limit: int, after: Key | None, looked_max: int) -> Read | None:
        """None: too much to be sorted, and so to be walked through in another way."""
        source, order = branch.source, self._plan.order.name
        if isinstance(source, Walk):
            if source.order == order:
                return self._walk(branch, limit, after, looked_max)
            return self._sorted(self._unsorted(branch), after, branch)
        assert branch.atom is not None
        if isinstance(source, Lookup):
            ids = source.ids(self._connection, branch.atom, SORTED_MAX + 1)
        else:
            ids = self._subjects.owners(branch.atom, SORTED_MAX + 1)
        rows = list(self._by_ids(ids)) if len(ids) <= SORTED_MAX else None
        return self._sorted(rows, after, branch)

    def _sorted(self, rows: list[Any] | None, after: Key | None, branch: Branch) -> Read | None:
        if rows is None:
            if self._plan.everything is None and not branch.otherwise:
                name = self._plan.order.name
                words = f"more than {SORTED_MAX} {self._collection.name} would have to be sorted by {name}"
                column = branch.atom.column if branch.atom is not None else 1
                raise BadQuery(f"{words}; leave out sortby, or narrow it", column)
            return None
        keys = [(key, id) for id, key, holds in rows if holds and key is not None]
        if after is not None:
            keys = [key for key in keys if (key < after if self._plan.descending else key > after)]
        return Read(keys)

    def _walk(self, branch: Branch, limit: int, after: Key | None, looked_max: int) -> Read:
        keys: list[Key] = []
        looked, step = 0, limit + 1
        while True:
            step = min(step, looked_max - looked)
            rows = self._step(branch, after, step)
            looked += len(rows)
            keys += [(key, id) for id, key, holds in rows if holds]
            if len(rows) < step:
                return Read(keys)
            after = (rows[-1][1], rows[-1][0])
            if len(keys) > limit or looked >= looked_max or time.monotonic() > self._until_s:
                return Read(keys, after)
            step = max(min(step * _GROWTH, _CHUNK), limit + 1)

    def _step(self, branch: Branch, after: Key | None, limit: int) -> list[Any]:
        id, order = self._collection.id, self._plan.order.value
        columns = [order] if order is id else [order, id]
        ways = [column.desc() if self._plan.descending else column.asc() for column in columns]
        query = self._rows().where(*self._narrowed(branch)).order_by(*ways).limit(limit)
        if self._plan.order.nullable:
            query = query.where(order.is_not(None))
        if after is not None:
            query = query.where(self._is_after(after))
        return list(self._connection.execute(query))

    def _is_after(self, after: Key) -> ColumnElement[bool]:
        id, order = self._collection.id, self._plan.order.value
        if order is id:
            is_beyond: ColumnElement[bool] = order < after[0] if self._plan.descending else order > after[0]
            return is_beyond
        here = tuple_(order, id)
        there = tuple_(literal(after[0], order.type), literal(after[1], id.type))
        is_after: ColumnElement[bool] = here < there if self._plan.descending else here > there
        return is_after

    def _rows(self) -> Any:
        """Id, key, and whether the row is asked for: a value and no condition, so that a limit bounds the look."""
        test = self._plan.test
        holds = literal(1) if test is None else case((test, 1), else_=0)
        base = self._collection.base
        return select(self._collection.id, self._plan.order.value, holds).where(*base)

    def _narrowed(self, branch: Branch) -> list[Any]:
        source = branch.source
        assert isinstance(source, Walk)
        keyed = [branch.atom] if branch.atom is not None and source.keyed else []
        atoms, where = dict.fromkeys([*keyed, *branch.bounds]), source.where
        told = [_spelled(atom) if source.spelled and atom is branch.atom else of_atom(atom) for atom in atoms]
        return told + ([text(f"({where})")] if where is not None else [])

    def _unsorted(self, branch: Branch) -> list[Any] | None:
        """All rows of a walk in another order than is wanted; None: too many."""
        rows = list(self._connection.execute(self._rows().where(*self._narrowed(branch)).limit(SORTED_MAX + 1)))
        return rows if len(rows) <= SORTED_MAX else None

    def _by_ids(self, ids: list[Any]) -> Iterator[Any]:
        for start in range(0, len(ids), _CHUNK):
            piece = ids[start : start + _CHUNK]
            yield from self._connection.execute(self._rows().where(self._collection.id.in_(piece)))


def _spelled(atom: Atom) -> ColumnElement[bool]:
    """`field = 'WORD'` with one of the field's own words: what a planner compares with a partial index's condition."""
    assert isinstance(atom.field, Field)
    assert isinstance(atom.test, Equal)
    (word,) = atom.test.values
    assert word in atom.field.words
    is_word: ColumnElement[bool] = atom.field.value == literal_column(f"'{word}'")
    return is_word
