"""Text that every database can hold: Unicode without U+0000 and without halves of surrogate pairs."""

from interlock.model.errors import InvalidInput


def is_storable(text: str) -> bool:
    """Whether a row can hold it."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def legible(text: str) -> str:
    """The same with escapes (`\\x00`, `\\udcff`) for what no row can hold: for words that only people read."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def require_storable(what: str, text: str | None) -> None:
    """Raises InvalidInput for text that no row can hold; `what` names it."""
    if text is not None and not is_storable(text):
        raise InvalidInput(f"{what} is {legible(text)!r}, with a character that no database can hold; leave it out")
