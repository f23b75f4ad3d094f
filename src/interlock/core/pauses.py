"""Pauses before another try: of a part that is made anew, of an end phase, of a compensation.

How long one lasts is measured by whoever waits; that it is over becomes part of the rows, since the wall clock by which
they know it may go back at any time.
"""

from uuid import UUID

from interlock.core.facts import PauseOver
from interlock.core.flow import Flow
from interlock.model.records import CommandRecord
from interlock.model.replacing import replace
from interlock.model.states import State

#: microseconds before the second try of an end phase or a compensation; doubled each time
END_RETRY_US = 1_000_000


def later(command: CommandRecord, attempts: int, now: int) -> CommandRecord:
    """The command before another try of the phase that it is in, of which so many have failed."""
    return replace(command, attempts=attempts, retry_at=now + (END_RETRY_US << (attempts - 1)))


def is_over(command: CommandRecord, now: int) -> bool:
    """Whether it waits no longer."""
    return command.retry_at is None or command.retry_at <= now


def left_us(command: CommandRecord, now: int) -> int:
    """How much longer it is to wait: never longer than the pause was meant to be, whatever the clock says by now."""
    if command.retry_at is None:
        return 0
    is_anew = command.state is State.PENDING
    whole_us = command.retry_at - command.created_at if is_anew else END_RETRY_US << (command.attempts - 1)
    return min(max(0, command.retry_at - now), whole_us)


def over(flow: Flow, fact: PauseOver) -> list[UUID]:
    """Notes that a pause is over, whatever the clock says; the commands to examine."""
    command = flow.commands[fact.command_id]
    if command.retry_at != fact.retry_at:
        return []  # it was another pause
    flow.put_command(replace(command, retry_at=None))
    return [command.id]
