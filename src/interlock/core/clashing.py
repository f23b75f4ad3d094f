"""Two parts of a plan that may run side by side must not want one ref unless both share it (hard case 24).

The locks of a flow are entered again by all its parts, so no lock would keep them apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from itertools import chain, pairwise
from typing import Any, TypeAlias

from interlock.model.locks import LockMode
from interlock.model.records import CommandRecord
from interlock.model.refs import Ref

Modes: TypeAlias = Mapping[Ref[Any], LockMode]


def clash(
    parts: Sequence[CommandRecord], wants: Mapping[int, Modes]
) -> tuple[CommandRecord, CommandRecord, Ref[Any]] | None:
    """Two parts of a plan between which there is no order, and the ref that one of them wants alone and the other as
    well; None where there are none. `wants` is by position."""
    by_ref: dict[Ref[Any], list[tuple[int, LockMode]]] = {}
    for position, modes in wants.items():
        for ref, mode in modes.items():
            by_ref.setdefault(ref, []).append((position, mode))
    doubtful = {
        ref: wanted for ref, wanted in by_ref.items() if len(wanted) > 1 and LockMode.EXCLUSIVE in dict(wanted).values()
    }
    if not doubtful:
        return None
    order = _Order(parts)
    for ref, wanted in doubtful.items():
        for one, other in _neighbours(sorted(wanted, key=lambda each: order.place[each[0]])):
            if not order.is_between(one, other):
                return order.parts[one], order.parts[other], ref
    return None


def _neighbours(wanted: Sequence[tuple[int, LockMode]]) -> Iterator[tuple[int, int]]:
    """The pairs that must not meet, of parts in an order that is possible; what follows from others is left out."""
    alone = [index for index, (_, mode) in enumerate(wanted) if mode is LockMode.EXCLUSIVE]
    for former, here, following in zip([0, *alone], alone, [*alone[1:], len(wanted) - 1], strict=False):
        yield from ((wanted[index][0], wanted[here][0]) for index in range(former, here))
        yield from ((wanted[here][0], wanted[index][0]) for index in range(here + 1, following + 1))


class _Order:
    """Which parts of a plan have ended before which others begin."""

    def __init__(self, parts: Sequence[CommandRecord]) -> None:
        self.parts = {part.position: part for part in parts}
        alternatives: dict[int, list[int]] = {}
        for part in parts:
            if part.options.choice is not None:
                alternatives.setdefault(part.options.choice, []).append(part.position)
        after: dict[int, set[int]] = {}
        for part in parts:
            choices = (self.parts[each].options.choice for each in part.after)
            others = (alternatives[choice] for choice in set(choices) if choice is not None)
            after[part.position] = {*part.after, *chain.from_iterable(others)}
        for same in alternatives.values():
            for former, here in pairwise(sorted(same)):
                after[here].add(former)
        #: where each part is in an order that is possible; and which places come before it, as bits
        self.place = {position: place for place, position in enumerate(TopologicalSorter(after).static_order())}
        self._before: dict[int, int] = {}
        for position in self.place:
            bits = 0
            for former in after[position]:
                bits |= self._before[former] | 1 << self.place[former]
            self._before[position] = bits

    def is_between(self, former: int, here: int) -> bool:
        """Whether one has ended before the other begins, or they are of a group that runs one at a time."""
        one, other = self.parts[former].options, self.parts[here].options
        if one.pool is not None and one.pool == other.pool and one.at_most == 1:
            return True
        return bool(self._before[here] >> self.place[former] & 1)
