"""`decide`: given a flow's rows and a fact, writes what follows from it and says which phases are due.

The rows to write are the flow's change set; nothing here runs a phase, reads a clock or sends anything.
It is level-triggered: `Examine` may come at any time, any number of times, and after a crash is all there is.
"""

from typing import Any
from uuid import UUID

from interlock.core import (
    asking,
    compensation,
    formers,
    leaving,
    lock_scopes,
    narration,
    retrying,
    stopping,
    tasks,
    turns,
)
from interlock.core.ending import count_open, failure_of, past_return, to_undo
from interlock.core.entity_ends import awaits_entities
from interlock.core.facts import (
    AskEntities,
    AskFormers,
    CommandOverdue,
    Compensate,
    Compensated,
    CompensateFailed,
    Due,
    EndPhase,
    EndPhaseFailed,
    EndPhaseRan,
    Examine,
    Executed,
    ExecuteFailed,
    Fact,
    FormersEnded,
    Judge,
    Look,
    NeverStarts,
    News,
    RetryDue,
    Start,
    StartRefused,
    TaskAnswered,
    TaskBound,
    TaskCleared,
    TaskEnded,
    TaskHeldBack,
    TaskOverdue,
    TaskProgressed,
    TaskStalled,
)
from interlock.core.flow import Flow
from interlock.model.errors import Bug
from interlock.model.failure import Failure
from interlock.model.records import CommandRecord, Role
from interlock.model.replacing import replace
from interlock.model.states import COMMAND_MOVES, Phase, Result, State

#: how often an end phase is tried before a person is asked, and compensate before it becomes a leftover
END_ATTEMPTS_MAX = 5


def decide(flow: Flow, fact: Fact, now: int) -> list[Due]:
    """What is due because of the fact. Raises Bug where a move is not in the table of moves."""
    if isinstance(fact, Look):
        judge = Judge(flow.tasks[fact.task_id].command_id, fact.task_id)
        return [judge] if is_still_due(flow, judge, now) else []
    agenda = _take(flow, fact, now)
    due: list[Due] = [*stopping.last_looks(flow)] if isinstance(fact, CommandOverdue | TaskOverdue) else []
    while agenda:
        command = flow.commands[agenda.pop()]
        if command.attention is None:
            due += _examine(flow, command, now, agenda)
    return due


def is_still_due(flow: Flow, due: Due, now: int) -> bool:
    """Whether the rows still ask for it: two facts may make one thing due twice, and it may be run once only."""
    command = flow.commands[due.command_id]
    if command.attention is not None or not retrying.is_time(command, now):
        return False
    match due:
        case Start():
            return command.state is State.PENDING and bool(turns.turn(flow, command))
        case EndPhase():
            return command.state is State.FINALIZING and command.phase is due.phase and not command.phase_ran
        case AskEntities():
            return awaits_entities(command)
        case Compensate():
            free = command.open == 0 and flow.commands[due.undone].undo is None
            return command.state is State.COMPENSATING and free
        case Judge():
            return flow.tasks[due.task_id].outcome is None
        case AskFormers():
            return command.state is State.PENDING and not formers.let_begin(flow)


def _take(flow: Flow, fact: News, now: int) -> list[UUID]:
    """Writes the fact down; returns the commands to examine because of it."""
    match fact:
        case Examine():
            return [fact.command_id]
        case RetryDue():
            return retrying.due(flow, fact)
        case FormersEnded():
            return formers.ended(flow, fact, now)
        case NeverStarts():
            return _never_starts(flow, fact, now)
        case Executed():
            return _executed(flow, flow.commands[fact.command_id], now)
        case StartRefused():
            command = move(flow, flow.commands[fact.command_id], State.VALIDATING, now)
            return leaving.end(flow, _failed(command, fact.failure), Result.FAILED, now)
        case ExecuteFailed():
            command = flow.commands[fact.command_id]
            command = move(flow, command, State.VALIDATING, now)
            command = move(flow, command, State.EXECUTING, now, started_at=now)
            return _to_finalizing(flow, _failed(command, fact.failure), Phase.END_WITH_FAILURE, now)
        case EndPhaseRan():
            return _end_phase_ran(flow, flow.commands[fact.command_id], fact.value_json)
        case EndPhaseFailed():
            _end_phase_failed(flow, flow.commands[fact.command_id], fact.reason, now)
            return []
        case Compensated():
            return compensation.ran(flow, fact)
        case CompensateFailed():
            return _compensate_failed(flow, fact, now)
        case (
            TaskBound()
            | TaskAnswered()
            | TaskProgressed()
            | TaskStalled()
            | TaskHeldBack()
            | TaskEnded()
            | TaskCleared()
        ):
            return tasks.reported(flow, fact, now)
        case CommandOverdue() | TaskOverdue():
            return stopping.overdue(flow, fact, now)


def _examine(flow: Flow, command: CommandRecord, now: int, agenda: list[UUID]) -> list[Due]:
    match command.state:
        case State.PENDING:
            if command.parent_id is None and not formers.let_begin(flow):
                return [AskFormers(command.id)]
            ready = turns.turn(flow, command)
            if ready is False:
                agenda += leaving.end(flow, command, Result.CANCELLED, now)
            return [Start(command.id)] if ready and retrying.is_time(command, now) else []
        case State.EXECUTING if _quiet(flow, command):
            agenda += _execution_over(flow, command, now)
        case State.COMPENSATING if _quiet(flow, command):
            command = compensation.settle(flow, command, now)
            if not retrying.is_time(command, now):
                return []
            undone = compensation.next_to_undo(flow, command)
            if undone is not None:
                return [Compensate(command.id, undone)]
            agenda += _to_finalizing(flow, command, Phase.END_WITH_FAILURE, now)
        case State.FINALIZING if _quiet(flow, command):
            return _finalize(flow, command, now, agenda)
        case _:
            pass
    return []


def _quiet(flow: Flow, command: CommandRecord) -> bool:
    """Whether nothing of the plan under way is unfinished. The counter hurries; the rows decide."""
    if command.open > 0:
        return False
    undoes = compensation.under_way(flow, command) if command.state is State.COMPENSATING else None
    unfinished = count_open(flow, command, undoes)
    if unfinished:
        raise Bug(f"command {command.id} counts no open parts but has {unfinished}; run `interlock verify`")
    return True


def _never_starts(flow: Flow, fact: NeverStarts, now: int) -> list[UUID]:
    command = flow.commands[fact.command_id]
    if command.state is not State.PENDING:
        return []
    return leaving.end(flow, _failed(command, fact.failure), Result.CANCELLED, now)


def _executed(flow: Flow, command: CommandRecord, now: int) -> list[UUID]:
    command = move(flow, command, State.VALIDATING, now)
    command = replace(command, open=count_open(flow, command))
    timeout_s = command.options.timeout_s
    deadline_at = None if timeout_s is None else now + round(timeout_s * 1e6)
    move(flow, command, State.EXECUTING, now, started_at=now, deadline_at=deadline_at)
    return [command.id]


def _execution_over(flow: Flow, command: CommandRecord, now: int) -> list[UUID]:
    failure = failure_of(flow, command)
    if failure is not None and asking.asks(flow, command):
        asking.ask(flow, command, failure, now)
        return []
    if failure is None:
        command = stopping.succeeded(flow, command, now)
        lock_scopes.executed(flow, command)
        return _to_finalizing(flow, command, Phase.END_SUCCESSFULLY, now)
    command = _failed(command, stopping.explained(flow, command, failure))
    narration.past_return(flow, command, past_return(flow, command), now)
    if to_undo(flow, command):
        move(flow, command, State.COMPENSATING, now, open=0)
        return [command.id]
    return _to_finalizing(flow, command, Phase.END_WITH_FAILURE, now)


def _to_finalizing(flow: Flow, command: CommandRecord, phase: Phase, now: int) -> list[UUID]:
    move(flow, command, State.FINALIZING, now, phase=phase, open=0, attempts=0, retry_at=None)
    return [command.id]


def _finalize(flow: Flow, command: CommandRecord, now: int, agenda: list[UUID]) -> list[Due]:
    if command.phase is None:
        raise Bug(f"command {command.id} is finalizing without a phase")
    if not command.phase_ran:
        if not retrying.is_time(command, now):
            return []
        return [AskEntities(command.id) if awaits_entities(command) else EndPhase(command.id, command.phase)]
    if command.phase is Phase.END_SUCCESSFULLY:
        agenda += leaving.end(flow, command, Result.SUCCEEDED, now)
        return []
    undone = failure_of(flow, command, Role.END)
    if undone is not None:
        command = leaving.leave_unclean(flow, command, undone, now)
    agenda += leaving.end(flow, command, Result.FAILED if command.stopped_by is None else Result.CANCELLED, now)
    return []


def _end_phase_ran(flow: Flow, command: CommandRecord, value_json: str | None) -> list[UUID]:
    command = replace(command, phase_ran=True, retry_at=None, value_json=value_json)
    flow.put_command(replace(command, open=count_open(flow, command)))
    return [command.id]


def _end_phase_failed(flow: Flow, command: CommandRecord, reason: str, now: int) -> None:
    attempts = command.attempts + 1
    if attempts >= END_ATTEMPTS_MAX:
        flow.put_command(command := replace(command, attempts=attempts, retry_at=None))
        words = f"{command.phase} of {command.title} failed {attempts} times: {reason}"
        narration.raise_attention(flow, command, words, now)
        return
    flow.put_command(retrying.later(command, attempts, now))


def _compensate_failed(flow: Flow, fact: CompensateFailed, now: int) -> list[UUID]:
    command = flow.commands[fact.command_id]
    attempts = command.attempts + 1
    if attempts >= END_ATTEMPTS_MAX:
        return compensation.gave_up(flow, fact, now)
    flow.put_command(retrying.later(command, attempts, now))
    return []


def _failed(command: CommandRecord, failure: Failure) -> CommandRecord:
    return replace(command, failure_json=failure.to_json())


def move(flow: Flow, command: CommandRecord, state: State, now: int, **fields: Any) -> CommandRecord:
    """The only way from state to state: checked against the table, and told to people."""
    if state not in COMMAND_MOVES[command.state]:
        raise Bug(f"command {command.id} cannot go from {command.state} to {state}")
    if state is State.VALIDATING:
        turns.note_begun(flow, command)
        fields["retry_at"] = None
    command = replace(command, state=state, **fields)
    flow.put_command(command)
    narration.command_moved(flow, command, now)
    return command


def examine_all(flow: Flow) -> list[Fact]:
    """Facts that bring a flow loaded from its rows going again."""
    waits = [Look(row.id) for row in flow.tasks.values() if row.wait_json is not None and row.outcome is None]
    return [*(Examine(row.id) for row in flow.commands.values() if row.result is None), *waits]
