"""What can still be said after a journal was damaged: nothing that may be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from interlock.agent.journal.format import Reading
from interlock.agent.journal.leavings import may_have_left
from interlock.agent.journal.ledger import Ledger
from interlock.agent.journal.remembering import is_time_ordered
from interlock.agent.records import Entry, Failure, HostTask
from interlock.agent.task_machine import Inner
from interlock.verbs import Code

#: The first and the last number of records that lie beside each other.
Run = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Salvage:
    """What a new journal begins with, and what could not be taken into it."""

    entries: tuple[Entry, ...]
    #: The records that are lost.
    lost: tuple[Run, ...]
    #: The tasks that had not ended as far as can be read: they have failed now.
    failed: tuple[HostTask, ...]
    former_incarnation: str | None
    #: The number of the new journal's header.
    next_number: int


def salvage(reading: Reading, *, new_id: str) -> Salvage:
    """Makes a ledger of the records of a damaged journal that can be read.

    Tasks that had not ended are failed, with what they may have left; ended and cleared ones stay so, also where a
    gap may hold that a success was reverted: who started them sees another incarnation and counts them as lost. Every
    time-ordered id up to `new_id` is too old to be started. So is every flow up to it of which no term was noted
    after the last gap, since a newer term may have been noted within.
    """
    first, former = _origin(reading)
    by_number = {record.number: record.entry for record in (*reading.records, *reading.beyond)}
    ledger, terms, lost = Ledger(), dict[str, int](), list[Run]()
    expected = first
    for number in sorted(number for number in by_number if number >= first):
        entry = by_number[number]
        fits = _take(ledger, entry)
        if number > expected or not fits:
            lost.append((expected, number - 1 if fits else number))
            terms.clear()
        if fits and entry["kind"] == "terms":
            terms |= entry["terms"]
        expected = number + 1
    last = max(reading.durable, first)
    if expected <= last:
        lost.append((expected, last))
        terms.clear()
    failed = tuple(_failed(task) for task in ledger.tasks.values() if not task.state.is_done)
    entries = tuple(_judged(ledger, failed, terms, new_id).entries())
    return Salvage(entries, tuple(lost), failed, former, max(expected, last + 1))


def _origin(reading: Reading) -> tuple[int, str | None]:
    """The number at which the damaged journal's file began, and its incarnation as far as known."""
    if reading.header is not None:
        return reading.header.number, reading.header.entry["incarnation"]
    if reading.mark is not None:
        return reading.mark.first, reading.mark.incarnation
    lowest = min((record.number for record in reading.beyond), default=1)
    return max(0, lowest - 1), None


def _take(ledger: Ledger, entry: Entry) -> bool:
    """Takes an entry in if it fits what is known; what speaks of something that got lost is fine."""
    try:
        is_about_lost = entry["kind"] == "forgotten" and entry["id"] not in ledger.tasks
        if entry["kind"] != "journal" and not is_about_lost:
            ledger.apply(entry)
    except (AttributeError, KeyError, TypeError, ValueError):  # of another version, whose header is lost
        return False
    return True


def _failed(task: HostTask) -> HostTask:
    before = f"; before that it had failed: {task.failure.error}" if task.failure is not None else ""
    error = (
        f"the host's journal was damaged and does not tell how the task ended. {may_have_left(task)}: "
        f"look there, then clear the task{before}"
    )
    failure = Failure(int(Code.JOURNAL_DAMAGED), error, is_unclean=True)
    return replace(task.failed(failure), state=Inner.FAILED)


def _judged(ledger: Ledger, failed: Iterable[HostTask], terms: Mapping[str, int], new_id: str) -> Ledger:
    """The ledger without what a gap has made doubtful."""
    judged = Ledger()
    for task in (ledger.tasks | {task.id: task for task in failed}).values():
        judged.apply(task.to_entry())
    judged.apply({"kind": "generations", "generations": ledger.generations})
    judged.apply({"kind": "terms", "terms": terms})
    for task_id, term in ledger.closed.items():
        if term is None:
            judged.apply({"kind": "cleared", "ids": [task_id]})
        elif not is_time_ordered(task_id):  # the others are too old now, whatever the term
            judged.apply({"kind": "forbidden", "terms": {task_id: term}})
    ids = [new_id, ledger.low_water, *ledger.tasks, *ledger.closed]
    flows = [new_id, ledger.flow_low_water, *ledger.terms]
    judged.apply({"kind": "low_water", "task": _latest(ids), "flow": _latest(flows)})
    return judged


def _latest(ids: Iterable[str]) -> str:
    return max(id for id in ids if is_time_ordered(id))
