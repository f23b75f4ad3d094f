"""Locks: shared or exclusive, on refs, owned by a flow."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from interlock.model.refs import Ref

#: priorities go from minus this to this
PRIORITY_MAX = 10


#: microseconds of waiting that make up for one level of priority
AGEING_US = 60_000_000


class LockMode(StrEnum):
    """How a ref is held."""

    #: with others that hold it shared
    SHARED = "shared"
    #: alone
    EXCLUSIVE = "exclusive"


class LockScope(StrEnum):
    """How long a lock is held."""

    #: until the flow has ended
    COMMAND = "command"
    #: until all parts of the command that took it have succeeded; where they fail, until the flow has ended
    EXECUTION = "execution"


def conflict(one: LockMode, other: LockMode) -> bool:
    """Only shared goes with shared."""
    return LockMode.EXCLUSIVE in (one, other)


@dataclass(frozen=True, slots=True)
class Locks:
    """A set of locks, taken all or none. Combine with `+`; on one ref the stronger mode and the longer scope count.

    Where one is not free the command is refused, unless the set is one that waits.
    """

    wanted: tuple[tuple[Ref[Any], LockMode, LockScope], ...] = ()
    waits: bool = False
    timeout_s: float | None = None

    def __add__(self, other: "Locks") -> "Locks":
        times = [each for each in (self.timeout_s, other.timeout_s) if each is not None]
        return Locks(self.wanted + other.wanted, self.waits or other.waits, min(times, default=None))

    def waiting(self, timeout_s: float | None = None) -> "Locks":
        """The same set, waited for until it is free; after `timeout_s` seconds the command is refused."""
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"waiting {timeout_s:g} s for locks; it must be more than 0, or None for no end")
        return Locks(self.wanted, True, timeout_s)

    def scoped(self, scope: LockScope) -> "Locks":
        """The same set, held so long."""
        return Locks(tuple((ref, mode, scope) for ref, mode, _ in self.wanted), self.waits, self.timeout_s)

    def modes(self) -> dict[Ref[Any], LockMode]:
        """The mode wanted per ref."""
        modes: dict[Ref[Any], LockMode] = {}
        for ref, mode, _ in self.wanted:
            if modes.get(ref) is not LockMode.EXCLUSIVE:
                modes[ref] = mode
        return modes

    def scopes(self) -> dict[Ref[Any], LockScope]:
        """The scope wanted per ref."""
        scopes: dict[Ref[Any], LockScope] = {}
        for ref, _, scope in self.wanted:
            if scopes.get(ref) is not LockScope.COMMAND:
                scopes[ref] = scope
        return scopes


NO_LOCKS = Locks()


def exclusive(*refs: Ref[Any]) -> Locks:
    """Holds each ref alone, until the flow has ended."""
    return Locks(tuple((ref, LockMode.EXCLUSIVE, LockScope.COMMAND) for ref in refs))


def shared(*refs: Ref[Any]) -> Locks:
    """Holds each ref together with others that hold it shared, until the flow has ended."""
    return Locks(tuple((ref, LockMode.SHARED, LockScope.COMMAND) for ref in refs))
