"""Planning: by which indexes a query is answered; one that no index serves is refused, with a remedy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

from sqlalchemy import ColumnElement

from interlock.views.search.atoms import AnyOf, Atom, Both, Equal, Like, Meant, Present
from interlock.views.search.fields import Field, Kind, Subject
from interlock.views.search.refusing import BadQuery
from interlock.views.search.sources import BySubject, Collection, Source, Walk
from interlock.views.search.subjects import ENTITIES_MAX, Subjects

#: so many alternatives of a query are read side by side
BRANCHES_MAX = 20

#: conditions that must all hold
Conjunction: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True, eq=False)
class Branch:
    """One source, and the condition by which it is asked; `bounds` narrow a walk in its own order. `otherwise` is what
    is walked through where the source has more rows than can be sorted."""

    source: Source
    atom: Atom | None
    bounds: tuple[Atom, ...] = ()
    otherwise: "tuple[Branch, ...]" = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """The branches that together find all that is asked for; each row is put to the `test`."""

    branches: tuple[Branch, ...]
    test: ColumnElement[bool] | None
    order: Field
    descending: bool
    #: reads all rows in that order, where one index has them
    everything: Walk | None


def plan(
    collection: Collection,
    meant: Meant | None,
    test: ColumnElement[bool] | None,
    order: Field,
    descending: bool,
    sort_column: int,
    subjects: Subjects,
) -> Plan:
    """How to answer. Raises BadQuery where no index serves a part of it."""
    everything = next((Walk(name, lambda _: False) for name in collection.orders if name == order.name), None)
    branches: list[Branch] = []
    for conjunction in _alternatives(meant) if meant is not None else [()]:
        if conjunction:
            branches += _with_ways_out(collection, conjunction, order.name, subjects)
        elif everything is not None:
            branches.append(Branch(everything, None))
        else:
            words = f"all {collection.name} cannot be read in the order of {order.name}; {collection.remedy}"
            raise BadQuery(words, sort_column)
    if len(branches) > BRANCHES_MAX:
        raise BadQuery(f"more than {BRANCHES_MAX} alternatives have to be read side by side; ask several times", 1)
    return Plan(tuple(branches), test, order, descending, everything)


def _alternatives(meant: Meant) -> list[Conjunction]:
    """The conjunctions of which one must hold; where they are too many, what holds for all of them."""
    found: list[Conjunction] = []
    for each in _spread(meant):
        found.append(each)
        if len(found) > BRANCHES_MAX:
            return [tuple(_certain(meant))]
    return found


def _spread(meant: Meant) -> Iterator[Conjunction]:
    match meant:
        case Atom():
            yield (meant,)
        case AnyOf():
            for part in meant.parts:
                yield from _spread(part)
        case Both():
            choices = [_few(part) for part in meant.parts]
            for chosen in product(*choices):
                yield tuple(atom for conjunction in chosen for atom in conjunction)


def _few(meant: Meant) -> list[Conjunction]:
    """The alternatives of a part, one more than can be used at most."""
    found: list[Conjunction] = []
    for each in _spread(meant):
        found.append(each)
        if len(found) > BRANCHES_MAX:
            break
    return found


def _certain(meant: Meant) -> Iterator[Atom]:
    """What must hold in any case."""
    if isinstance(meant, Atom):
        yield meant
    elif isinstance(meant, Both):
        for part in meant.parts:
            yield from _certain(part)


def _with_ways_out(collection: Collection, conjunction: Conjunction, order: str, subjects: Subjects) -> list[Branch]:
    """The branches, each with the walks that serve where it finds too much to sort."""
    found = _branches(collection, conjunction, subjects)
    if all(isinstance(branch.source, Walk) and branch.source.order == order for branch in found):
        return found
    walks = tuple(each for each in collection.sources if isinstance(each, Walk) and each.order == order)
    try:
        otherwise = tuple(_branches(replace(collection, sources=walks), conjunction, subjects))
    except BadQuery:
        return found
    return [replace(branch, otherwise=otherwise) for branch in found]


def _branches(collection: Collection, conjunction: Conjunction, subjects: Subjects) -> list[Branch]:
    """The best source for conditions that must all hold; for a list of values, one for each of them."""
    found = _best(collection, conjunction, subjects)
    if found is not None:
        return [found]
    for atom in conjunction:
        parts = [_of_single(collection, single, conjunction, subjects) for single in _singles(atom)]
        if parts and len(parts) <= BRANCHES_MAX and None not in parts:
            return [branch for part in parts if part is not None for branch in part]
    raise BadQuery(_why_not(collection, conjunction), conjunction[0].column if conjunction else 1)


def _of_single(
    collection: Collection, single: Atom, conjunction: Conjunction, subjects: Subjects
) -> list[Branch] | None:
    """The source for one value of a list, or those for what follows from it; None: there is none."""
    found = _best(collection, conjunction, subjects, only=single)
    if found is not None:
        return [found]
    for implied in collection.implied(single):
        parts = [_best(collection, conjunction, subjects, only=each) for each in _singles(implied)]
        if None not in parts:
            return [part for part in parts if part is not None]
    return None


def _singles(atom: Atom) -> list[Atom]:
    """A list of values, each as a condition of its own; no value as `is not set`."""
    if atom.negated or not isinstance(atom.test, Equal):
        return []
    return [
        replace(atom, test=Present(), negated=True) if value is None else replace(atom, test=Equal((value,)))
        for value in atom.test.values
    ]


def _best(
    collection: Collection, conjunction: Conjunction, subjects: Subjects, only: Atom | None = None
) -> Branch | None:
    for source in collection.sources:
        for atom in conjunction if only is None else (only,):
            if _is_served(source, atom, subjects):
                bounds: Sequence[Atom] = ()
                if isinstance(source, Walk):
                    bounds = [each for each in conjunction if _bounds(each, source.order)]
                return Branch(source, atom, tuple(bounds))
    if (
        only is None
        and collection.order in collection.orders
        and any(_is_of_many(each, subjects) for each in conjunction)
    ):
        bounds = [each for each in conjunction if _bounds(each, collection.order)]
        return Branch(Walk(collection.order, lambda _: False, keyed=False), None, tuple(bounds))
    return None


def _is_of_many(atom: Atom, subjects: Subjects) -> bool:
    """Whether it means so many entities that rows which name one of them are expected everywhere."""
    return isinstance(atom.field, Subject) and not atom.negated and subjects.ids(atom) is None


def _is_served(source: Source, atom: Atom, subjects: Subjects) -> bool:
    if isinstance(atom.field, Field):
        return not isinstance(source, BySubject) and source.serves(atom)
    return isinstance(source, BySubject) and not atom.negated and subjects.ids(atom) is not None


def _bounds(atom: Atom, name: str) -> bool:
    return not atom.negated and atom.field.name == name and atom.field.kind in (Kind.TIME, Kind.NUMBER)


def _why_not(collection: Collection, conjunction: Conjunction) -> str:
    """What stands in the way, and what to add."""
    if not conjunction:
        return f"too many alternatives, and nothing that holds for all of them; {collection.remedy}"
    reasons = ", ".join(dict.fromkeys(_hindrance(atom) for atom in conjunction))
    return f"{reasons}: every one of the {collection.name} would have to be looked at; {collection.remedy}"


def _hindrance(atom: Atom) -> str:
    if isinstance(atom.test, Equal) and len(atom.test.values) > BRANCHES_MAX:
        return f"more than {BRANCHES_MAX} values of {atom.field.name}"
    if isinstance(atom.test, Like) and not atom.test.pieces[0]:
        return f"a star in front of {atom.field.name}"
    if isinstance(atom.field, Subject) and not atom.negated:
        return f"more than {ENTITIES_MAX} entities for {atom.field.name}"
    if atom.negated:
        return f"what {atom.field.name} is not"
    return f"{atom.field.name} alone"
