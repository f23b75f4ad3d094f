"""The tree of steps: where each has its place, from when it is planned; a group's parts are there before it begins."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from interlock.core.flow import Flow
from interlock.model.layout import Outline
from interlock.model.records import CommandRecord, Role, StepRecord, TaskRecord, id_of_part
from interlock.model.refs import Ref
from interlock.model.states import StepStatus

VALIDATING, EXECUTING, FINALIZING = "VALIDATING", "EXECUTING", "FINALIZING"
GENERIC = (VALIDATING, EXECUTING, FINALIZING)

#: the turn of what an end phase, or an undoing, has planned: after all that execute has
_LAST = 1 << 20
#: beside others of one turn a step comes as it was made
_TURN_BITS = 32


@dataclass(frozen=True, slots=True)
class Place:
    """Under which step, and at which position of that step's plan (None: not yet said)."""

    parent: UUID
    turn: int | None = None

    def of_part(self, position: int) -> "Place":
        """Of a part of the plan that has this place."""
        return self if self.turn is not None else Place(self.parent, position)


def generic(flow: Flow, name: str) -> StepRecord:
    """One of the three steps that every job has."""
    return next(step for step in flow.steps.values() if step.parent_step_id is None and step.name == name)


def place_of(flow: Flow, row: CommandRecord | TaskRecord) -> Place:
    """Where the step of a part of a plan belongs: under the nearest command above that has one."""
    above, role, position = row.parent_id if isinstance(row, CommandRecord) else row.command_id, row.role, row.position
    assert above is not None  # the flow command is no part of a plan
    while True:
        command = flow.commands[above]
        turn = position if role is Role.FORWARD else _LAST
        if command.parent_id is None:
            return Place(generic(flow, EXECUTING if role is Role.FORWARD else FINALIZING).id, turn)
        if above in flow.steps:
            return Place(above, turn)
        above, role, position = command.parent_id, command.role, command.position


def place_within(flow: Flow, command: CommandRecord) -> Place:
    """Where the steps of what a part plans itself belong."""
    return place_of(flow, command) if command.step is None else Place(command.id)


def plan_step(
    flow: Flow, id: UUID, place: Place, name: str, title: str, weight: int, refs: tuple[Ref[Any], ...]
) -> None:
    """A step that is still to come."""
    assert place.turn is not None
    flow.put_step(
        StepRecord(
            id, flow.id, place.parent, name, title, _position(flow, place.turn), StepStatus.PENDING,
            flow.job.correlation_id, weight=weight, refs=refs,
        )
    )  # fmt: skip


def _position(flow: Flow, turn: int) -> int:
    return turn << _TURN_BITS | len(flow.steps)


def show_again(flow: Flow, former: CommandRecord, again: CommandRecord) -> None:
    """What was shown within a group is still to come, since the group is tried again."""
    ids = {former.id: again.id}
    outline = former.options.outline
    ids |= zip(ids_within(former.id, outline), ids_within(again.id, outline), strict=True)
    for old, new in ids.items():
        step = flow.steps.get(old)
        if step is not None and new not in flow.steps:
            assert step.parent_step_id is not None  # the steps without one are no part's
            place = Place(ids.get(step.parent_step_id, step.parent_step_id), step.position >> _TURN_BITS)
            plan_step(flow, new, place, step.name, step.title, step.weight, step.refs)


def ids_within(group_id: UUID, outline: Outline) -> Iterator[UUID]:
    """The ids of what an outline names, each before what is within it."""
    for position, within in outline:
        id = id_of_part(group_id, position)
        yield id
        yield from ids_within(id, within)


def never_reached(flow: Flow, command: CommandRecord) -> list[StepRecord]:
    """The steps within a group of which the group has made nothing."""
    if command.options_json is None:
        return []
    ids = ids_within(command.id, command.options.outline)
    return [flow.steps[id] for id in ids if id in flow.steps and id not in flow.commands]
