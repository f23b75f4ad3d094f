"""The layout of a plan: its parts in a row, each with its place and what it waits for."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeAlias

from interlock.model.errors import Refused
from interlock.model.plan import Detached, Group, Order, Part, Plan, Retry, TaskWork
from interlock.model.replacing import replace

#: the name of the command that a group becomes
GROUP = "interlock.steps"

#: of a group: the positions of its parts that have a name for people, or hold what has one, each with those within
Outline: TypeAlias = "tuple[tuple[int, Outline], ...]"


@dataclass(frozen=True, slots=True)
class Options:
    """How a part is treated beyond its place; most parts have none of it."""

    #: alternatives of one `first_of` share a number
    choice: int | None = None
    #: parts of one group that is bounded, or stops on a failure, share a number
    pool: int | None = None
    at_most: int | None = None
    stop_on_failure: bool = False
    no_return: bool = False
    retry: Retry | None = None
    #: it ends only when no other flow works on its refs
    ends_by_entity: bool = False
    #: of a group: what of it is shown before it begins
    outline: Outline = ()
    #: how long the command may take from when it begins
    timeout_s: float | None = None
    #: of a flow command: it waits for locks that its class would have it refused for
    waits_for_locks: bool = False
    #: where a part of it fails, what succeeded is kept and a person is asked
    asks: bool = False
    #: then what failed may be skipped
    skips: bool = False

    def to_json(self) -> str | None:
        """What differs from the default; None where nothing does."""
        if self == NO_OPTIONS:
            return None
        told = {name: value for name, value in asdict(self).items() if value not in (None, False, ())}
        return json.dumps(told, separators=(",", ":"), sort_keys=True)


NO_OPTIONS = Options()


@lru_cache(maxsize=1024)
def options_of(text: str | None) -> Options:
    """What `to_json` wrote."""
    if text is None:
        return NO_OPTIONS
    told = json.loads(text)
    if "retry" in told:
        told["retry"] = Retry(**told["retry"])
    told["outline"] = _outline(told.get("outline", ()))
    return Options(**told)


def _outline(told: Any) -> Outline:
    return tuple((position, _outline(within)) for position, within in told)


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part with its place: `after` are the positions that must have succeeded before it starts."""

    part: Part
    position: int
    after: tuple[int, ...]
    options: Options = NO_OPTIONS


def flatten(plan: Plan) -> list[PlannedPart]:
    """The plan as parts in order, each with what it comes after. Empty groups vanish; a group that ends as one
    is a part; a task on which an order or an option depends is wrapped, so that it ends like a command.

    Raises Refused where the order cannot be.
    """
    layout = _Layout()
    layout.place(plan, (), NO_OPTIONS)
    return _with_ends(_ordered(layout.parts))


def outline(group: Group) -> Outline:
    """What of a group people see by name, at any depth. Raises what `flatten` raises."""
    found = []
    for planned in flatten(group):
        within = outline(planned.part.work) if isinstance(planned.part.work, Group) else ()
        if planned.part.step is not None or within:
            found.append((planned.position, within))
    return tuple(found)


class _Layout:
    """The parts laid down so far."""

    def __init__(self) -> None:
        self.parts: list[PlannedPart] = []
        self._groups = 0

    def place(self, piece: Plan, after: tuple[int, ...], options: Options) -> tuple[int, ...]:
        """Lays a piece down; returns the positions that end it (its own `after` where it is empty)."""
        if isinstance(piece, Part):
            timeout_s = None if isinstance(piece.work, TaskWork) else piece.timeout_s  # a task's is its own
            options = replace(options, no_return=piece.no_return, retry=piece.retry, timeout_s=timeout_s)
            self.parts.append(PlannedPart(piece, len(self.parts), after, options))
            return (len(self.parts) - 1,)
        if piece.order is Order.IN_TURN:
            for each in piece.parts:
                after = self.place(each, after, NO_OPTIONS)
            return after
        pieces, options = self._side_by_side(piece)
        ends = [end for each in pieces for end in self.place(each, after, options)]
        return tuple(dict.fromkeys(ends)) or after

    def _side_by_side(self, group: Group) -> tuple[Sequence[Plan], Options]:
        """The pieces, and what they share. Where one is judged by how another ends, each is a part."""
        if group.order is Order.FIRST_OF:
            alternatives = [_as_part(each) for each in group.parts]
            if any(each.best_effort for each in alternatives):
                raise Refused("an alternative of first_of is best_effort, which never fails; leave that out")
            self._groups += 1
            return alternatives, Options(choice=self._groups)
        if group.at_most is None and not group.stop_on_failure:
            return group.parts, NO_OPTIONS
        self._groups += 1
        pieces = [_as_part(each) for each in group.parts if each != Group()]
        return pieces, Options(pool=self._groups, at_most=group.at_most, stop_on_failure=group.stop_on_failure)


def _as_part(piece: Plan) -> Part:
    return piece if isinstance(piece, Part) else Part(piece)


def _ordered(parts: list[PlannedPart]) -> list[PlannedPart]:
    """With `after=` resolved from keys to positions."""
    if not any(planned.part.after for planned in parts):
        return parts
    positions = {planned.part.key: planned.position for planned in parts if planned.part.key is not None}
    resolved = []
    for planned in parts:
        unknown = [key for key in planned.part.after if key not in positions]
        if unknown:
            raise Refused(f"a part comes after {', '.join(map(repr, unknown))}, but no part of its plan has that key")
        named = tuple(positions[key] for key in planned.part.after)
        resolved.append(replace(planned, after=tuple(dict.fromkeys(planned.after + named))))
    try:
        TopologicalSorter({planned.position: planned.after for planned in resolved}).prepare()
    except CycleError as error:
        names = [parts[position].part.key or f"part {position}" for position in error.args[1]]
        raise Refused(f"parts of a plan wait for each other: {' after '.join(reversed(names))}") from None
    return resolved


def _with_ends(parts: list[PlannedPart]) -> list[PlannedPart]:
    waited_for = {position for planned in parts for position in planned.after}
    return [
        replace(planned, part=wrapped(planned.part)) if _needs_an_end(planned, waited_for) else planned
        for planned in parts
    ]


def _needs_an_end(planned: PlannedPart, waited_for: set[int]) -> bool:
    is_free = not planned.after and planned.position not in waited_for and planned.options == NO_OPTIONS
    return isinstance(planned.part.work, (TaskWork, Detached)) and not is_free


def wrapped(part: Part) -> Part:
    """The same task as the only part of a group, which shows in its place."""
    return replace(part, work=Group((Part(part.work, timeout_s=part.timeout_s),)), timeout_s=None)


def is_wrapper(work: Any) -> bool:
    """Whether it is a group for the sake of one task."""
    if not isinstance(work, Group) or len(work.parts) != 1:
        return False
    [only] = work.parts
    return isinstance(only, Part) and isinstance(only.work, (TaskWork, Detached))
