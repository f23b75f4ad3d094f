"""Ends by entity: an end phase waits until no task of another flow touches what its command names."""

from collections.abc import Sequence
from uuid import UUID

from interlock.core import narration
from interlock.core.facts import Due, EndPhase
from interlock.core.flow import Flow
from interlock.model.records import CommandRecord
from interlock.model.states import State


def awaits_entities(command: CommandRecord) -> bool:
    """Whether its end phase is due as soon as nobody else works on its refs."""
    if command.state is not State.FINALIZING or command.phase_ran or command.options_json is None:
        return False
    return command.options.ends_by_entity and bool(command.refs)


def asked(flow: Flow, command_id: UUID, busy: Sequence[str], now: int) -> list[Due]:
    """What is due after `AskEntities`: the end phase, where nobody is in its way. Otherwise an event says once who
    is, in the words of `busy`."""
    command = flow.commands[command_id]
    if not busy:
        assert command.phase is not None  # every finalizing command has one
        return [EndPhase(command.id, command.phase)]
    if command.id not in flow.told_to_wait:
        flow.told_to_wait.add(command.id)
        narration.entities_awaited(flow, command, busy, now)
    return []
