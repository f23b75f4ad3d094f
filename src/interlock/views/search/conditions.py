"""Conditions as SQL: true or false of every row, never unknown."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, false, not_, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean

from interlock.store.types import Text
from interlock.views.search.atoms import AnyOf, Atom, Both, Equal, Like, Meant, Present, Range, Test
from interlock.views.search.fields import Field

#: what an atom about entities means for a row
OfSubject = Callable[[Atom], ColumnElement[bool]]

_LAST_BEFORE_SURROGATES, _FIRST_AFTER_SURROGATES, _LAST = 0xD7FF, 0xE000, 0x10FFFF


class _Matches(FunctionElement[bool]):
    """A text has a form with stars, case and all: GLOB on SQLite (whose LIKE knows no case), LIKE on PostgreSQL."""

    type = Boolean()
    inherit_cache = True


@compiles(_Matches, "sqlite")
def _glob(element: Any, compiler: Any, **options: Any) -> str:
    value, glob, _ = element.clauses
    return f"({compiler.process(value, **options)} GLOB {compiler.process(glob, **options)})"


@compiles(_Matches, "postgresql")
def _like(element: Any, compiler: Any, **options: Any) -> str:
    value, _, like = element.clauses
    return f"({compiler.process(value, **options)} LIKE {compiler.process(like, **options)})"


def condition(meant: Meant, of_subject: OfSubject) -> ColumnElement[bool]:
    """A tree of conditions; `of_subject` does those about entities."""
    match meant:
        case Both():
            return and_(*(condition(part, of_subject) for part in meant.parts))
        case AnyOf():
            return or_(*(condition(part, of_subject) for part in meant.parts))
        case Atom():
            return of_atom(meant) if isinstance(meant.field, Field) else of_subject(meant)


def of_atom(atom: Atom) -> ColumnElement[bool]:
    """One condition about a row's own fields."""
    assert isinstance(atom.field, Field)
    holds = of_test(atom.field.value, atom.test)
    if not atom.negated:
        return holds
    decides_none = isinstance(atom.test, Present) or (isinstance(atom.test, Equal) and None in atom.test.values)
    has_none = [atom.field.value.is_(None)] if atom.field.nullable and not decides_none else []
    return or_(*has_none, not_(holds))


def of_test(value: ColumnElement[Any], test: Test) -> ColumnElement[bool]:
    """What a value must be."""
    match test:
        case Equal():
            given = [each for each in test.values if each is not None]
            found = [value == given[0]] if len(given) == 1 else [value.in_(given)] if given else []
            return or_(false(), *found, *([value.is_(None)] if None in test.values else []))
        case Range():
            low = [value >= test.low] if test.low is not None else []
            return and_(*low, *([value < test.high] if test.high is not None else []))
        case Present():
            return value.is_not(None)
        case Like():
            return _form(value, test.pieces)


def _form(value: ColumnElement[Any], pieces: tuple[str, ...]) -> ColumnElement[bool]:
    """A form with stars; what it begins with is a range, which an index can serve."""
    if not any(pieces):
        return value.is_not(None)
    conditions = []
    if pieces[0]:
        after = _after_prefix(pieces[0])
        conditions = [value >= pieces[0]] + ([value < after] if after is not None else [])
    if any(pieces[1:]):
        glob = "*".join("".join(f"[{c}]" if c in "*?[" else c for c in piece) for piece in pieces)
        like = "%".join("".join(f"\\{c}" if c in "\\%_" else c for c in piece) for piece in pieces)
        patterns = [bindparam(None, text, type_=Text(), unique=True) for text in (glob, like)]
        conditions.append(_Matches(value, *patterns))
    return and_(*conditions)


def _after_prefix(prefix: str) -> str | None:
    """The first text, by code points, after all that begin with the prefix; None: there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[at])
        if point < _LAST:
            following = _FIRST_AFTER_SURROGATES if point == _LAST_BEFORE_SURROGATES else point + 1
            return prefix[:at] + chr(following)
    return None
