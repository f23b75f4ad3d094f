"""The words of a query, each with the column where it begins."""

from dataclasses import dataclass
from enum import Enum

from interlock.views.search.refusing import BadQuery

#: letters of a query
LENGTH_MAX = 2000
_OPERATORS = ("!=", "<=", ">=", "=", "<", ">")
_ENDS_WORD = frozenset("()=!<>,\"'")


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    #: in quotes: never a keyword
    TEXT = "text"
    OPERATOR = "operator"
    OPEN = "("
    CLOSE = ")"
    COMMA = ","
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the query; `column` counts from 1, `end` is the column after it."""

    kind: Kind
    text: str
    column: int
    end: int

    def says(self, *keywords: str) -> bool:
        """Whether it is one of the keywords."""
        return self.kind is Kind.WORD and self.text.casefold() in keywords


def tokens(query: str) -> list[Token]:
    """The tokens of a query, the last one END. Raises BadQuery."""
    if len(query) > LENGTH_MAX:
        raise BadQuery(f"the query has {len(query)} letters; at most {LENGTH_MAX}", LENGTH_MAX + 1)
    found: list[Token] = []
    at = 0
    while at < len(query):
        if query[at].isspace():
            at += 1
            continue
        token = _token(query, at)
        found.append(token)
        at = token.end - 1
    return [*found, Token(Kind.END, "", len(query) + 1, len(query) + 1)]


def _token(query: str, at: int) -> Token:
    letter = query[at]
    if letter in "(),":
        return Token(Kind(letter), letter, at + 1, at + 2)
    if letter in "\"'":
        return _quoted(query, at)
    for operator in _OPERATORS:
        if query.startswith(operator, at):
            return Token(Kind.OPERATOR, operator, at + 1, at + 1 + len(operator))
    if letter == "!":
        raise BadQuery("'!' stands alone; write != or not", at + 1)
    end = at
    while end < len(query) and not query[end].isspace() and query[end] not in _ENDS_WORD:
        end += 2 if query[end] == "\\" else 1
    end = min(end, len(query))
    return Token(Kind.WORD, query[at:end], at + 1, end + 1)


def _quoted(query: str, at: int) -> Token:
    """What is in quotes keeps its backslashes: they say that a star, a quote or a backslash stands for itself."""
    quote, end = query[at], at + 1
    while end < len(query) and query[end] != quote:
        end += 2 if query[end] == "\\" else 1
    if end >= len(query):
        raise BadQuery(f"a text in {quote} does not end; close it", at + 1)
    return Token(Kind.TEXT, query[at + 1 : end], at + 1, end + 2)
