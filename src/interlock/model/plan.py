"""Plans: what `execute` returns. Pieces of work named before anything is sent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from interlock.model.refs import Ref
from interlock.model.text import require_storable


class HostVerb(Protocol):
    """A typed call of a host's protocol; `interlock.vdsm` has them."""

    @property
    def method(self) -> str: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def is_mutating(self) -> bool: ...
    def wire_params(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class TaskWork:
    """One async task: a verb on a host, or a registered local function (`host` None).

    `touches` are the refs it may change; None = the refs among its command's parameters.
    """

    host: Ref[Any] | None
    method: str
    arguments: Mapping[str, Any]
    is_async: bool
    is_mutating: bool
    touches: tuple[Ref[Any], ...] | None = None


def on_host(host: Ref[Any], verb: HostVerb, *, touches: tuple[Ref[Any], ...] | None = None) -> TaskWork:
    """A verb for a host to do. The host is chosen here, in the phase, never at dispatch."""
    return TaskWork(host, verb.method, dict(verb.wire_params()), verb.is_async, verb.is_mutating, touches)


def local(function: str, /, *, touches: tuple[Ref[Any], ...] | None = None, **arguments: Any) -> TaskWork:
    """A function registered in the catalog under that name, run in this process after the commit."""
    return TaskWork(None, function, arguments, True, True, touches)


@dataclass(frozen=True, slots=True)
class Part:
    """A child command or an async task, and how it counts."""

    work: Any  # a Command or a TaskWork; Command lives above this module
    step: str | None = None
    weight: int = 1
    best_effort: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that run side by side, or (`ordered`) one after the other."""

    parts: tuple["Plan", ...] = ()
    ordered: bool = field(default=False)


Plan: TypeAlias = Part | Group

#: nothing to do: the phase was all there is
NOTHING: Plan = Group()


def part(
    work: Any,
    *,
    step: str | None = None,
    weight: int = 1,
    best_effort: bool = False,
    key: str | None = None,
) -> Plan:
    """A piece of a plan.

    `step` shows it to people under that name; `weight` is its share of the progress; with `best_effort`
    its failure does not fail the command; `key` is its stable name in the plan (default: made from
    what it is and its position).
    """
    if weight < 1:
        raise ValueError(f"weight {weight} of a part; it must be 1 or more")
    require_storable("the step of a part", step)
    return Part(work, step, weight, best_effort, key)


def parallel(*plans: Plan) -> Plan:
    """Side by side. One that fails does not stop the others."""
    return Group(plans)


def sequence(*plans: Plan) -> Plan:
    """One after the other; the next starts when the one before has succeeded. Commands only."""
    return Group(plans, ordered=True)


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part with its place: `after` are the positions that must have succeeded before it starts."""

    part: Part
    position: int
    after: tuple[int, ...]


def flatten(plan: Plan) -> list[PlannedPart]:
    """The plan as parts in order, each with what it comes after. Empty groups vanish."""
    parts: list[PlannedPart] = []

    def place(piece: Plan, after: tuple[int, ...]) -> tuple[int, ...]:
        """Lays a piece down and returns the positions that end it (its own `after` where it is empty)."""
        if isinstance(piece, Part):
            parts.append(PlannedPart(piece, len(parts), after))
            return (len(parts) - 1,)
        if piece.ordered:
            for each in piece.parts:
                after = place(each, after)
            return after
        ends = [end for each in piece.parts for end in place(each, after)]
        return tuple(dict.fromkeys(ends)) or after

    place(plan, ())
    return parts


def walk(plan: Plan) -> Iterator[Part]:
    """Every part of the plan."""
    return (planned.part for planned in flatten(plan))
