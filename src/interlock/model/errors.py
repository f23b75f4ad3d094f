"""The errors, one tree, split by whose fault it is.

InterlockError
├── Refused      the caller's: nothing happened
│   ├── Missing, NameTaken, KeyReused, Locked, NotAllowed, InvalidInput
├── HostFailed   the world's
├── NotOwner     this engine lost its database to another
├── DatabaseLost the database server cannot be used at present
├── NotArchived  the archive cannot be written at present
└── Bug          ours
"""

from collections.abc import Sequence
from typing import Any


class InterlockError(Exception):
    """Root of all errors that Interlock raises on purpose."""


class Refused(InterlockError):
    """The caller asked for something that cannot be; nothing happened. `reasons` are all of them, in words."""

    def __init__(self, *reasons: str, job_id: Any = None) -> None:
        super().__init__("; ".join(reasons))
        self.reasons: Sequence[str] = reasons
        self.job_id = job_id


class Missing(Refused):
    """A ref names nothing."""


class NameTaken(Refused):
    """An entity of that type and name exists."""


class KeyReused(Refused):
    """An idempotency key came again with other parameters."""


class Locked(Refused):
    """A lock is held by another job; the reason names it."""


class NotAllowed(Refused):
    """Who asked does not hold the permission that it takes."""


class InvalidInput(Refused):
    """Unknown command, key or version, or a value of the wrong type or size."""


class HostFailed(InterlockError):
    """A host refused, failed or did not answer."""


class NotOwner(InterlockError):
    """Another process owns this database, or took it over."""


class DatabaseLost(InterlockError):
    """The database server does not answer, or has ended this session; try again when it is back."""


class NotArchived(InterlockError):
    """What was to be archived before it is removed cannot be written, and is kept."""


class Bug(InterlockError):
    """Interlock broke one of its own rules; report it."""
