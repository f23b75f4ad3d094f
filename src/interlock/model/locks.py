"""Locks: shared or exclusive, on refs, owned by a flow."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from interlock.model.refs import Ref


class LockMode(StrEnum):
    """How a ref is held."""

    #: with others that hold it shared
    SHARED = "shared"
    #: alone
    EXCLUSIVE = "exclusive"


@dataclass(frozen=True, slots=True)
class Locks:
    """A set of locks, taken all or none. Combine with `+`; on one ref the stronger mode counts."""

    wanted: tuple[tuple[Ref[Any], LockMode], ...] = ()

    def __add__(self, other: "Locks") -> "Locks":
        return Locks(self.wanted + other.wanted)

    def modes(self) -> dict[Ref[Any], LockMode]:
        """The mode wanted per ref."""
        modes: dict[Ref[Any], LockMode] = {}
        for ref, mode in self.wanted:
            if modes.get(ref) is not LockMode.EXCLUSIVE:
                modes[ref] = mode
        return modes


NO_LOCKS = Locks()


def exclusive(*refs: Ref[Any]) -> Locks:
    """Holds each ref alone."""
    return Locks(tuple((ref, LockMode.EXCLUSIVE) for ref in refs))


def shared(*refs: Ref[Any]) -> Locks:
    """Holds each ref together with others that hold it shared."""
    return Locks(tuple((ref, LockMode.SHARED) for ref in refs))
