"""What an index can do for a query: walk through rows in an order, or find few rows at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from interlock.views.search.atoms import Atom, Equal, Like, Present, Range
from interlock.views.search.conditions import of_test
from interlock.views.search.fields import Field, Link, Subject
from interlock.views.words import Json

Serves = Callable[[Atom], bool]


@dataclass(frozen=True, eq=False)
class Walk:
    """An index that has rows in the order of a field: those of the condition where it is `keyed` by that, otherwise
    all, of which enough are expected to meet it. `where` is the condition of a partial index, word by word; with
    `spelled` the word asked for is written out in the statement, where it is itself one of the index's alternatives."""

    order: str
    serves: Serves
    where: str | None = None
    keyed: bool = True
    spelled: bool = False


@dataclass(frozen=True, eq=False)
class Lookup:
    """An index that finds the ids of the rows that meet a condition, at most so many."""

    serves: Serves
    ids: Callable[[Connection, Atom, int], list[Any]]


@dataclass(frozen=True, eq=False)
class BySubject:
    """The indexes of who names an entity."""


Source = Walk | Lookup | BySubject


@dataclass(frozen=True, eq=False)
class Collection:
    """What can be searched. `sources` come in the order in which they are preferred; `remedy` says what narrows."""

    name: str
    table: Table
    id: ColumnElement[Any]
    fields: dict[str, Field | Subject]
    sources: tuple[Source, ...]
    #: the order unless the query says another, and whether it is read from the greatest
    order: str
    #: orders in which all rows can be walked through
    orders: tuple[str, ...]
    remedy: str
    show: Callable[[Connection, list[Any]], list[Json]]
    #: of a bare word: the conditions of which one is to hold, as pairs of a field and a value
    bare: Callable[[str], list[tuple[str, str]]]
    #: what follows from a condition, as far as it helps to find an index
    implied: Callable[[Atom], tuple[Atom, ...]] = lambda atom: ()
    descending: bool = True
    #: which entities its rows name
    link: Link | None = None
    base: tuple[ColumnElement[bool], ...] = ()
    #: what holds unless the query names the field
    unless_named: tuple[tuple[str, ColumnElement[bool]], ...] = ()
    #: the order of what is narrowed by a field, where it differs
    orders_within: tuple[tuple[str, str], ...] = ()


def ids_by(
    value: ColumnElement[Any], id: ColumnElement[Any], *joined: Any
) -> Callable[[Connection, Atom, int], list[Any]]:
    """The ids of rows by a value that has an index, of another table where one is `joined` (with its condition)."""

    def found(connection: Connection, atom: Atom, limit: int) -> list[Any]:
        query = select(id).join(*joined) if joined else select(id)
        return list(connection.scalars(query.where(of_test(value, atom.test)).limit(limit)))

    return found


def equals(name: str, *words: str) -> Serves:
    """`name = value`, where given one of the words only; with the id of nothing else."""

    def serves(atom: Atom) -> bool:
        if atom.negated or atom.field.name != name or not isinstance(atom.test, Equal) or len(atom.test.values) != 1:
            return False
        return not words or atom.test.values[0] in words

    return serves


def within(name: str) -> Serves:
    """`name` is bounded, on one side at least."""
    return lambda atom: not atom.negated and atom.field.name == name and isinstance(atom.test, Range)


def begins(name: str) -> Serves:
    """`name` is a text, or begins with one."""

    def serves(atom: Atom) -> bool:
        if atom.negated or atom.field.name != name:
            return False
        return isinstance(atom.test, Equal) or (isinstance(atom.test, Like) and bool(atom.test.pieces[0]))

    return serves


def is_set(name: str, *, negated: bool = False) -> Serves:
    """`name is set`, or `is not set`."""
    return lambda atom: atom.field.name == name and isinstance(atom.test, Present) and atom.negated is negated


def any_of(*choices: Serves) -> Serves:
    """At least one of them."""
    return lambda atom: any(serves(atom) for serves in choices)
