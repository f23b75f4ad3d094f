"""Lives as data: states, results, and every legal move with who makes it.

The database's CHECK constraints and triggers, the diagram in docs/states.md and the tests come from here.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)


class State(StrEnum):
    """Where a command stands."""

    #: accepted; waits for a lock, a prerequisite, a limit or its turn
    PENDING = "PENDING"
    #: takes its locks and is validated; passed through within one transaction
    VALIDATING = "VALIDATING"
    #: its plan is under way
    EXECUTING = "EXECUTING"
    #: what it completed is being undone
    COMPENSATING = "COMPENSATING"
    #: its end phase is due, retried, or has returned a plan that is under way
    FINALIZING = "FINALIZING"
    #: over; the result says how
    ENDED = "ENDED"


class Result(StrEnum):
    """How a command ended."""

    #: every child and task that is not best-effort succeeded, and so did the end phase
    SUCCEEDED = "SUCCEEDED"
    #: it did not, and the failure says why
    FAILED = "FAILED"
    #: it was stopped, or never started (then it has no start time)
    CANCELLED = "CANCELLED"


class Ends(StrEnum):
    """When a command whose parts are over ends: it says so itself, or its parent does."""

    #: at once
    BY_FLOW = "flow"
    #: when no task of another flow that touches one of its refs is unfinished
    BY_ENTITY = "entity"


class Phase(StrEnum):
    """The plain functions of a command, each run as one transaction."""

    #: refusals
    VALIDATE = "validate"
    #: returns the plan
    EXECUTE = "execute"
    #: returns the typed result
    END_SUCCESSFULLY = "end_successfully"
    #: writes the truth after a failure; may return a plan
    END_WITH_FAILURE = "end_with_failure"
    #: undoes a completed command for a failed parent; may return a plan
    COMPENSATE = "compensate"


class TaskState(StrEnum):
    """The coordinator's own view of an async task (the seeds' words)."""

    #: a placeholder: named, not known to be started
    INITIALIZING = "Initializing"
    #: the host answered; watched
    POLLING = "Polling"
    #: its outcome is stored
    ENDED = "Ended"
    #: the host could not be made to forget it; not tried again by itself
    CLEAR_FAILED = "ClearFailed"
    #: the host has forgotten it, or never had anything to forget
    CLEARED = "Cleared"


class Outcome(StrEnum):
    """How an async task ended; decided by the host's taskResult, never by its code."""

    #: finished + success
    SUCCEEDED = "SUCCEEDED"
    #: the host says it failed (cleanSuccess = rolled back, cleanFailure = not)
    FAILED = "FAILED"
    #: the host refused to start it; it never ran
    REFUSED = "REFUSED"
    #: the host no longer knows it; it may have run
    LOST = "LOST"
    #: nobody can say whether it ran or still runs
    UNKNOWN = "UNKNOWN"
    #: it was stopped, because its time was over or on a person's wish, and it is certain that nothing of it goes on
    STOPPED = "STOPPED"


class StepStatus(StrEnum):
    """What a person sees of a job or a step."""

    #: still to come
    PENDING = "PENDING"
    #: under way
    STARTED = "STARTED"
    #: done
    FINISHED = "FINISHED"
    #: it failed, or was refused
    FAILED = "FAILED"
    #: stopped on a wish
    ABORTED = "ABORTED"
    #: a part that was never reached
    NOT_STARTED = "NOT_STARTED"
    #: shown only while it truly is unknown
    UNKNOWN = "UNKNOWN"


COMMAND_MOVES: Mapping[State, Mapping[State, str]] = MappingProxyType(
    {
        State.PENDING: {
            State.VALIDATING: "its turn has come: core.lifecycle starts it",
            State.ENDED: "a prerequisite failed, or what it is part of is being stopped: it never starts",
        },
        State.VALIDATING: {
            State.EXECUTING: "locks are held and nothing was refused",
            State.ENDED: "refused",
        },
        State.EXECUTING: {
            State.COMPENSATING: "a part failed and others had completed",
            State.FINALIZING: "all parts ended, or execute itself failed",
        },
        State.COMPENSATING: {State.FINALIZING: "everything completed was undone, or became a leftover"},
        State.FINALIZING: {State.ENDED: "the end phase committed and its plan ended"},
        State.ENDED: {},
    }
)

TASK_MOVES: Mapping[TaskState, Mapping[TaskState, str]] = MappingProxyType(
    {
        TaskState.INITIALIZING: {
            TaskState.POLLING: "the host answered the start, or knew it when asked",
            TaskState.ENDED: "answered at once, refused, stopped before it began, lost or unknown",
        },
        TaskState.POLLING: {TaskState.ENDED: "the host reported its end, or no longer knows it"},
        TaskState.ENDED: {
            TaskState.CLEARED: "the host forgot it after the commit of its end",
            TaskState.CLEAR_FAILED: "clearing failed as often as allowed",
        },
        TaskState.CLEAR_FAILED: {TaskState.CLEARED: "cleared later, by a new engine"},
        TaskState.CLEARED: {},
    }
)

#: from where a command ends how; a forced end is a person's word, and comes from the same states
COMMAND_ENDS: Mapping[State, Mapping[Result, str]] = MappingProxyType(
    {
        State.PENDING: {Result.CANCELLED: "a prerequisite failed, or its parent ended first: it never starts"},
        State.VALIDATING: {Result.FAILED: "its locks or its validation were refused"},
        State.FINALIZING: {
            Result.SUCCEEDED: "end_successfully committed",
            Result.FAILED: "end_with_failure committed, and the plan that it returned has ended, however that ended",
            Result.CANCELLED: "the same, after it was stopped",
        },
    }
)

#: from where an async task ends how
TASK_ENDS: Mapping[TaskState, Mapping[Outcome, str]] = MappingProxyType(
    {
        TaskState.INITIALIZING: {
            Outcome.SUCCEEDED: "a verb that answers at once did its work",
            Outcome.FAILED: "a verb that answers at once failed",
            Outcome.REFUSED: "the host would not start it, or could not be reached while it was certainly not sent",
            Outcome.LOST: "it may have been sent, and the host's journal is another one now",
            Outcome.UNKNOWN: "it may have been sent, and the host said nothing of it for too long",
            Outcome.STOPPED: "it was to be stopped, and it is certain that it was not sent, or never will run",
        },
        TaskState.POLLING: {
            Outcome.SUCCEEDED: "the host reports its success",
            Outcome.FAILED: "the host reports its failure",
            Outcome.LOST: "the host no longer knows it",
            Outcome.UNKNOWN: "the host said nothing of it for too long, or a person left it",
            Outcome.STOPPED: "it was to be stopped, and was",
        },
    }
)


def row_moves(moves: Mapping[S, Mapping[S, str]]) -> frozenset[tuple[S, S]]:
    """The moves that a row may show: one transaction may pass several, so every forward path counts."""
    reached: set[tuple[S, S]] = set()

    def follow(origin: S, state: S) -> None:
        for target in moves[state]:
            if (origin, target) not in reached:
                reached.add((origin, target))
                follow(origin, target)

    for state in moves:
        follow(state, state)
    return frozenset(reached)
