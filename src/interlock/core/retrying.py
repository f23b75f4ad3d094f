"""Trying again: a part that did not succeed and left nothing behind, an end phase or a compensation that raised.

How long is waited before is measured by whoever waits; that the time has come becomes part of the rows, since the wall
clock by which they know it may go back at any time.
"""

from uuid import UUID

from interlock.core.facts import RetryDue
from interlock.core.flow import Flow
from interlock.model.records import CommandRecord
from interlock.model.replacing import replace
from interlock.model.states import Result, State

#: microseconds before the second try of an end phase or a compensation; doubled each time
END_RETRY_US = 1_000_000


def next_attempt(command: CommandRecord, now: int) -> CommandRecord | None:
    """The part anew, due after its pause; None where it succeeded or may not be tried again."""
    retry = command.options.retry if command.options_json is not None else None
    if retry is None or command.result is not Result.FAILED or command.has_leftovers:
        return None
    if command.attempt >= retry.attempts:
        return None
    pause_s = min(retry.pause_s * 2.0 ** (command.attempt - 1), retry.pause_max_s)
    return replace(anew(command, now), retry_at=now + round(pause_s * 1e6))


def anew(command: CommandRecord, now: int) -> CommandRecord:
    """The part as it was planned, for another attempt."""
    return replace(
        command, id=command.id_of_next_attempt, attempt=command.attempt + 1, created_at=now, retry_at=None,
        state=State.PENDING, result=None, open=0, ended_seq=None, undo=None, failure_json=None, value_json=None,
        phase=None, phase_ran=False, attempts=0, has_leftovers=False, has_warnings=False, started_at=None,
        ended_at=None, deadline_at=None, stopping=None, stopped_by=None, asking=None, skipped_by=None, forced_by=None,
    )  # fmt: skip


def later(command: CommandRecord, attempts: int, now: int) -> CommandRecord:
    """The command before another try of the phase that it is in, of which so many have failed."""
    return replace(command, attempts=attempts, retry_at=now + (END_RETRY_US << (attempts - 1)))


def is_time(command: CommandRecord, now: int) -> bool:
    """Whether it has not to wait before a try."""
    return command.retry_at is None or command.retry_at <= now


def left_us(command: CommandRecord, now: int) -> int:
    """How much longer it is to wait: never longer than was meant, whatever the clock says by now."""
    if command.retry_at is None:
        return 0
    is_anew = command.state is State.PENDING
    whole_us = command.retry_at - command.created_at if is_anew else END_RETRY_US << (command.attempts - 1)
    return min(max(0, command.retry_at - now), whole_us)


def due(flow: Flow, fact: RetryDue) -> list[UUID]:
    """Notes that the time has come, whatever the clock says; the commands to examine."""
    command = flow.commands[fact.command_id]
    if command.retry_at != fact.retry_at:
        return []  # it was that of another try
    flow.put_command(replace(command, retry_at=None))
    return [command.id]
