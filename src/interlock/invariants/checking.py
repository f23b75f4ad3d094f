"""All checks, by the number of the invariant in the list of what is promised."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain as in_turn
from itertools import islice

from sqlalchemy import Connection

from interlock.invariants import actions, endings, holding, ordering, present, showing, stopping
from interlock.invariants.picture import Picture, pictures

#: how many violations of one invariant are told
TOLD_MAX = 100


@dataclass(frozen=True, slots=True)
class Violation:
    """What should hold and does not: the invariant's number, the row and the fact."""

    number: int
    message: str


#: what each invariant is called, and what looks for its violations in one flow …
OF_A_FLOW: tuple[tuple[int, str, Callable[[Picture], Iterator[str]]], ...] = (
    (2, "states and results agree", endings.states_agree),
    (3, "one end", endings.one_end),
    (4, "a parent ends after its parts", endings.parts_end_first),
    (5, "the parts under way are counted", endings.open_parts_counted),
    (6, "success is that of every part", endings.success_of_parts),
    (11, "no lock outlives its flow", holding.locks_outlive),
    (13, "parts run in their order", ordering.sequence_broken),
    (14, "what is undone was completed, latest first", ordering.undone_wrongly),
    (16, "what is stopped is stopped whole", stopping.stopped_in_part),
    (17, "what may remain on a host is a leftover", endings.left_unsaid),
    (19, "job and steps show what the commands are", showing.shown_otherwise),
    (20, "progress is within its bounds", showing.progress_out_of_bounds),
    (21, "a flow's events have no gap", showing.event_gaps),
    (22, "one correlation id per flow", present.correlation_differs),
)
#: … and between them, in the whole database
OF_ALL: tuple[tuple[int, str, Callable[[Connection], Iterator[str]]], ...] = (
    (10, "exclusive locks never overlap", holding.locks_overlap),
    (13, "jobs begin in their order", ordering.former_broken),
    (18, "no orphan rows", present.orphans),
    (24, "every change by a person is in the audit log", actions.not_as_done),
)


def check(connection: Connection, *, noted_digest: str | None = None) -> list[Violation]:
    """Everything in the database that breaks an invariant, in the order of their numbers. `noted_digest` is that of
    an action, noted elsewhere before, which must still be there.

    Reads only, within the connection's transaction: on a live database it sees one committed state. Tells
    at most TOLD_MAX violations of each invariant.
    """
    found = _in_order(in_turn(_in_flows(connection), check_between(connection)))
    if noted_digest is not None and not actions.digest_is_known(connection, noted_digest):
        words = f"no action has the digest {noted_digest}: what was written up to it has been changed since"
        found.append(Violation(24, words))
    return found


def check_flow(flow: Picture) -> list[Violation]:
    """Everything in one flow that breaks an invariant."""
    return [Violation(number, message) for number, _, find in OF_A_FLOW for message in find(flow)]


def _in_flows(connection: Connection) -> Iterator[Violation]:
    for flow in pictures(connection):
        yield from check_flow(flow)


def check_between(connection: Connection) -> Iterator[Violation]:
    """What breaks an invariant between flows; `check` without looking into them."""
    for number, _, find in OF_ALL:
        yield from (Violation(number, message) for message in islice(find(connection), TOLD_MAX))


def _in_order(found: Iterable[Violation]) -> list[Violation]:
    told: dict[int, list[Violation]] = {}
    for each in found:
        if len(of_number := told.setdefault(each.number, [])) < TOLD_MAX:
            of_number.append(each)
    return [each for number in sorted(told) for each in told[number]]
