"""What a query says: a tree of conditions, and an order. Names and values have no meaning yet."""

from dataclasses import dataclass
from typing import TypeAlias

from interlock.views.search.lexing import Kind, Token, tokens
from interlock.views.search.refusing import BadQuery

#: conditions of a query, values of one list, and how deep parentheses and `not` may be nested
TERMS_MAX, VALUES_MAX, DEPTH_MAX = 50, 100, 20


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it was written, backslashes and all."""

    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; `in` and `not in` have several values, `is set` and `is not set` none."""

    field: str
    operator: str
    values: tuple[Value, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Bare:
    """A word that is looked for."""

    value: Value


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    node: "Node"


@dataclass(frozen=True, slots=True)
class All:
    """`and`."""

    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """`or`."""

    nodes: tuple["Node", ...]


Node: TypeAlias = Comparison | Bare | Not | All | Either


@dataclass(frozen=True, slots=True)
class Sort:
    """`sortby field [asc|desc]`; None: nothing was said."""

    field: str
    descending: bool | None
    column: int


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query."""

    where: Node | None
    sort: Sort | None


def parse(query: str) -> Query:
    """Reads a query. Raises BadQuery."""
    return _Reader(tokens(query)).query()


class _Reader:
    """Goes through the tokens once."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._terms = 0

    def query(self) -> Query:
        where = None
        if self._next.kind is not Kind.END and not self._next.says("sortby"):
            where = self._either(0)
        sort = self._sort() if self._next.says("sortby") else None
        rest = self._next
        if rest.kind is not Kind.END:
            more = "write and, or, or sortby before it, and quote values with spaces" if sort is None else "end there"
            raise BadQuery(f"{rest.text!r} is one word too many; {more}", rest.column)
        return Query(where, sort)

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += token.kind is not Kind.END
        return token

    def _either(self, depth: int) -> Node:
        nodes = [self._all(depth)]
        while self._next.says("or"):
            self._take()
            nodes.append(self._all(depth))
        return nodes[0] if len(nodes) == 1 else Either(tuple(nodes))

    def _all(self, depth: int) -> Node:
        nodes = [self._one(depth)]
        while self._next.says("and"):
            self._take()
            nodes.append(self._one(depth))
        return nodes[0] if len(nodes) == 1 else All(tuple(nodes))

    def _one(self, depth: int) -> Node:
        token = self._take()
        if depth > DEPTH_MAX:
            raise BadQuery(f"nested more than {DEPTH_MAX} deep; write it flatter", token.column)
        if token.says("not"):
            return Not(self._one(depth + 1))
        if token.kind is Kind.OPEN:
            node = self._either(depth + 1)
            self._expect(Kind.CLOSE, "a closing parenthesis")
            return node
        if token.kind is Kind.TEXT:
            return self._counted(Bare(Value(token.text, token.column)), token)
        if token.kind is not Kind.WORD or token.says("and", "or", "in", "is", "sortby"):
            what = "the end" if token.kind is Kind.END else repr(token.text)
            raise BadQuery(f"{what} where a condition should be, as status = failed", token.column)
        return self._counted(self._term(token), token)

    def _counted(self, node: Node, token: Token) -> Node:
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise BadQuery(f"more than {TERMS_MAX} conditions; ask several times", token.column)
        return node

    def _term(self, name: Token) -> Node:
        follows = self._next
        if follows.kind is Kind.OPERATOR:
            self._take()
            return Comparison(name.text, follows.text, (self._value(),), name.column)
        if follows.says("is"):
            self._take()
            negative = self._next.says("not")
            self._at += negative
            if not self._next.says("set"):
                raise BadQuery("after is comes set or not set", self._next.column)
            self._take()
            return Comparison(name.text, "is not set" if negative else "is set", (), name.column)
        if follows.says("in") or (follows.says("not") and self._tokens[self._at + 1].says("in")):
            self._at += 2 if follows.says("not") else 1
            return Comparison(name.text, "not in" if follows.says("not") else "in", self._values(), name.column)
        return Bare(Value(name.text, name.column))

    def _values(self) -> tuple[Value, ...]:
        self._expect(Kind.OPEN, "a list in parentheses, as (a, b)")
        values = [self._value()]
        while self._next.kind is Kind.COMMA:
            self._take()
            values.append(self._value())
            if len(values) > VALUES_MAX:
                raise BadQuery(f"more than {VALUES_MAX} values; ask several times", values[-1].column)
        self._expect(Kind.CLOSE, "a comma, or the list's closing parenthesis")
        return tuple(values)

    def _value(self) -> Value:
        token = self._take()
        if token.kind not in (Kind.WORD, Kind.TEXT):
            what = "the end" if token.kind is Kind.END else repr(token.text)
            raise BadQuery(f"{what} where a value should be; quote values with signs or spaces", token.column)
        return Value(token.text, token.column)

    def _expect(self, kind: Kind, what: str) -> None:
        token = self._take()
        if token.kind is not kind:
            found = "the end" if token.kind is Kind.END else repr(token.text)
            raise BadQuery(f"{found} where {what} should be", token.column)

    def _sort(self) -> Sort:
        self._take()
        field = self._take()
        if field.kind is not Kind.WORD:
            raise BadQuery("after sortby comes a field", field.column)
        descending = None
        if self._next.says("asc", "desc"):
            descending = self._take().says("desc")
        return Sort(field.text, descending, field.column)
