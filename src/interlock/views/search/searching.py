"""Searching: from a query's text to a page of what it asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select

from interlock.views.search import cursors
from interlock.views.search.atoms import AnyOf, Atom, Both, Meaning, Meant
from interlock.views.search.conditions import condition
from interlock.views.search.fields import ANY, SUBJECT_PARTS, Field, Subject
from interlock.views.search.planning import Branch, Plan, plan
from interlock.views.search.refusing import BadQuery, meant
from interlock.views.search.sources import Collection, Walk
from interlock.views.search.subjects import Subjects
from interlock.views.search.syntax import Query, parse
from interlock.views.search.walking import Page, Walker
from interlock.views.words import Json

#: rows on one page
PAGE_MAX = 200


@dataclass(frozen=True)
class Search:
    """One query over one collection, as it was asked at `now`. `types` are the entity types that there are."""

    collection: Collection
    query: str
    types: Sequence[str]
    now: int


def page(connection: Connection, search: Search, *, limit: int = 50, after: str | None = None) -> Json:
    """`{collection: […], "next": cursor, "partial": bool}`: the rows in the order that the query says.

    `next` is the `after` of the next page, None at the end. A page that is `partial` is not full, since as many rows
    as one answer may look at have been looked at; `next` goes on from there. Raises BadQuery, InvalidInput for a
    cursor of another query, and ValueError where `limit` is not 1 to PAGE_MAX.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"limit {limit}; it must be 1 to {PAGE_MAX}")
    asked = f"{search.collection.name} {search.query}"
    came_from = cursors.read(after, asked) if after is not None else None
    now = search.now if came_from is None else came_from.now
    found = _page(connection, search, now, limit, came_from)
    following = None if found.next is None else cursors.write(cursors.Cursor(found.next, now), asked)
    shown = search.collection.show(connection, [id for _, id in found.keys])
    return {search.collection.name: shown, "next": following, "partial": found.is_partial}


def _page(connection: Connection, search: Search, now: int, limit: int, came_from: cursors.Cursor | None) -> Page:
    subjects = Subjects(connection, search.types)
    planned = planned_by(search, now, subjects)
    walker = Walker(connection, search.collection, planned, subjects)
    return walker.page(limit, None if came_from is None else came_from.key)


def planned_by(search: Search, now: int, subjects: Subjects) -> Plan:
    """How a query is answered. Raises BadQuery."""
    collection, query = search.collection, parse(search.query)
    meaning = Meaning(_names(collection, search.types), collection.bare, now)
    wanted = meaning.of(query.where) if query.where is not None else None
    test = tested(collection, wanted, subjects)
    order, descending, column = _order(collection, query, wanted)
    return plan(collection, wanted, test, order, descending, column, subjects)


def tested(collection: Collection, wanted: Meant | None, subjects: Subjects) -> ColumnElement[bool] | None:
    """What each row is put to."""
    named = {atom.field.name for atom in _atoms(wanted)} if wanted is not None else set()
    conditions = [holds for name, holds in collection.unless_named if name not in named]
    if wanted is not None:
        conditions.append(condition(wanted, lambda atom: subjects.condition(atom, collection.id)))
    return and_(*conditions) if conditions else None


def _atoms(wanted: Meant) -> list[Atom]:
    return [wanted] if isinstance(wanted, Atom) else [atom for part in wanted.parts for atom in _atoms(part)]


def _names(collection: Collection, types: Sequence[str]) -> Callable[[str, int], Field | Subject]:
    """Which field a name is."""

    def field(name: str, column: int) -> Field | Subject:
        found = collection.fields.get(name.casefold())
        if found is not None:
            return found
        type, dot, part = name.rpartition(".")
        if collection.link is not None and dot:
            if type != ANY and type not in types:
                raise BadQuery(f"there is no entity type {type!r}{meant(type, types)}", column)
            if part not in SUBJECT_PARTS:
                raise BadQuery(f"of a {type} one can ask for: {', '.join(SUBJECT_PARTS)}", column)
            return Subject(None if type == ANY else type, part, collection.link)
        raise BadQuery(f"unknown field {name!r}{meant(name, collection.fields)}", column)

    return field


def _order(collection: Collection, query: Query, wanted: Meant | None) -> tuple[Field, bool, int]:
    """The field of the order, whether it is read from the greatest, and where the query says so."""
    if query.sort is None:
        name = next((order for field, order in collection.orders_within if _is_certain(wanted, field)), None)
        default = collection.fields[name or collection.order]
        assert isinstance(default, Field)
        return default, collection.descending, 1
    found = collection.fields.get(query.sort.field.casefold())
    if not isinstance(found, Field):
        sortable = [name for name, field in collection.fields.items() if isinstance(field, Field)]
        words = f"{query.sort.field!r} is nothing to sort by{meant(query.sort.field, sortable)}"
        raise BadQuery(words, query.sort.column)
    return found, bool(query.sort.descending), query.sort.column


def _is_certain(wanted: Meant | None, name: str) -> bool:
    """Whether the query says at its top what that field equals."""
    if wanted is None or isinstance(wanted, AnyOf):
        return False
    if isinstance(wanted, Both):
        return any(_is_certain(part, name) for part in wanted.parts)
    return wanted.field.name == name and not wanted.negated


def follow(connection: Connection, search: Search, after: int, *, limit: int = 100) -> Json:
    """`{"events": […], "next": number}`: those of the log's next rows that are asked for, in the order of their
    commits; `next` is the number to go on after. No index is needed, since one goes on from row to
    row. Raises BadQuery, also for a query with an order, and ValueError where `limit` is not 1 to PAGE_MAX.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise ValueError(f"limit {limit}; it must be 1 to {PAGE_MAX}")
    collection, query, subjects = search.collection, parse(search.query), Subjects(connection, search.types)
    if query.sort is not None:
        raise BadQuery("what is followed comes in the order of the log; leave out sortby", query.sort.column)
    wanted = None
    if query.where is not None:
        wanted = Meaning(_names(collection, search.types), collection.bare, search.now).of(query.where)
    order = collection.fields["number"]
    assert isinstance(order, Field)
    in_order = Branch(Walk(order.name, lambda _: False), None)
    plan = Plan((in_order,), tested(collection, wanted, subjects), order, False, None)
    found = Walker(connection, collection, plan, subjects).page(limit, (after, after))
    newest = connection.scalar(select(func.max(collection.id))) or 0
    seen = found.next[1] if found.next is not None else max(after, newest)
    return {collection.name: collection.show(connection, [id for _, id in found.keys]), "next": seen}
