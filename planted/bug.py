"""What a planted bug is: one replacement of text in one file, and which check ought to notice it."""

from dataclasses import dataclass
from pathlib import Path


class DoesNotFit(Exception):
    """The text that a bug replaces is not there exactly once; the message says where, and how often it is."""


@dataclass(frozen=True, slots=True)
class Bug:
    """`old` stands exactly once in `file`, which is named from src/interlock, and `new` takes its place. `expected` are
    the numbers of the invariants of which one ought to notice it first."""

    name: str
    #: what goes wrong, in a sentence
    words: str
    file: str
    old: str
    new: str
    expected: tuple[int, ...]

    def plant(self, sources: Path) -> None:
        """Changes the file below `sources`, a copy of src. Raises DoesNotFit."""
        path = sources / "interlock" / self.file
        path.write_text(self.planted_in(path.read_text("utf-8")), "utf-8")

    def planted_in(self, source: str) -> str:
        """The file's text with the bug in it. Raises DoesNotFit."""
        many = source.count(self.old)
        if many != 1:
            raise DoesNotFit(f"{self.name}: what it replaces is {many} times in {self.file}; it must be there once")
        return source.replace(self.old, self.new)
