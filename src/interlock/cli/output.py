"""Printing: tables for people, JSON for programs; nothing coloured when piped, no control characters."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

#: how the words of states are coloured; the word itself is always shown
COLOURS = {
    "FINISHED": "green",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "ABORTED": "yellow",
    "CANCELLED": "yellow",
    "UNKNOWN": "magenta",
    "STARTED": "cyan",
    "NOT_STARTED": "dim",
}

#: columns that are never shortened
ID_HEADINGS = frozenset({"ID", "JOB", "LEFTOVER", "TASK"})


class Format(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    JSON = "json"


def plain(value: Any) -> str:
    """One line of text that cannot steer a terminal: what is not printable is shown as an escape."""
    text = "" if value is None else "yes" if value is True else "" if value is False else str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clock(moment: str | None) -> str:
    """An API time without its fractions."""
    return "" if moment is None else moment[:19].replace("T", " ")


def duration(start: str | None, end: str | None) -> str:
    """How long from one API time to another, for people; empty where either is missing."""
    if start is None or end is None:
        return ""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def print_json(value: Any) -> None:
    """The API's answer as it is."""
    write(json.dumps(value, indent=2, ensure_ascii=not _is_utf8()))


def print_table(rows: Iterable[Sequence[Any]], headings: Sequence[str]) -> None:
    """Aligned columns; whole values when piped, fitted to the width on a terminal."""
    cells = [[plain(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_on_terminal(cells, headings)
        return
    widths = [max(len(row[at]) for row in [list(headings), *cells]) for at in range(len(headings))]
    for row in [list(headings), *cells]:
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, Any]) -> None:
    """`key: value` lines; empty values are left out."""
    shown = {key: plain(value) for key, value in fields.items()}
    width = max((len(key) for key, value in shown.items() if value), default=0)
    for key, value in shown.items():
        if value:
            write(f"{key.ljust(width)}  {value}")


def write(line: str) -> None:
    """A line on standard output, at once; characters that it cannot show are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def complain(*lines: str) -> None:
    """Lines on standard error."""
    for line in lines:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(plain(line).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stderr.flush()


def console() -> "Console":
    """A terminal's console; without colours where NO_COLOR is set."""
    from rich.console import Console  # late: only terminals need it

    return Console(no_color=bool(os.environ.get("NO_COLOR")), highlight=False)


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _print_on_terminal(cells: list[list[str]], headings: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, heading in enumerate(headings):
        # ids are there to be copied: other columns give way
        width = max((len(row[at]) for row in cells), default=0) if heading in ID_HEADINGS else None
        table.add_column(heading, min_width=width)
    for row in cells:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    console().print(table)
