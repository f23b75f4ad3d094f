"""Asking: a part has failed, what succeeded is kept, and a person says whether it is tried again or skipped.

It is for commands whose class is `resumable`, in jobs whose submitter wished to be asked. Cancelling the command is the
third answer: then what succeeded is undone.
"""

from collections.abc import Iterator
from uuid import UUID

from interlock.core import leaving, narration, retrying
from interlock.core.ending import count_open, is_given_up
from interlock.core.flow import Flow
from interlock.model.errors import Refused
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, LeftoverRecord, Role
from interlock.model.replacing import replace
from interlock.model.states import Result


def asks(flow: Flow, command: CommandRecord) -> bool:
    """Whether a failure of its parts is a question, and not the end."""
    return command.options_json is not None and command.options.asks and not is_given_up(flow, command)


def ask(flow: Flow, command: CommandRecord, failure: Failure, now: int) -> None:
    """The command stays as it is until somebody has decided."""
    if command.asking is None:
        may_skip = ", skip it," if command.options.skips else ""
        words = f"{command.title}: {failure.message}; retry what failed{may_skip} or cancel, which undoes the rest"
        narration.ask(flow, command, words, now)


def unmet(flow: Flow, command: CommandRecord) -> list[CommandRecord]:
    """The parts because of which it did not succeed: those that failed and those that never began, in the plan's
    order."""
    children = flow.children_of(command.id, Role.FORWARD)
    chosen = {child.options.choice for child in children if child.result is Result.SUCCEEDED} - {None}
    return [
        child
        for child in children
        if child.result is not Result.SUCCEEDED
        and child.skipped_by is None
        and child.options.choice not in chosen
        and not (child.best_effort and has_failed(child))
    ]


def has_failed(part: CommandRecord) -> bool:
    """Whether it failed or was stopped, and did not just never begin."""
    return part.result is Result.FAILED or part.failure_json is not None


def meant(flow: Flow, command: CommandRecord, only: UUID | None) -> list[CommandRecord]:
    """The parts that failed, or `only` that one. Of alternatives one stands for all: they are tried in their order."""
    failed = [part for part in unmet(flow, command) if has_failed(part)]
    if only is None:
        return failed
    choices = {part.options.choice for part in failed if part.id == only} - {None}
    return [part for part in failed if part.id == only or part.options.choice in choices]


def go_on(flow: Flow, command: CommandRecord, skipped_by: str | None, only: UUID | None, now: int) -> None:
    """What failed (or `only` that part) is tried again, or does not count since somebody skips it; what never began
    has its turn. Raises Refused where something of what failed may be left."""
    failed = meant(flow, command, only)
    ids = {part.id for part in failed}
    parts = [part for part in unmet(flow, command) if part.id in ids or not has_failed(part)]
    for part in parts:
        _require_clean(flow, part)
    flow.put_command(replace(command, asking=None))
    tried = {part.options.choice for part in failed} - {None}
    for part in parts:
        if skipped_by is not None and (has_failed(part) or part.options.choice in tried):
            flow.put_command(replace(part, skipped_by=skipped_by))
        else:
            leaving.begin_anew(flow, part, retrying.anew(part, now))
    if skipped_by is not None:
        narration.warn(flow, command)
    command = flow.commands[command.id]
    flow.put_command(replace(command, open=count_open(flow, command)))
    narration.attention_settled(flow)


def _require_clean(flow: Flow, part: CommandRecord) -> None:
    left = next(_left_by(flow, part), None)
    if left is not None:
        raise Refused(
            f"{part.title} ({part.id}) left something behind: {left.reason}; clear leftover {left.id} first, "
            "or cancel the command"
        )


def _left_by(flow: Flow, part: CommandRecord) -> Iterator[LeftoverRecord]:
    """The open leftovers of a part and of all below it, in whichever phase."""
    for leftover in flow.leftovers.values():
        command: CommandRecord | None = flow.commands[leftover.command_id] if leftover.cleared_at is None else None
        while command is not None:
            if command.id == part.id:
                yield leftover
            command = None if command.parent_id is None else flow.commands[command.parent_id]
