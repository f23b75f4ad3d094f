"""Entities in queries: which entities are meant, and which rows name them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, and_, false, literal_column, not_, or_, select

from interlock.store.tables import entities, former_entities
from interlock.views.search.atoms import Atom, Equal
from interlock.views.search.conditions import of_test
from interlock.views.search.fields import Link, Subject

#: so many entities are looked up by their ids; where more are meant, rows are asked one by one
ENTITIES_MAX = 500

#: of each type, the ids that are meant
Ids = dict[str, list[UUID]]


@dataclass
class Subjects:
    """What the atoms of one query mean, each looked up once. `types` are those that the catalog knows."""

    connection: Connection
    types: Sequence[str]
    _found: dict[tuple[Subject, Any], Ids | None] = field(default_factory=dict)

    def ids(self, atom: Atom) -> Ids | None:
        """The entities that are, or were, meant; None: more than ENTITIES_MAX."""
        assert isinstance(atom.field, Subject)
        key = (atom.field, atom.test)
        if key not in self._found:
            self._found[key] = self._look_up(atom.field, atom.test)
        return self._found[key]

    def _look_up(self, subject: Subject, test: Any) -> Ids | None:
        types = [subject.type] if subject.type is not None else list(self.types)
        if subject.by == "id":
            assert isinstance(test, Equal)
            return {type: list(test.values) for type in types}
        found: Ids = {}
        left = ENTITIES_MAX
        for type in types:
            ids: dict[UUID, None] = {}
            for table in (entities, former_entities):
                query = select(table.c.id).where(table.c.type == type, of_test(table.c.name, test)).limit(left + 1)
                ids |= dict.fromkeys(self.connection.scalars(query))
            left -= len(ids)
            if left < 0:
                return None
            if ids:
                found[type] = list(ids)
        return found

    def condition(self, atom: Atom, row: ColumnElement[Any]) -> ColumnElement[bool]:
        """Whether the row of that id names one of them."""
        assert isinstance(atom.field, Subject)
        link, ids = atom.field.link, self.ids(atom)
        if ids is None:
            named = and_(entities.c.type == link.type, entities.c.id == link.id, of_test(entities.c.name, atom.test))
            kinds = [link.type == atom.field.type] if atom.field.type is not None else []
            holds = _is_there(link, row, *kinds, named)
        elif not ids:
            holds = false()
        else:
            holds = _is_there(link, row, _among(link, ids))
        return not_(holds) if atom.negated else holds

    def owners(self, atom: Atom, limit: int) -> list[Any]:
        """The ids of the rows that name one of them, the greatest first."""
        assert isinstance(atom.field, Subject)
        link, ids = atom.field.link, self.ids(atom)
        if not ids:
            return []
        query = select(link.owner).distinct().where(*link.of, _among(link, ids)).order_by(link.owner.desc())
        return list(self.connection.scalars(query.limit(limit)))


def _is_there(link: Link, row: ColumnElement[Any], *where: ColumnElement[bool]) -> ColumnElement[bool]:
    """As EXISTS, which PostgreSQL may answer by reading the whole table once: not worth it for the rows of a page."""
    found: Select[Any] = select(literal_column("1")).where(link.owner == row, *link.of, *where).limit(1)
    return found.scalar_subquery().is_not(None)


def _among(link: Link, ids: Ids) -> ColumnElement[bool]:
    return or_(*(and_(link.type == type, link.id.in_(found)) for type, found in ids.items()))
