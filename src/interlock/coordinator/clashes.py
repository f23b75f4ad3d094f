"""Refuses plans of which two parts would work on one ref at once (hard case 24): locks keep other flows out."""

from collections.abc import Callable, Iterator
from typing import Any

from interlock.command import Command, Reader
from interlock.core.clashing import clash
from interlock.core.flow import Flow
from interlock.model.errors import Refused
from interlock.model.layout import flatten
from interlock.model.locks import NO_LOCKS, Locks
from interlock.model.plan import Group, Plan
from interlock.model.records import CommandRecord, Role
from interlock.steps import Steps


def refuse_clash(
    flow: Flow,
    command: CommandRecord,
    object_of: Callable[[CommandRecord], Command[Any]],
    db_of: Callable[[CommandRecord], Reader],
) -> None:
    """Raises Refused where the parts that the command has planned may meet. A part that cannot say yet what it will
    lock, because it needs what another makes, is not compared."""
    parts = flow.children_of(command.id, Role.FORWARD)
    if len(parts) < 2:
        return
    wants = {}
    for part in parts:
        try:
            wants[part.position] = _locks(object_of(part), db_of(part)).modes()
        except Exception:
            continue
    found = clash(parts, wants)
    if found is not None:
        one, other, ref = found
        raise Refused(
            f"{one.title} and {other.title} both need {ref}, at least one of them alone, and nothing keeps them apart; "
            "put them in a sequence, or have one part do both"
        )


def _locks(subject: Command[Any], db: Reader) -> Locks:
    """What a part will lock; of a group, what all in it will."""
    if not isinstance(subject, Steps):
        return subject.locks(db)
    return sum((each.locks(db) for each in _within(subject.plan)), NO_LOCKS)


def _within(plan: Plan) -> Iterator[Command[Any]]:
    for planned in flatten(plan):
        work = planned.part.work
        if isinstance(work, Group):
            yield from _within(work)
        elif isinstance(work, Command):
            yield work
