"""Trying a part again: a new command in the place of one that did not succeed and left nothing behind."""

from interlock.model.records import CommandRecord
from interlock.model.replacing import replace
from interlock.model.states import Result, State


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
