"""`replace` for records: as `dataclasses.replace`, several times quicker, for the hot path.

A record is copied slot by slot by a function made once per class. Type checkers see dataclasses.replace.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import replace as replace
else:
    _COPIES: dict[type, Callable[[Any], Any]] = {}
    _set = object.__setattr__

    def replace(row, /, **changes):
        """A copy of a slotted frozen dataclass with other values; AttributeError for an unknown field."""
        cls = type(row)
        copy = _COPIES.get(cls)
        if copy is None:
            copy = _COPIES[cls] = _copier(cls)
        new = copy(row)
        for name, value in changes.items():
            _set(new, name, value)
        return new

    def _copier(cls):
        names = [field.name for field in fields(cls)]
        setters = {f"set_{name}": getattr(cls, name).__set__ for name in names}
        lines = "".join(f"    set_{name}(new, row.{name})\n" for name in names)
        space = {"make": object.__new__, "cls": cls, **setters}
        exec(f"def copy(row):\n    new = make(cls)\n{lines}    return new\n", space)
        return space["copy"]
