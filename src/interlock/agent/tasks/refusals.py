"""Why the agent does not do what it was asked: each refusal has a code, and nothing was done."""

from __future__ import annotations

from interlock.verbs import Code


class Refused(Exception):
    """The call is answered with an error; nothing was started or changed by it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def unknown_task(task_id: str) -> Refused:
    """The host has no task of this id."""
    return Refused(Code.UNKNOWN_TASK, f"task {task_id} is not known here")


def recovering() -> Refused:
    """The agent has just started."""
    return Refused(
        Code.RECOVERY_IN_PROGRESS, "the agent is finding its tasks again after a start; ask again in a moment"
    )


def known_with_other_arguments(task_id: str) -> Refused:
    """The id is taken."""
    return Refused(
        Code.ADD_TASK,
        f"task {task_id} is known with another verb, flow or other arguments; choose another id",
    )


def cleared(task_id: str) -> Refused:
    """The id was used up."""
    return Refused(Code.TASK_CLEARED, f"task {task_id} was run and cleared; it is never run again: choose another id")


def too_old(task_id: str, low_water: str) -> Refused:
    """The id is older than what is remembered of cleared ones."""
    return Refused(
        Code.TASK_ID_TOO_OLD,
        f"task {task_id} is older than {low_water}, up to which cleared ids are forgotten; it may have run, "
        "so it is not run now: choose a new id",
    )


def forbidden(task_id: str, term: int | None, needed: int) -> Refused:
    """The id was closed to older terms."""
    shown = "no term" if term is None else f"term {term}"
    return Refused(
        Code.START_FORBIDDEN,
        f"task {task_id} may be started only by term {needed} or a newer one, not by {shown}",
    )


def term_too_old(flow: str, term: int, highest: int) -> Refused:
    """A former owner of the flow speaks."""
    return Refused(
        Code.TERM_TOO_OLD,
        f"flow {flow}: term {term} is older than {highest}; another engine owns the flow by now",
    )


def generation_too_old(cluster: str, generation: int, highest: int) -> Refused:
    """The caller's database was replaced by one from a backup."""
    return Refused(
        Code.GENERATION_TOO_OLD,
        f"cluster {cluster}: generation {generation} is older than {highest}; a backup was restored since, "
        "and its coordinator owns this cluster by now: stop this one",
    )


def flow_too_old(flow: str, low_water: str) -> Refused:
    """What is remembered of flows does not reach back to this one."""
    return Refused(
        Code.TERM_TOO_OLD,
        f"flow {flow} is older than {low_water}, up to which terms are forgotten; start a new flow",
    )


def not_done(task_id: str, state: str) -> Refused:
    """The task still runs."""
    return Refused(Code.STATE_ERROR, f"task {task_id} is {state}; only a task that is done can be cleared")


def not_finished(task_id: str, state: str) -> Refused:
    """The task still runs."""
    return Refused(
        Code.NOT_FINISHED, f"task {task_id} is {state}; only a task that has succeeded can be reverted: stop it"
    )


def not_revertible(task_id: str, state: str) -> Refused:
    """There is nothing to undo, or no way to."""
    return Refused(Code.TRANSITION, f"task {task_id} is {state} and cannot be undone; only what it made can be removed")


def full(what: str, limit: int) -> Refused:
    """A bound is reached."""
    return Refused(
        Code.RESOURCE_EXHAUSTED,
        f"the host has {limit} {what} already; try again when some are done and cleared",
    )
