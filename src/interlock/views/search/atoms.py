"""What a query means: its conditions over known fields with values of the right kind, negations pushed inwards."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from interlock.model.text import is_storable
from interlock.views.search import times
from interlock.views.search.fields import Field, Kind, Subject
from interlock.views.search.refusing import BadQuery, meant
from interlock.views.search.syntax import All, Bare, Comparison, Either, Node, Not, Value

#: stars in one value: what is matched must not take long
STARS_MAX = 5
_NUMBER_MAX = 2**62
_FLAGS = {"yes": True, "true": True, "no": False, "false": False}
_ESCAPE = re.compile(r"\\(.)|(\*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Equal:
    """Has one of the values; None among them: has none."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to before `high`, where they are given."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Like:
    """The pieces, with anything between them; the first and the last are where the text begins and ends."""

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Present:
    """Has a value at all."""


Test: TypeAlias = Equal | Range | Like | Present


@dataclass(frozen=True, slots=True)
class Atom:
    """One condition; `column` is where it stands in the query."""

    field: Field | Subject
    test: Test
    column: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Both:
    """All of them hold."""

    parts: "tuple[Meant, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of them holds."""

    parts: "tuple[Meant, ...]"


Meant: TypeAlias = Atom | Both | AnyOf


@dataclass(frozen=True)
class Meaning:
    """How names become fields, bare words conditions, and times moments."""

    field: Callable[[str, int], Field | Subject]
    bare: Callable[[str], Iterable[tuple[str, str]]]
    now: int

    def of(self, node: Node, negated: bool = False) -> Meant:
        """The conditions of a tree. Raises BadQuery."""
        match node:
            case Not():
                return self.of(node.node, not negated)
            case All() | Either():
                parts = tuple(self.of(each, negated) for each in node.nodes)
                return Both(parts) if isinstance(node, All) is not negated else AnyOf(parts)
            case Bare():
                return self._bare(node.value, negated)
            case Comparison():
                return self._comparison(node, negated)

    def _bare(self, value: Value, negated: bool) -> Meant:
        parts = []
        for name, written in self.bare(value.text):
            field = self.field(name, value.column)
            parts.append(Atom(field, _text(field, Value(written, value.column)), value.column, negated))
        return Both(tuple(parts)) if negated else AnyOf(tuple(parts))

    def _comparison(self, node: Comparison, negated: bool) -> Meant:
        field = self.field(node.field, node.column)
        negated = negated is not (node.operator in ("!=", "not in", "is not set"))
        if node.operator in ("is set", "is not set"):
            if not isinstance(field, Field):
                raise BadQuery(f"{field.name} is compared with = and !=", node.column)
            return Atom(field, Present(), node.column, negated)
        if node.operator in ("<", "<=", ">", ">="):
            return Atom(field, self._range(field, node.operator, node.values[0]), node.column, negated)
        tests = _merged([self._equal(field, value) for value in node.values])
        if negated and isinstance(field, Field) and field.kind is Kind.WORD:
            tests, negated = [_others(field, tests)], False
        atoms = tuple(Atom(field, test, node.column, negated) for test in tests)
        if len(atoms) == 1:
            return atoms[0]
        return Both(atoms) if negated else AnyOf(atoms)

    def _equal(self, field: Field | Subject, value: Value) -> Test:
        match field.kind:
            case Kind.TEXT:
                return _text(field, value)
            case Kind.WORD:
                assert isinstance(field, Field)
                return Equal(_words(field, value))
            case Kind.FLAG:
                if value.text.casefold() not in _FLAGS:
                    raise BadQuery(f"{field.name} is yes or no, not {value.text!r}", value.column)
                return Equal((_FLAGS[value.text.casefold()],))
            case Kind.ID:
                return Equal((_id(field, value),))
            case _:
                return Range(*self._interval(field, value))

    def _range(self, field: Field | Subject, operator: str, value: Value) -> Range:
        if field.kind not in (Kind.TIME, Kind.NUMBER, Kind.SPAN):
            raise BadQuery(f"{field.name} is compared with = and !=, not with {operator}", value.column)
        low, high = self._interval(field, value)
        return {"<": Range(None, low), "<=": Range(None, high), ">": Range(high, None), ">=": Range(low, None)}[
            operator
        ]

    def _interval(self, field: Field | Subject, value: Value) -> tuple[int, int]:
        """What a number, a span or a time covers."""
        if field.kind is Kind.TIME:
            found = times.moment(value.text, self.now)
            if found is None or abs(found[1]) > _NUMBER_MAX:
                raise BadQuery(f"{value.text!r} is no time; write {', '.join(times.EXAMPLES)} (UTC)", value.column)
            return found
        if field.kind is Kind.SPAN:
            span = times.span(value.text)
            if span is None or span > _NUMBER_MAX:
                raise BadQuery(f"{value.text!r} is no span of time; write 90s, 15m, 2h or 1d", value.column)
            return span, span + 1
        if not re.fullmatch(r"-?[0-9]{1,18}", value.text):
            raise BadQuery(f"{field.name} is a number, {value.text!r} is none", value.column)
        return int(value.text), int(value.text) + 1


def _text(field: Field | Subject, value: Value) -> Test:
    """A text as it is, or with stars."""
    if field.kind is Kind.ID:
        return Equal((_id(field, value),))
    if not is_storable(value.text):
        raise BadQuery(f"{value.text!r} has signs that no text here can have", value.column)
    pieces = _pieces(value.text)
    if len(pieces) - 1 > STARS_MAX:
        raise BadQuery(f"more than {STARS_MAX} stars in one value", value.column)
    return Equal((pieces[0],)) if len(pieces) == 1 else Like(pieces)


def _pieces(text: str) -> tuple[str, ...]:
    """The text between its stars; a backslash makes what follows stand for itself."""
    pieces, at = [""], 0
    for found in _ESCAPE.finditer(text):
        pieces[-1] += text[at : found.start()] + (found[1] or "")
        if found[2]:
            pieces.append("")
        at = found.end()
    pieces[-1] += text[at:]
    return tuple(pieces)


def _words(field: Field, value: Value) -> tuple[str, ...]:
    """The words of the field that are meant, in any case and perhaps with stars."""
    pattern = re.compile(".*".join(map(re.escape, _pieces(value.text))), re.IGNORECASE | re.DOTALL)
    found = tuple(word for word in field.words if pattern.fullmatch(word))
    if not found:
        words = [word.lower() for word in field.words]
        raise BadQuery(f"no {field.name} is {value.text!r}{meant(value.text, words)}", value.column)
    return found


def _id(field: Field | Subject, value: Value) -> UUID:
    try:
        return UUID(value.text)
    except ValueError:
        raise BadQuery(f"{field.name} is an id, {value.text!r} is none; copy all of it", value.column) from None


def _merged(tests: list[Test]) -> list[Test]:
    """The values of a list as one condition, patterns and intervals each as their own."""
    values = [value for test in tests if isinstance(test, Equal) for value in test.values]
    others = [test for test in tests if not isinstance(test, Equal)]
    return ([Equal(tuple(dict.fromkeys(values)))] if values else []) + others


def _others(field: Field, tests: list[Test]) -> Test:
    """All that a field of words may have beside these: few of them may be rare, and served by an index."""
    named = {value for test in tests if isinstance(test, Equal) for value in test.values}
    rest: tuple[str | None, ...] = tuple(word for word in field.words if word not in named)
    return Equal((*rest, None) if field.nullable else rest)
