"""Settling: a person decides about a command that needs attention, or asks. It is tried again or goes on without what
failed, or is ended without its phases.

Who forces an end says what is true, so nothing is run, restored or undone; a leftover names what may not be as it
should. Tasks that may still run are made leftovers by name, or keep the command from being forced (hard case 28).
"""

from dataclasses import dataclass
from uuid import UUID

from interlock.core import asking, cancelling, leaving, narration, tasks
from interlock.core.ending import to_undo
from interlock.core.facts import TaskEnded
from interlock.core.flow import Flow
from interlock.core.lifecycle import move
from interlock.model.decisions import Decision
from interlock.model.errors import Missing, Refused
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, LeftoverRecord, Severity, TaskRecord, Undo
from interlock.model.replacing import replace
from interlock.model.states import Outcome, Phase, Result, State
from interlock.model.text import require_storable
from interlock.model.trials import CLAIMS_MAX, RESTORED

#: how many tasks or commands a refusal names
_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class Settlement:
    """Who decides what, and why; `command_id` None means the only command of the flow that needs attention."""

    decision: Decision
    command_id: UUID | None
    by: str
    reason: str
    #: tasks that may still run become leftovers
    leave_tasks: bool = False


def chosen(flow: Flow, settlement: Settlement) -> CommandRecord:
    """The command that is meant. Raises Refused where it needs no attention or is not the only one, Missing,
    InvalidInput."""
    if not settlement.reason.strip():
        raise Refused("say why: what was found, and what was done about it")
    require_storable("the reason", settlement.reason)
    require_storable("who decides", settlement.by)
    if flow.job.claims >= RESTORED:
        return _whole(flow, settlement)
    if settlement.command_id is None:
        parked = [each for each in flow.commands.values() if _needs_person(each)]
        if len(parked) > 1:
            names = "; ".join(f"{each.id} ({each.title})" for each in parked[:_NAMED_MAX])
            raise Refused(f"{len(parked)} commands of job {flow.id} need attention, name one: {names}")
        if not parked:
            raise Refused(_nothing_to_decide(flow))
        return parked[0]
    command = flow.commands.get(settlement.command_id)
    if command is None:
        raise Missing(f"job {flow.id} has no command {settlement.command_id}; `interlock job show {flow.id}`")
    above = flow.commands[command.parent_id] if command.parent_id is not None else command
    if above.asking is not None and command in asking.unmet(flow, above):
        if not asking.has_failed(command):
            raise Refused(f"{command.title} ({command.id}) never began, since others failed; name one of those")
        return above
    if not _needs_person(command):
        raise Refused(f"{command.title} ({command.id}) needs nobody's attention; it is {command.state}")
    return command


def _whole(flow: Flow, settlement: Settlement) -> CommandRecord:
    """Of a job from a backup that was restored: whether it goes on at all comes before whatever asks within it."""
    if settlement.command_id not in (None, flow.id):
        raise Refused(f"job {flow.id} is from a backup: decide about the whole of it first, then about its parts")
    return flow.root


def _needs_person(command: CommandRecord) -> bool:
    return command.attention is not None or command.asking is not None


def _nothing_to_decide(flow: Flow) -> str:
    words = f"job {flow.id} needs nobody's attention"
    if flow.root.state is State.ENDED:
        return f"{words}, it has ended {flow.root.result}; `interlock job restart {flow.id}` starts it anew"
    return f"{words}; `interlock job why {flow.id}` says what it waits for"


def settle(flow: Flow, command: CommandRecord, settlement: Settlement, now: int) -> list[TaskRecord]:
    """Writes the decision down; returns the tasks that nobody watches any more. Then the flow is to be examined."""
    left: list[TaskRecord] = []
    if settlement.decision in (Decision.FORCE_SUCCESS, Decision.FORCE_FAILURE):
        left = _force(flow, command, settlement, now)
    elif command.attention is None:
        _answer(flow, command, settlement, now)
    elif settlement.decision is Decision.RETRY:
        _retry(flow, command, settlement, now)
    else:
        raise Refused(f"{command.title} ({command.id}) asks nothing that could be skipped: {command.attention}")
    narration.attention_settled(flow)
    _go_on_from_here(flow, now)
    return left


def _go_on_from_here(flow: Flow, now: int) -> None:
    """It is parked no more. The time in which it was does not count."""
    if flow.job.claims >= CLAIMS_MAX:
        passed_us = max(0, now - flow.job.updated_at)
        for command in list(flow.commands.values()):
            if command.deadline_at is not None and command.state is not State.ENDED:
                flow.put_command(replace(command, deadline_at=command.deadline_at + passed_us))
        for task in list(flow.tasks.values()):
            if task.deadline_at is not None and task.outcome is None:
                flow.put_task(replace(task, deadline_at=task.deadline_at + passed_us))
    flow.put_job(replace(flow.job, claims=0))


def _answer(flow: Flow, command: CommandRecord, settlement: Settlement, now: int) -> None:
    """What failed is tried again, or skipped; where a part is named, only that."""
    only = None if settlement.command_id in (None, command.id) else settlement.command_id
    skips = settlement.decision is Decision.SKIP
    if skips and not command.options.skips:
        raise Refused(f"{command.title} ({command.id}) needs all of its parts; retry what failed, or cancel")
    failed = asking.meant(flow, command, only)
    named = ", ".join(part.title for part in failed[:_NAMED_MAX])
    more = f" and {len(failed) - _NAMED_MAX} more" if len(failed) > _NAMED_MAX else ""
    how = "is skipped" if skips else "is tried again"
    words = f"{named}{more} of {command.title} {how} by {settlement.by}: {settlement.reason}"
    kind = "failed_skipped" if skips else "failed_retried"
    severity = Severity.WARNING if skips else Severity.INFO
    flow.add_event(now, kind, words, severity, user=settlement.by, command_id=command.id)
    asking.go_on(flow, command, settlement.by if skips else None, only, now)


def _retry(flow: Flow, command: CommandRecord, settlement: Settlement, now: int) -> None:
    flow.put_command(replace(command, attention=None, attempts=0, retry_at=None))
    words = f"{command.title} is tried again by {settlement.by}: {settlement.reason}"
    flow.add_event(now, "attention_retried", words, user=settlement.by, command_id=command.id)


def _force(flow: Flow, command: CommandRecord, settlement: Settlement, now: int) -> list[TaskRecord]:
    is_success = settlement.decision is Decision.FORCE_SUCCESS
    if is_success:
        _check_may_succeed(command)
    below = [each for each in cancelling.below(flow, command) if each.state is not State.ENDED]
    ids = {each.id for each in below}
    unfinished = [task for task in flow.tasks.values() if task.outcome is None and task.command_id in ids]
    left = [task for task in unfinished if task.wait_json is None]  # a wait runs nowhere
    if left and not settlement.leave_tasks:
        raise Refused(_may_run(command, left))
    has_begun = command.started_at is not None
    result = Result.SUCCEEDED if is_success else Result.FAILED if has_begun else Result.CANCELLED
    words = f"{command.title} was forced to end {result} by {settlement.by}: {settlement.reason}"
    flow.add_event(now, "command_forced", words, Severity.WARNING, user=settlement.by, command_id=command.id)
    if has_begun or flow.job.claims >= RESTORED:
        _leave(flow, command, below, now)
    for task in unfinished:
        is_wait = task.wait_json is not None
        outcome, said = (Outcome.FAILED, "it waits no longer") if is_wait else (Outcome.UNKNOWN, "it was left")
        tasks.reported(flow, TaskEnded(task.id, outcome, message=f"{said}: {words}"), now)
    for each in reversed(below):
        _end(flow, each.id, result if each.id == command.id else Result.CANCELLED, settlement.by, words, now)
    return left


def _check_may_succeed(command: CommandRecord) -> None:
    """Whether it would be no lie: it has begun, and nothing of it has failed or been undone."""
    if command.started_at is None:
        raise Refused(f"{command.title} has not begun, so it cannot have succeeded; try it again, or force its failure")
    if command.failure_json is not None:
        why = Failure.from_json(command.failure_json).message
        raise Refused(f"{command.title} has failed already ({why}); try its end again, or force its failure")
    if command.asking is not None:
        raise Refused(f"parts of {command.title} have failed; skip them, which says so, or force its failure")


def _may_run(command: CommandRecord, left: list[TaskRecord]) -> str:
    named = ", ".join(f"{task.method} on {task.host or 'this process'} (task {task.id})" for task in left[:_NAMED_MAX])
    more = f" and {len(left) - _NAMED_MAX} more" if len(left) > _NAMED_MAX else ""
    return (
        f"tasks of {command.title} may still run: {named}{more}; wait for their end, or leave them: "
        "each then becomes a leftover, which refuses what it may touch"
    )


def _leave(flow: Flow, command: CommandRecord, ended: list[CommandRecord], now: int) -> None:
    """What was not brought in order stays visible under the command's own id."""
    completed = [each for top in ended for each in to_undo(flow, top)]
    for each in completed:
        if each.undo is Undo.UNDERWAY:
            flow.put_command(replace(each, undo=Undo.FAILED))
    for each in ended:
        flow.undoing.pop(each.id, None)
        flow.undo_queues.pop(each.id, None)
    words = f"{command.title} was forced to end: its {command.phase or Phase.END_WITH_FAILURE} did not run"
    if completed:
        titles = ", ".join(each.title for each in completed[:_NAMED_MAX])
        words += f", and what had completed was not undone: {titles}" + (" …" if len(completed) > _NAMED_MAX else "")
    refs = tuple(dict.fromkeys(ref for each in ended for ref in each.refs))
    leaving.leave(
        flow,
        LeftoverRecord(
            command.id, flow.id, command.id, None, command.correlation_id, None, refs, words,
            "see that its entities are as they should be, then clear the leftover", now,
        ),
        now,
    )  # fmt: skip


def _end(flow: Flow, id: UUID, result: Result, by: str, words: str, now: int) -> None:
    """Ends it whatever its state, by the moves of the table."""
    command = replace(flow.commands[id], attention=None, asking=None, attempts=0, retry_at=None, forced_by=by)
    if result is not Result.SUCCEEDED:
        former = Failure.from_json(command.failure_json) if command.failure_json else None
        causes = former.causes if former is not None else ()
        message = f"{words}; before: {former.message}" if former is not None else words
        command = replace(command, failure_json=Failure.of(message, causes).to_json())
    flow.put_command(command)
    if command.state in (State.EXECUTING, State.COMPENSATING):
        phase = Phase.END_SUCCESSFULLY if result is Result.SUCCEEDED else Phase.END_WITH_FAILURE
        command = move(flow, command, State.FINALIZING, now, phase=phase, open=0)
    leaving.end(flow, replace(command, open=0), result, now)
