"""What a database of either kind must offer to the store."""

from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine


class Place(Protocol):
    """Where one database lies. Owned by one process at a time, from `own` to `release`."""

    @property
    def name(self) -> str:
        """How messages call it; without a password."""

    @property
    def key_file(self) -> Path | None:
        """Where the key that seals its secrets lies unless somebody says otherwise; None = nowhere, in memory."""

    @property
    def owner_check_s(self) -> float | None:
        """How often an idle writer makes sure that it still owns it; None where only its own end can change that."""

    def own(self) -> None:
        """Takes it for this process, and makes it where it can. Raises NotOwner where another has it."""

    def release(self) -> None:
        """Gives it up; nothing happens the second time."""

    def require(self) -> None:
        """Raises Missing where there is nothing to read, InvalidInput where nobody else can read it."""

    def write_engine(self) -> Engine:
        """Connections that write, of which there may be one at a time, and only after `own`. A new one in the
        place of one that was lost owns the database again, or raises NotOwner."""

    def read_engine(self) -> Engine:
        """Connections that see the state of their first SELECT until their transaction ends, and write nothing."""

    def is_lost(self, error: BaseException) -> bool:
        """Whether an error is the database's own (it is gone, it is too slow) and nobody's fault."""
