"""Refusing a query: where in its text, why, and what to write instead."""

from collections.abc import Iterable
from difflib import get_close_matches

from interlock.model.errors import InvalidInput


class BadQuery(InvalidInput):
    """A query cannot be understood, or would have to look at every row. `column` counts from 1."""

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(f"{reason} (column {column})")
        self.column = column


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean x?` where something known is like the word, otherwise what is known."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    close = get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[close[0]]}?" if close else f"; there are: {', '.join(names)}"
