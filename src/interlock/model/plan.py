"""Plans: what `execute` returns. Pieces of work named before anything is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from interlock.model.refs import Ref
from interlock.model.text import require_storable
from interlock.model.waits import Wait

#: bounds of a part's attempts, and of the pause between two of them in seconds
ATTEMPTS_MAX = 100
PAUSE_S_MAX = 86_400
#: the longest time that a part, or a job, may be given: a year
TIMEOUT_S_MAX = 366 * 86_400


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
    """One async task: a verb on a host, or a registered local function (`host` None), or a `wait`.

    `touches` are the refs it may change; None = the refs among its command's parameters.
    """

    host: Ref[Any] | None
    method: str
    arguments: Mapping[str, Any]
    is_async: bool
    is_mutating: bool
    touches: tuple[Ref[Any], ...] | None = None
    wait: Wait | None = None


@dataclass(frozen=True, slots=True)
class Detached:
    """A command that becomes a job of its own; its end is waited for."""

    command: Any


def on_host(host: Ref[Any], verb: HostVerb, *, touches: tuple[Ref[Any], ...] | None = None) -> TaskWork:
    """A verb for a host to do. The host is chosen here, in the phase, never at dispatch."""
    return TaskWork(host, verb.method, dict(verb.wire_params()), verb.is_async, verb.is_mutating, touches)


def local(function: str, /, *, touches: tuple[Ref[Any], ...] | None = None, **arguments: Any) -> TaskWork:
    """A function registered in the catalog under that name, run in this process after the commit."""
    return TaskWork(None, function, arguments, True, True, touches)


@dataclass(frozen=True, slots=True)
class Retry:
    """How a part that failed is tried again: `attempts` in all, after a pause that doubles each time.

    Every attempt is a new command with tasks of its own. A part that left something behind, or whose fate
    is not known, is never tried again.
    """

    attempts: int
    pause_s: float = 1.0
    pause_max_s: float = 60.0

    def __post_init__(self) -> None:
        if not 2 <= self.attempts <= ATTEMPTS_MAX:
            raise ValueError(f"{self.attempts} attempts of a part; it must be 2 to {ATTEMPTS_MAX}")
        if not 0 <= self.pause_s <= self.pause_max_s <= PAUSE_S_MAX:
            raise ValueError(
                f"a pause of {self.pause_s:g} to {self.pause_max_s:g} s; it must not shrink, nor exceed {PAUSE_S_MAX} s"
            )


@dataclass(frozen=True, slots=True)
class Part:
    """A child command, an async task, a detached command or a group of parts, and how it counts."""

    work: Any  # a Command, a TaskWork, Detached or a Group; Command lives above this module
    step: str | None = None
    weight: int = 1
    best_effort: bool = False
    key: str | None = None
    after: tuple[str, ...] = ()
    retry: Retry | None = None
    no_return: bool = False
    timeout_s: float | None = None


class Order(StrEnum):
    """How the parts of a group follow one another."""

    BESIDE = "beside"
    IN_TURN = "in_turn"
    FIRST_OF = "first_of"


@dataclass(frozen=True, slots=True)
class Group:
    """Parts in one of the three orders; `at_most` and `stop_on_failure` are about parts side by side."""

    parts: tuple["Plan", ...] = ()
    order: Order = Order.BESIDE
    at_most: int | None = None
    stop_on_failure: bool = False


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
    after: str | Sequence[str] = (),
    retry: Retry | None = None,
    no_return: bool = False,
    timeout_s: float | None = None,
) -> Plan:
    """A piece of a plan: a command, a task (`on_host`, `local`), a wait (`until`, `signal`, `approval`, `end_of`,
    `detached`), or a group of parts that ends as one.

    `step` shows it to people under that name; `weight` is its share of the progress; with `best_effort`
    its failure does not fail the command; `key` is its stable name in the plan (default: made from
    what it is and its position); `after` names the keys of parts that must have succeeded before; with
    `no_return`, once it has succeeded, neither it nor what came before it is undone; `timeout_s` is the time
    that it may take, after which it is stopped: counted from when it begins, for each attempt anew.
    """
    if weight < 1:
        raise ValueError(f"weight {weight} of a part; it must be 1 or more")
    require_storable("the step of a part", step)
    require_possible(timeout_s)
    keys = (after,) if isinstance(after, str) else tuple(after)
    return Part(work, step, weight, best_effort, key, keys, retry, no_return, timeout_s)


def require_possible(timeout_s: float | None) -> None:
    """Raises ValueError for a time that nothing can be given."""
    if timeout_s is not None and not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise ValueError(f"a time of {timeout_s:g} s; it must be more than 0 and at most {TIMEOUT_S_MAX} s")


def parallel(*plans: Plan, at_most: int | None = None, stop_on_failure: bool = False) -> Plan:
    """Side by side, `at_most` so many at a time. One that fails does not stop the others, unless with
    `stop_on_failure`: then those that have not begun never begin."""
    if at_most is not None and at_most < 1:
        raise ValueError(f"at_most {at_most} in parallel; it must be 1 or more")
    return Group(plans, Order.BESIDE, at_most, stop_on_failure)


def sequence(*plans: Plan) -> Plan:
    """One after the other; the next starts when the one before has succeeded."""
    return Group(plans, Order.IN_TURN)


def first_of(*plans: Plan) -> Plan:
    """Until one succeeds: the next starts when the one before has failed, its failure end is over, and it
    left nothing behind. It succeeds with the first that does."""
    if not plans:
        raise ValueError("first_of nothing; name at least one plan")
    return Group(plans, Order.FIRST_OF)
