"""How a query may go on: fields, operators, values, keywords; and what there is to write."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from interlock.model.text import is_storable
from interlock.store.tables import entities
from interlock.views.search import times
from interlock.views.search.atoms import Like
from interlock.views.search.conditions import of_test
from interlock.views.search.fields import ANY, SUBJECT_PARTS, Field, Kind, Subject
from interlock.views.search.lexing import Kind as TokenKind
from interlock.views.search.lexing import Token, tokens
from interlock.views.search.refusing import BadQuery
from interlock.views.search.sources import Collection
from interlock.views.words import Json

#: candidates in one answer, and values read from the database for it
CANDIDATES_MAX, VALUES_MAX = 50, 20
#: fields of text whose values are read off an index, one after another
_WITH_INDEX = frozenset({"action", "user"})
_SPANS = ("30s", "5m", "1h", "1d")


def described(collection: Collection, types: Sequence[str]) -> Json:
    """`{"fields": […], "sorted_by": field, "types": […]}`: what may be asked, and of which entities."""
    return {
        "fields": [_described(name, field) for name, field in collection.fields.items()],
        "sorted_by": collection.order,
        "entities": list(types) if collection.link is not None else [],
    }


def _described(name: str, field: Field | Subject) -> Json:
    words = [word.lower() for word in field.words] if isinstance(field, Field) else []
    return {"name": name, "kind": field.kind, "about": field.about, "words": words, "operators": _operators(field)}


def _operators(field: Field | Subject) -> list[str]:
    listed = ["=", "!=", "in", "not in"]
    if field.kind in (Kind.NUMBER, Kind.TIME, Kind.SPAN):
        listed += ["<", "<=", ">", ">="]
    return listed + (["is set", "is not set"] if isinstance(field, Field) and field.nullable else [])


def complete(
    connection: Connection, collection: Collection, text: str, position: int | None, types: Sequence[str]
) -> Json:
    """`{"from": n, "to": n, "candidates": [{"text", "kind", "about"}, …]}`: what may stand at a position (after so
    many letters), instead of the letters between; kinds are field, operator, value and keyword. Never raises for what
    is written."""
    before = text[: len(text) if position is None else position]
    try:
        found = tokens(before)[:-1]
    except BadQuery:  # a quote that is open, or something that no candidate mends
        return {"from": len(before), "to": len(before), "candidates": []}
    last = found[-1] if found else None
    is_begun = last is not None and last.kind is TokenKind.WORD and last.end == len(before) + 1
    begun = last.text if last is not None and is_begun else ""
    told = list(_candidates(connection, collection, found[:-1] if is_begun else found, begun, types))
    fitting = [each for each in told if each["text"].casefold().startswith(begun.casefold())]
    return {"from": len(before) - len(begun), "to": len(before), "candidates": fitting[:CANDIDATES_MAX]}


def _candidates(
    connection: Connection, collection: Collection, found: Sequence[Token], begun: str, types: Sequence[str]
) -> Iterator[Json]:
    """By what the last complete words are."""
    last = found[-1] if found else None
    if last is None or last.says("and", "or", "not") or _opens_group(found):
        yield from _fields(collection, types)
        yield from _keywords("not")
    elif last.says("sortby"):
        yield from (_candidate(n, "field", f.about) for n, f in collection.fields.items() if isinstance(f, Field))
    elif len(found) > 1 and found[-2].says("sortby"):
        yield from _keywords("asc", "desc")
    elif (field := _awaits_value(collection, found, types)) is not None:
        yield from _values(connection, field, begun)
    elif last.says("is"):
        yield from _keywords("set", "not set")
    elif (named := _named(collection, last, types)) is not None and not _is_value(found):
        yield from (_candidate(each, "operator", "") for each in _operators(named))
    else:
        yield from _keywords("and", "or", "sortby")


def _opens_group(found: Sequence[Token]) -> bool:
    """An opening parenthesis that is not that of a list."""
    return found[-1].kind is TokenKind.OPEN and not (len(found) > 1 and found[-2].says("in"))


def _awaits_value(collection: Collection, found: Sequence[Token], types: Sequence[str]) -> Field | Subject | None:
    """The field whose value comes next."""
    at = len(found) - 1
    if found[at].kind is TokenKind.OPERATOR:
        return _named(collection, found[at - 1], types) if at else None
    if found[at].kind not in (TokenKind.OPEN, TokenKind.COMMA):
        return None
    while at and found[at].kind is not TokenKind.OPEN:
        at -= 1
    if at < 2 or not found[at - 1].says("in"):
        return None
    return _named(collection, found[at - 3 if found[at - 2].says("not") else at - 2], types)


def _is_value(found: Sequence[Token]) -> bool:
    return len(found) > 1 and found[-2].kind in (TokenKind.OPERATOR, TokenKind.COMMA, TokenKind.OPEN)


def _named(collection: Collection, token: Token, types: Sequence[str]) -> Field | Subject | None:
    found = collection.fields.get(token.text.casefold())
    type, _, part = token.text.rpartition(".")
    if found is None and collection.link is not None and part in SUBJECT_PARTS and type in (*types, ANY):
        return Subject(None if type == ANY else type, part, collection.link)
    return found


def _fields(collection: Collection, types: Sequence[str]) -> Iterator[Json]:
    for name, field in collection.fields.items():
        yield _candidate(name, "field", field.about)
    if collection.link is not None:
        for type in types:
            for part in SUBJECT_PARTS:
                yield _candidate(f"{type}.{part}", "field", f"the {part} of a {type} that is concerned")


def _values(connection: Connection, field: Field | Subject, begun: str) -> Iterator[Json]:
    for value in _known_values(connection, field, begun):
        quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        is_plain = value.replace("_", "a").replace("-", "a").replace(".", "a").replace(":", "a").isalnum()
        yield _candidate(value if is_plain else quoted, "value", "")


def _known_values(connection: Connection, field: Field | Subject, begun: str) -> Sequence[str]:
    match field.kind:
        case Kind.WORD:
            assert isinstance(field, Field)
            return [word.lower() for word in field.words]
        case Kind.FLAG:
            return ["yes", "no"]
        case Kind.TIME:
            return [each.strip('"') for each in times.EXAMPLES]
        case Kind.SPAN:
            return _SPANS
        case Kind.TEXT if is_storable(begun):
            if isinstance(field, Subject) and field.type is not None:
                return _stored(connection, entities.c.name, begun, entities.c.type == field.type)
            if isinstance(field, Field) and field.name in _WITH_INDEX:
                return _stored(connection, field.value, begun)
    return ()


def _stored(connection: Connection, value: ColumnElement[Any], begun: str, *where: ColumnElement[bool]) -> list[str]:
    """Values that begin so, each found by a step of an index past the one before."""
    begins, found = of_test(value, Like((begun, ""))), list[str]()
    while len(found) < VALUES_MAX:
        beyond = [value > found[-1]] if found else []
        query = select(value).where(*where, begins, *beyond).order_by(value).limit(1)
        following = connection.scalar(query)
        if following is None:
            break
        found.append(following)
    return found


def _keywords(*words: str) -> Iterator[Json]:
    return (_candidate(word, "keyword", "") for word in words)


def _candidate(text: str, kind: str, about: str) -> Json:
    return {"text": text, "kind": kind, "about": about}
